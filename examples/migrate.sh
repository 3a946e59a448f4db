#!/bin/bash
# migrate.sh PID ADDRESS TARGET…: moves a running process, with its children, to another host.
#
#   migrate.sh 4711 tcp://192.0.2.7:7000 ssh root@192.0.2.7
#
# TARGET is what runs a command over there, ADDRESS is where the target takes the stream. On whatever failure the process goes
# on running here: it is ended only when CRIU has restored it on the target, where it stands still until it is gone here.
#
# Both hosts need CRIU, criu-image-streamer and criu-streamer-hook in the PATH, and for the process the same files under
# the same paths. The stream is not encrypted: where others can listen, add --token-file and the options for TLS
# (docs/cli.md) to both commands, or take ssh as in docs/partners.md.
set -euo pipefail

# A peer that is silent for so many seconds is gone.
stall=20
# A command on the target may take so many seconds.
patience=300

# On the target, with what follows as $1, $2, …: the commands come on stdin, because ssh does not keep words apart.
there() { timeout $patience "${target[@]}" bash -s -- "$@"; }

# CRIU runs this file as its action script, too.
case ${CRTOOLS_SCRIPT_ACTION-} in
'') ;;
post-dump)
	# Here the process is frozen, and CRIU ends it if this succeeds, else lets it go on. First the target must have said that
	# it has the whole image, then have restored it.
	criu-streamer-hook
	eval "target=($MIGRATE_TARGET)"
	there "$MIGRATE_DIRECTORY" <<-'END'
		cd "$1"
		criu restore --stream --images-dir . --restore-detached --leave-stopped --pidfile pid \
			--log-file restore.log --action-script criu-streamer-hook </dev/null >/dev/null 2>&1 && exit
		grep Error restore.log >&2
		exit 1
	END
	exit
	;;
*) exec criu-streamer-hook ;;
esac

(($# >= 3)) || { echo "usage: migrate.sh PID ADDRESS TARGET…" >&2; exit 2; }
pid=$1 address=$2 target=("${@:3}")
say() { echo "migrate.sh: $*" >&2; }
# Not so for a zombie: its executable is gone.
lives() { [[ -e /proc/$pid/exe ]]; }
lives || { say "there is no process $pid"; exit 1; }

here=$(mktemp -d /tmp/migrate.XXXXXX)
directory=$(there <<<'mktemp -d /tmp/migrate.XXXXXX')
jobs=()
tidy() {
	kill "${jobs[@]}" 2>/dev/null || true
	rm -rf "$here"
	there "$directory" <<-'END' || say "$directory is left on the target"
		# Normally it has ended, or is about to.
		kill "$(cat "$1/extract.pid" 2>/dev/null)" 2>/dev/null
		rm -rf "$1"
	END
}
trap tidy EXIT

"${target[@]}" bash -s -- "$directory" "$address" $stall <<-'END' &
	exec criu-image-streamer --work-dir "$1" --listen "$2" --stall-timeout "$3" --pidfile extract.pid extract </dev/null
END
jobs+=($!)
# References to memory are safe whatever comes: the image is restored while the process is frozen, or not at all.
criu-image-streamer --work-dir "$here" --connect "$address" --stall-timeout $stall --zero-copy always capture </dev/null &
jobs+=($!)

export CRIU_STREAMER_TIMEOUT=$patience MIGRATE_DIRECTORY=$directory MIGRATE_TARGET="${target[*]@Q}"
if ! criu dump --stream --images-dir "$here" --tree "$pid" --log-file dump.log --action-script "$(realpath "$0")" </dev/null; then
	grep -E 'Error|criu-image-streamer: ' "$here/dump.log" >&2 || true
	if lives; then
		say "failed: process $pid goes on running here"
		# A copy may stand on the target, if all that failed was the way back.
		there "$directory" <<-'END' || say "the target cannot be reached: end a stopped copy of $pid there by hand"
			tree() { for child in $(cat /proc/"$1"/task/*/children); do tree "$child"; done; kill -KILL "$1"; }
			[[ ! -e $1/pid ]] || tree "$(cat "$1/pid")"
		END
		exit 1
	fi
fi

there "$directory" <<-'END' || { say "end: process $pid is on the target, but stopped: continue it there with kill -CONT"; exit 1; }
	tree() { for child in $(cat /proc/"$1"/task/*/children); do tree "$child"; done; kill -CONT "$1"; }
	tree "$(cat "$1/pid")"
END
say "process $pid runs on the target"
