#!/bin/bash
# get-criu.sh DIR [SUITE]: puts a CRIU from Debian's archive under DIR and prints the path of its command, DIR/criu.
#
# Debian 12's own CRIU (3.17) cannot read the vDSO of current kernels, so it comes from sid (or SUITE: experimental has the
# newest). Nothing is installed: apt works in a folder of its own with an empty list of packages, and CRIU runs on the
# libraries that are unpacked beside it. DIR/criu appears last and in one step, so whoever finds it can use it; of several
# calls at once one works and the others wait for it.
set -euo pipefail
(($# == 1 || $# == 2)) || { echo "usage: get-criu.sh DIR [SUITE]" >&2; exit 2; }
suite=${2:-sid}
mkdir -p "$1"
dir=$(realpath "$1")
fail() { echo "get-criu.sh: $*" >&2; exit 1; }
ready() { [[ -x $dir/criu ]] && "$dir/criu" --version >/dev/null 2>&1; }

ready && { echo "$dir/criu"; exit; }
for tool in apt-get dpkg-deb flock; do
	[[ $(type -P $tool) ]] || fail "$tool is not here: install a CRIU of 3.19 or newer by hand and set CRIU=/path/of/criu"
done
exec 9>"$dir/.lock"
flock -w 600 9 || fail "another call has held $dir/.lock for 10 minutes: end it and try again"
ready && { echo "$dir/criu"; exit; }

work=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM INT HUP
mkdir -p "$work"/{lists,archives}/partial "$work/debs" "$work/tree"
: >"$work/status"

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --no-release-info --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)}
[[ $mirror ]] || fail "apt knows no mirror of Debian here: set DEBIAN_MIRROR=http://…/debian"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keys ]] || fail "$keys is not here: install debian-archive-keyring"
# experimental is not a whole archive: what CRIU needs there comes from sid.
suites=("$suite")
[[ $suite == experimental ]] && suites=(sid experimental)
printf "deb [signed-by=$keys] $mirror %s main\n" "${suites[@]}" >"$work/sources.list"

# One call of apt-get, of at most 150 s (the archive's index is 10 MB), up to three times if the network fails it, within
# three minutes or so. Descriptor 9 is closed in it: the lock must not outlive this script.
apt() {
	local try
	for try in 1 2 3; do
		timeout --foreground --kill-after=10 150 apt-get -qq \
			-o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
			-o Dir::State="$work" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
			-o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" -o APT::Sandbox::User=root \
			-o APT::Update::Error-Mode=any -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
			-o Acquire::Languages=none -o Acquire::PDiffs=false "$@" 2>"$work/errors" 9>&- && return
		((SECONDS < 150)) || break
		sleep $((try * 2))
	done
	cat "$work/errors" >&2
	return 1
}

echo "get-criu.sh: getting CRIU from Debian $suite (about 25 MB, nothing is installed)" >&2
apt update || fail "apt-get update failed for $mirror: see above, and check the network"
# What CRIU loads are libraries; the Python and Perl that its package names are for its other tools.
wanted=$(apt install --simulate --no-install-recommends --target-release "$suite" criu |
	sed -nE 's/^Inst (criu|lib[^ ]*) .*\(([^ ]+) .*/\1=\2/p' | grep -Ev '^lib(python|perl)')
[[ $wanted == *criu=* ]] || fail "Debian $suite has no CRIU for this machine"
# shellcheck disable=SC2086
(cd "$work/debs" && apt download $wanted) || fail "downloading CRIU's packages failed: see above, and check the network"
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/tree"; done

cat >"$work/criu" <<'END'
#!/bin/sh
# CRIU on the libraries beside it.
here=$(dirname "$(readlink -f "$0")")
for loader in "$here"/tree/usr/lib/*/ld-linux*.so.* "$here"/tree/lib/*/ld-linux*.so.*; do [ -x "$loader" ] && break; done
exec "$loader" --library-path "$(dirname "$loader")" "$here/tree/usr/sbin/criu" "$@"
END
chmod +x "$work/criu"
"$work/criu" --version >&2 || fail "the CRIU of Debian $suite does not start here"
rm -rf "$dir/tree"
mv "$work/tree" "$dir/tree"
mv "$work/criu" "$dir/criu"
echo "$dir/criu"
