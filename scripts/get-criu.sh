#!/bin/bash
# get-criu.sh DIR [SUITE]: puts a CRIU from Debian's archive under DIR and prints the path of its command, DIR/criu.
#
# Debian 12's own CRIU (3.17) cannot read the vDSO of current kernels, so it comes from sid (or SUITE: experimental has the
# newest). Nothing is installed (debian.sh): as if no package were, all libraries that CRIU loads come with it, and it runs on
# those.
set -euo pipefail
# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/debian.sh"
(($# == 1 || $# == 2)) || { echo "usage: get-criu.sh DIR [SUITE]" >&2; exit 2; }
suite=${2:-sid}
mkdir -p "$1"
dir=$(realpath "$1")
ready() { [[ -x $dir/criu ]] && "$dir/criu" --version >/dev/null 2>&1; }

ready && { echo "$dir/criu"; exit; }
enter "$dir" /dev/null
ready && { echo "$dir/criu"; exit; }

mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --no-release-info --format '$(SITE)' 'Created-By: Packages' | grep -m1 '/debian/*$' || true)}
[[ $mirror ]] || fail "apt knows no mirror of Debian here: set DEBIAN_MIRROR=http://…/debian"
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -r $keys ]] || fail "$keys is not here: install debian-archive-keyring"
# experimental is not a whole archive: what CRIU needs there comes from sid.
suites=("$suite")
[[ $suite == experimental ]] && suites=(sid experimental)
printf "deb [signed-by=$keys] $mirror %s main\n" "${suites[@]}" | sources

echo "get-criu.sh: getting CRIU from Debian $suite (about 25 MB, nothing is installed)" >&2
apt update || unreachable
# What CRIU loads are libraries; the Python and Perl that its package names are for its other tools.
mapfile -t wanted < <(apt install --simulate --no-install-recommends --target-release "$suite" criu |
	chosen | grep -E '^(criu|lib.*)=' | grep -Ev '^lib(python|perl)')
[[ ${wanted[*]} == *criu=* ]] || fail "Debian $suite has no CRIU for this machine"
unpack "${wanted[@]}"

cat >"$work/criu" <<'END'
#!/bin/sh
# CRIU on the libraries beside it.
here=$(dirname "$(readlink -f "$0")")
for loader in "$here"/tree/usr/lib/*/ld-linux*.so.*; do [ -x "$loader" ] && break; done
exec "$loader" --library-path "$(dirname "$loader")" "$here/tree/usr/sbin/criu" "$@"
END
chmod +x "$work/criu"
"$work/criu" --version >&2 || fail "the CRIU of Debian $suite does not start here"
rm -rf "$dir/tree"
mv "$work/tree" "$dir/tree"
mv "$work/criu" "$dir/criu"
rm -rf "$dir/lists"
echo "$dir/criu"
