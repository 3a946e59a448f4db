#!/bin/bash
# get-tools.sh DIR PACKAGE [PACKAGE…]: puts packages of this machine's own Debian, with all that is not installed of what they
# depend on, under DIR/PACKAGE (the first of them), and prints DIR/PACKAGE/bin, where their commands are.
#
# Nothing is installed (debian.sh). A command runs on the machine's libc, with the libraries beside it and then the machine's,
# which fit as both are of one release; hence packages of another release are not for this script.
set -euo pipefail
# shellcheck source=scripts/debian.sh
. "$(dirname "$0")/debian.sh"
(($# >= 2)) || { echo "usage: get-tools.sh DIR PACKAGE [PACKAGE…]" >&2; exit 2; }
mkdir -p "$1"
dir=$(realpath "$1")
packages=("${@:2}")
target=$dir/${packages[0]}

[[ -d $target ]] && { echo "$target/bin"; exit; }
[[ -r /var/lib/dpkg/status ]] || fail "this is no Debian: /var/lib/dpkg/status is not here"
enter "$dir" /var/lib/dpkg/status
[[ -d $target ]] && { echo "$target/bin"; exit; }

if [[ ${DEBIAN_MIRROR-} ]]; then
	release=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $DEBIAN_MIRROR $release main" | sources
fi
echo "get-tools.sh: getting ${packages[*]} from Debian (nothing is installed)" >&2
# One of the machine's sources may be out of order, and what is wanted comes from another.
apt update && updated=1 || updated=
why=$(reason)
# An installed package is unpacked too: its command is not where it was looked for, or it would not be asked for.
mapfile -t wanted < <(apt install --simulate --reinstall --no-install-recommends "${packages[@]}" | chosen)
if [[ ${#wanted[@]} = 0 ]]; then
	[[ $updated ]] || { echo "$why" >"$work/errors" && unreachable; }
	fail "this machine's Debian has no ${packages[*]}, or not all that it depends on: $(reason)"
fi
# Not libc itself: its loader, which the kernel starts, is the installed one, and the two must be of one build.
for each in "${!wanted[@]}"; do [[ ${wanted[each]} != libc6[:=]* ]] || unset "wanted[$each]"; done
unpack "${wanted[@]}"

cd "$work/tree"
# Links lead to the root of a system.
while read -r link; do
	to=$(readlink "$link")
	[[ ! -e .$to ]] || ln -sf --relative ".$to" "$link"
done < <(find . -type l -lname '/*')
# The linker's script for libc names the machine's library, which is right, and a part that only the linker needs: without its
# directory that is looked for as libraries are.
for script in usr/lib/*/libc.so; do
	[[ ! -f $script ]] || sed -i -E 's|/usr/lib/[^ ]*/([^ /]*_nonshared\.a)|\1|' "$script"
done
# What an installation sets up: the compiler's usual name, and where the parts of gpg are.
[[ ! -e usr/bin/gcc ]] || ln -sf gcc usr/bin/cc
# shellcheck disable=SC2016
[[ ! -e usr/bin/gpgconf ]] || echo 'rootdir = ${TOOLS_TREE}/usr' >usr/bin/gpgconf.ctl

# Where a package needs a newer libc than the machine's, it cannot be used.
unfit=$(LD_LIBRARY_PATH=$(printf '%s:' "$PWD"/usr/lib/*-linux-gnu*) ldd usr/bin/* usr/sbin/* 2>&1 | grep -m1 'not found' || true)
[[ ! $unfit ]] || fail "${packages[0]} does not fit this machine's libraries: ${unfit#"${unfit%%[![:space:]]*}"}"

mkdir "$work/made" "$work/made/bin"
cat >"$work/made/run" <<'END'
#!/bin/bash
# Runs the command of the name that this is called by, from the packages unpacked beside it.
here=$(dirname "$(readlink -f "$0")")
tree=$here/tree
command=$tree/usr/bin/${0##*/}
[ -e "$command" ] || command=$tree/usr/sbin/${0##*/}
# add VARIABLE DIRECTORY…: exports it with those of the directories that are there.
add() {
	local -n list=$1
	local directory
	for directory in "${@:2}"; do [ ! -d "$directory" ] || list=${list-}${list:+:}$directory; done
	[ -z "${list-}" ] || export "${!list}"
}
add PATH "$here/bin"
add LD_LIBRARY_PATH "$tree"/usr/lib/*-linux-gnu*
add PYTHONPATH "$tree/usr/lib/python3/dist-packages"
# For gcc: headers, and what programs are linked with.
add C_INCLUDE_PATH "$tree"/usr/include{,/*-linux-gnu*}
add LIBRARY_PATH "$tree"/usr/lib/*-linux-gnu*
# For openssl, s3cmd (libmagic) and gpg.
[ ! -e "$tree/usr/lib/ssl/openssl.cnf" ] || export OPENSSL_CONF=$tree/usr/lib/ssl/openssl.cnf
[ ! -e "$tree/usr/lib/file/magic.mgc" ] || export MAGIC=$tree/usr/lib/file/magic.mgc
export TOOLS_TREE=$tree
# sshd wants a user of its own when root runs it. It sees a list of users that has one; the machine's stays as it is. A running
# sshd reads the list for each connection, so another start must not write into its file.
if [ "${command##*/}" = sshd ] && [ "$(id -u)" = 0 ] && ! grep -q ^sshd: /etc/passwd; then
	list=$(mktemp "$here/passwd.XXXXXX")
	{ cat /etc/passwd && echo sshd:x:100:65534::/run/sshd:/usr/sbin/nologin; } >"$list"
	chmod 644 "$list"
	mv -f "$list" "$here/passwd"
	exec unshare --mount sh -c 'mount --bind "$0" /etc/passwd && exec "$@"' "$here/passwd" "$command" "$@"
fi
# A script may name an interpreter that is here only.
if IFS= read -r -n 200 first <"$command" && [[ $first == '#!/'* ]] && read -r interpreter argument <<<"${first#??}" &&
	[ ! -e "$interpreter" ]; then
	exec "$here/bin/${interpreter##*/}" ${argument:+"$argument"} "$command" "$@"
fi
exec "$command" "$@"
END
chmod +x "$work/made/run"
for command in usr/bin/* usr/sbin/*; do
	[[ ! -x $command ]] || ln -sf ../run "$work/made/bin/${command##*/}"
done
mv "$work/tree" "$work/made/tree"
mv "$work/made" "$target"
echo "$target/bin"
