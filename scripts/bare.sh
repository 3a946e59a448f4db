#!/bin/bash
# bare.sh [PART…]: `npm run demo` and `npm test -- PART…` of the last commit on a fresh Debian that has nothing but Node, npm and
# git, and then a few tests on one that has no apt either. As `npm run test:bare`. Needs root and a Debian.
#
# The fresh Debian is made of this machine's own files: those of the packages that no Debian is without, of apt,
# ca-certificates and git, and of what these depend on; Node and npm are taken wherever they are from. It is the root of mount
# and pid namespaces, so that absolute paths lead into it too, and what runs in it ends with it. It has the network.
set -euo pipefail
export LC_ALL=C.UTF-8
fail() {
	echo "bare.sh: $*" >&2
	exit 1
}
cd "$(dirname "$0")/.."
[[ $(id -u) = 0 ]] || fail "only root can make a fresh Debian"
for tool in dpkg-query apt-cache unshare pivot_root node npm git; do
	[[ $(type -P $tool) ]] || fail "$tool is not here"
done

root=$(mktemp -d "${TMPDIR:-/tmp}/criu-streamer-bare.XXXXXX")
namespace=
# All mounts are in the namespace, and go with it.
trap '[[ ! $namespace ]] || { kill "$namespace" && wait "$namespace"; }; rm -rf --one-file-system "$root"' EXIT
trap 'exit 143' TERM INT HUP

# apt-cache names alternatives too, of which not all are here.
installed() { dpkg-query -Wf '${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p' | sort -u; }
mapfile -t first < <(dpkg-query -Wf '${Package} ${Essential} ${Priority}\n' | sed -nE 's/ yes .*| no required$//p')
mapfile -t packages < <(apt-cache --installed --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
	--no-enhances depends "${first[@]}" apt ca-certificates git | sort -u | comm -12 - <(installed))

# list: the files of the fresh Debian, one a line, without the leading slash.
list() {
	dpkg-query -L "${packages[@]}" | grep '^/.' | sort -u
	# What is set up when packages are installed. The machine's accounts are not among it.
	printf '%s\n' /etc/alternatives/* /etc/apt /etc/ca-certificates.conf /etc/hosts /etc/ld.so.cache /etc/nsswitch.conf \
		/etc/resolv.conf /usr/share/keyrings/* /usr/bin/which /usr/bin/awk
	find /etc/apt /etc/ssl
	realpath "$(type -P node)"
	find "$(npm_directory)"
}
npm_directory() { dirname "$(dirname "$(realpath "$(type -P npm)")")"; }
existing() { while IFS= read -r path; do [[ ! -e $path && ! -L $path ]] || echo "${path#/}"; done; }
for each in bin sbin lib lib64; do
	mkdir -p "$root/usr/$each"
	ln -s "usr/$each" "$root/$each"
done
list | existing | tar -C / -c --no-recursion -T - | tar -C "$root" -xp --keep-directory-symlink
mkdir -p "$root/usr/local/bin"
ln -sf "$(realpath "$(type -P node)")" "$root/usr/local/bin/node"
ln -sf "$(npm_directory)/bin/npm-cli.js" "$root/usr/local/bin/npm"
mkdir -p "$root"/{dev,proc,sys,run,root,old} "$root"/var/lib/dpkg/{info,updates}
mkdir -p -m 1777 "$root/tmp"
cp /usr/share/base-passwd/passwd.master "$root/etc/passwd"
cp /usr/share/base-passwd/group.master "$root/etc/group"
awk -v names=" ${packages[*]} " 'BEGIN { RS = ""; ORS = "\n\n" } index(names, " " $2 " ")' \
	/var/lib/dpkg/status >"$root/var/lib/dpkg/status"
git clone --quiet --no-hardlinks . "$root/root/criu-pipe-streamer"
echo "bare.sh: a fresh Debian of ${#packages[@]} packages in $root"

# The network may need these; of everything else the fresh Debian knows nothing.
given=(HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
	"npm_config_registry=$(npm config get registry)" npm_config_update_notifier=false npm_config_fetch_retries=5)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY NODE_EXTRA_CA_CERTS SSL_CERT_FILE DEBIAN_MIRROR; do
	[[ ! ${!name-} ]] || given+=("$name=${!name}")
done

# inside SCRIPT [ARGUMENT…]: by bash in the project's directory, with the fresh Debian as its root.
inside() {
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child bash -euc '
		mount --bind "$1" "$1"
		cd "$1"
		for each in dev sys; do mount --rbind "/$each" "$each"; done
		mount -t proc proc proc
		mount -t tmpfs tmpfs run
		pivot_root . old
		cd /root/criu-pipe-streamer
		umount -l /old
		shift
		# As the first process of the namespace it must outlive the others, and gather those who are left.
		env -i "$@" && exit || exit
	' bash "$root" "${given[@]}" bash -c "$@" &
	namespace=$!
	local code=0
	wait "$namespace" || code=$?
	namespace=
	return $code
}

# shellcheck disable=SC2016
inside 'npm run demo && npm test -- "$@"' bash "$@" || fail "npm run demo or npm test fails on a fresh Debian"

# What may be left out when nothing can be had is the same in all files of tests; these use most of the tools, and CRIU.
rm -rf "$root/root/criu-pipe-streamer/.cache" "$root/usr/bin/apt-get"
echo "bare.sh: the same without apt, some of the tests"
inside 'npm run demo && npm test -- harness partners real/stream' ||
	fail "npm run demo or npm test fails where there is no apt"
