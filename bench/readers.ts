/**
 * What a capture's stream goes into, and what a replay's comes from. Commands are for bash; these variables are set:
 * LOAD (the load generators), MEMORY and DISK (directories of the bench), PORT (free), SSH (a configuration with the host
 * `target`), TLS (the directory of a certificate and a key), IMAGE (a stream in a file, also as .lz4 and .zst).
 */
import { spawnSync } from 'node:child_process';

interface Way {
	name: string;
	/** Reads the stream from its stdin to the end, or writes it to its stdout. */
	command: string;
	/** Commands that have to be installed. */
	needs?: string[];
	/** Milliseconds until it is ready, where that is more than for most. */
	settle?: number;
}

/**
 * - pipe: the stream goes through a pipe into the command.
 * - file: a capture writes the file `path` itself; `command` is for a streamer that can only write into pipes.
 * - connection: a capture connects to `address`, where an extract of ours holds the image; `command` is for a streamer that can
 *   only write into pipes. Without a streamer memory is written through `link` into a reader that holds it.
 */
export type Reader = Way & {
	/** As many streams, each into a command of its own. */
	shards?: number;
} & (
		| { kind: 'pipe' }
		| { kind: 'file'; path: string }
		| { kind: 'connection'; address: string; link: 'tcp' | 'unix' | 'pipe'; tls?: true }
	);

/** What comes through a pipe, or through a TCP connection; `piped` is for a streamer that can only read from pipes. */
export type Sender = Way & { link?: 'tcp'; piped?: string };

const KEY = '00112233445566778899aabbccddeeff';
const SOCAT = 'socat -u -b 1048576';
const RETRY = 'retry=50,interval=0.1';

export const readers: Reader[] = [
	{ name: 'nothing', kind: 'pipe', command: '"$LOAD" drain' },
	{ name: 'cat', kind: 'pipe', command: 'cat > /dev/null' },
	{ name: 'cat | cat', kind: 'pipe', command: 'cat | cat > /dev/null' },
	{ name: 'pv', kind: 'pipe', command: 'pv -q > /dev/null', needs: ['pv'] },
	{ name: 'lz4', kind: 'pipe', command: 'lz4 -c > /dev/null', needs: ['lz4'] },
	{ name: 'zstd', kind: 'pipe', command: 'zstd -1 -T0 -c > /dev/null', needs: ['zstd'] },
	{
		name: 'openssl',
		kind: 'pipe',
		command: `openssl enc -aes-128-ctr -K ${KEY} -iv ${KEY} > /dev/null`,
		needs: ['openssl'],
	},
	{
		name: 'ssh',
		kind: 'pipe',
		command: 'ssh -F "$SSH" target "cat > /dev/null"',
		needs: ['ssh', 'sshd', 'ssh-keygen'],
		settle: 1000,
	},
	{ name: 'four lz4', kind: 'pipe', command: 'lz4 -c > /dev/null', needs: ['lz4'], shards: 4 },
	{
		name: 'file in memory',
		kind: 'file',
		path: '$MEMORY/written',
		command: 'cat > "$MEMORY/written" && sync "$MEMORY/written"',
	},
	{
		name: 'file on a disk',
		kind: 'file',
		path: '$DISK/written',
		command: 'cat > "$DISK/written" && sync "$DISK/written"',
	},
	{
		name: '--connect tcp',
		kind: 'connection',
		address: 'tcp://127.0.0.1:$PORT',
		link: 'tcp',
		command: `exec 3< <(${SOCAT} TCP-LISTEN:$PORT,bind=127.0.0.1,reuseaddr STDOUT | "$LOAD" keep)
			${SOCAT} STDIN TCP:127.0.0.1:$PORT,${RETRY} && read -r <&3`,
		needs: ['socat'],
	},
	{
		name: '--connect unix',
		kind: 'connection',
		address: 'unix:$MEMORY/socket',
		link: 'unix',
		command: `exec 3< <(${SOCAT} UNIX-LISTEN:"$MEMORY/socket" STDOUT | "$LOAD" keep)
			${SOCAT} STDIN UNIX-CONNECT:"$MEMORY/socket",${RETRY} && read -r <&3`,
		needs: ['socat'],
	},
	{
		name: '--connect with TLS',
		kind: 'connection',
		address: 'tcp://127.0.0.1:$PORT',
		link: 'pipe',
		tls: true,
		command: `exec 3< <(${SOCAT} OPENSSL-LISTEN:$PORT,bind=127.0.0.1,reuseaddr,verify=0,cert="$TLS/cert.pem",key="$TLS/key.pem" STDOUT |
			"$LOAD" keep)
			${SOCAT} STDIN OPENSSL:127.0.0.1:$PORT,verify=0,${RETRY} && read -r <&3`,
		needs: ['socat', 'openssl'],
	},
];

export const senders: Sender[] = [
	{ name: 'cat', command: 'cat "$IMAGE"' },
	{ name: 'pv', command: 'pv -q "$IMAGE"', needs: ['pv'] },
	{ name: 'lz4', command: 'lz4 -dc "$IMAGE.lz4"', needs: ['lz4'] },
	{ name: 'zstd', command: 'zstd -q -dc "$IMAGE.zst"', needs: ['zstd'] },
	{ name: 'ssh', command: `ssh -F "$SSH" target "cat '$IMAGE'"`, needs: ['ssh', 'sshd', 'ssh-keygen'] },
	{
		name: 'tcp',
		link: 'tcp',
		command: 'cat "$IMAGE"',
		piped: `${SOCAT} TCP-LISTEN:$PORT,bind=127.0.0.1,reuseaddr STDOUT &
			${SOCAT} OPEN:"$IMAGE" TCP:127.0.0.1:$PORT,${RETRY} && wait $!`,
		needs: ['socat'],
	},
];

/** The path of a command; undefined where it is not installed. */
export function pathOf(command: string): string | undefined {
	const { status, stdout } = spawnSync('sh', ['-c', `command -v '${command}'`], { encoding: 'utf8' });
	return status === 0 ? stdout.trim() : undefined;
}

/** Of the commands that a way needs, those that are not installed. */
export function missing({ needs = [] }: Pick<Way, 'needs'>): string[] {
	return needs.filter((name) => !pathOf(name));
}
