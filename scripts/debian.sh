# shellcheck shell=bash
# Sourced by get-criu.sh and get-tools.sh: packages from Debian's archive, unpacked into a directory instead of installed.
#
# apt works in a directory of its own and runs none of the machine's hooks, so that nothing of the system changes. A caller
# makes what it is asked for below $work, which is removed at the end, and renames it last and in one step: what is there is
# complete. Of several calls at once for one directory one works, and the others wait for it.

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# A mirror that did not answer is not asked again for so many minutes: each file of tests would wait for it anew.
readonly failure_minutes=10

# enter DIR STATUS: creates DIR and $work in it, holds DIR's lock until the end, and prepares apt. STATUS is the list of the
# packages that count as installed.
enter() {
	local tool
	for tool in apt-get dpkg-deb flock; do
		[[ $(type -P "$tool") ]] || fail "$tool is not here, so nothing can be had from Debian's archive"
	done
	exec 9>"$1/.lock"
	flock -w 600 9 || fail "another call has held $1/.lock for 10 minutes: end it and try again"
	failure=$1/.failed
	[[ -z $(find "$failure" -mmin -$failure_minutes 2>/dev/null) ]] ||
		fail "Debian's archive could not be reached less than $failure_minutes minutes ago (to try again now, remove $failure)"
	work=$(mktemp -d "$1/.new.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	trap 'exit 143' TERM INT HUP
	mkdir -p "$1/lists/partial" "$work"/{archives/partial,debs,tree/usr}
	# Packages name files by /bin and by /usr/bin: both are one directory, as in Debian itself.
	for tool in bin sbin lib lib64; do
		mkdir "$work/tree/usr/$tool"
		ln -s "usr/$tool" "$work/tree/$tool"
	done
	cat >"$work/apt.conf" <<-END
		Dir::State "$work"; Dir::State::Lists "$1/lists"; Dir::State::status "$2";
		Dir::Cache "$1/lists"; Dir::Cache::archives "$work/archives";
		Dir::Cache::pkgcache "packages.bin"; Dir::Cache::srcpkgcache "sources.bin";
		APT::Sandbox::User "root"; APT::Update::Error-Mode "any";
		Acquire::Retries "3"; Acquire::http::Timeout "30"; Acquire::https::Timeout "30";
		Acquire::Languages "none"; Acquire::PDiffs "false";
		#clear APT::Update::Pre-Invoke; #clear APT::Update::Post-Invoke; #clear APT::Update::Post-Invoke-Success;
	END
}

# apt uses the sources on stdin instead of the machine's.
sources() {
	cat >"$work/sources.list"
	printf 'Dir::Etc::SourceList "%s"; Dir::Etc::SourceParts "/dev/null";\n' "$work/sources.list" >>"$work/apt.conf"
}

# One call of apt-get, of at most 150 s (the archive's index is 10 MB), up to three times if the network fails it, within
# three minutes or so. Descriptor 9 is closed in it: the lock must not outlive this script.
apt() {
	local try
	for try in 1 2 3; do
		timeout --foreground --kill-after=10 150 apt-get -qq -c "$work/apt.conf" "$@" 2>"$work/errors" 9>&- && return
		((try < 3 && SECONDS < 150)) || break
		sleep $((try * 2))
	done
	cat "$work/errors" >&2
	return 1
}

# What apt says of its last failure.
reason() { grep -m1 '^[EW]:' "$work/errors" || echo "it took too long, or said nothing"; }

# The archive could not be reached: ends the script, and soon the next ones.
unreachable() {
	touch "$failure"
	fail "Debian's archive could not be reached, check the network: $(reason)"
}

# Reads `apt-get --simulate install` and prints its packages as NAME=VERSION.
chosen() { sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p'; }

# unpack NAME=VERSION…: into $work/tree.
unpack() {
	(cd "$work/debs" && apt download "$@") || unreachable
	local deb
	for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$work/tree" -x --keep-directory-symlink; done
}
