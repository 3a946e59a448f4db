/** The options of all commands, for the command line; docs/cli.md has an example of each. */

export type Command = 'capture' | 'extract' | 'serve';

interface Definition {
	alias?: string;
	type: 'string' | 'number' | 'boolean';
	describe: string;
	only?: Command[];
	group: string;
	default?: string | number;
	choices?: string[];
	array?: boolean;
}

const readers: Command[] = ['extract', 'serve'];
const main = 'The image:';
const network = 'Over the network:';
const service = 'As a service:';

const table = {
	'work-dir': {
		alias: 'W',
		type: 'string',
		group: main,
		describe: 'Directory of the sockets, which CRIU gets as its --images-dir [default: images-dir, else .]',
	},
	'images-dir': {
		alias: 'D',
		type: 'string',
		group: main,
		describe: 'extract: writes the files there; otherwise only a place for the socket',
	},
	'shard-fds': {
		alias: 's',
		type: 'string',
		group: main,
		describe: 'Descriptors that carry the stream, as 10,11,12 [default: stdout or stdin]',
	},
	'ext-file-fds': {
		alias: 'e',
		type: 'string',
		group: main,
		describe: 'Files of yours in the image, as name:fd,…',
	},
	'progress-fd': {
		alias: 'p',
		type: 'string',
		group: main,
		describe: 'Where progress goes [default: stderr]',
	},
	'tcp-listen-remap': {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Ports of listening TCP sockets to change, as old:new,…',
	},
	'zero-copy': {
		type: 'string',
		group: main,
		only: ['capture'],
		choices: ['auto', 'always', 'never'],
		default: 'auto',
		describe: 'Move references to the application’s pages: safe only if it dies after the dump',
	},
	from: {
		type: 'string',
		group: main,
		only: ['capture'],
		describe: 'Send this images directory, of a dump that is on the disk already, in place of a new dump',
	},
	'allow-incomplete': {
		type: 'boolean',
		group: main,
		only: ['capture'],
		describe: 'Accept a dump that ended without inventory.img',
	},
	keep: {
		type: 'boolean',
		group: main,
		only: readers,
		describe: 'Keep what CRIU has read, so that it can ask twice',
	},
	'criu-clients': {
		type: 'string',
		group: main,
		only: readers,
		default: '1',
		describe: 'How many times CRIU connects before the command ends, 1 to 1000000',
	},
	spool: {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Directory for what does not fit into memory, in an unnamed file',
	},
	'memory-limit': {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Image bytes to hold in memory, as 4G',
	},
	overwrite: {
		type: 'boolean',
		group: main,
		only: ['extract'],
		describe: 'Replace files that images-dir has already',
	},
	connect: {
		type: 'string',
		array: true,
		group: network,
		describe: 'Connect to tcp://host:port, unix:/path or vsock:cid:port',
	},
	listen: {
		type: 'string',
		array: true,
		group: network,
		describe: 'Wait there for the other side to connect',
	},
	shards: { type: 'string', group: network, default: '1', describe: 'Connections per address, 1 to 32' },
	'token-file': { type: 'string', group: network, describe: 'File with a secret that both sides share' },
	'tls-cert': { type: 'string', group: network, describe: 'TLS: certificate of this side (PEM)' },
	'tls-key': { type: 'string', group: network, describe: 'TLS: its key (PEM)' },
	'tls-ca': {
		type: 'string',
		group: network,
		describe: 'TLS: CA of the other side’s certificate (PEM)',
	},
	'stall-timeout': {
		type: 'string',
		group: network,
		describe:
			'Seconds of silence that count as failure, up to 2147483; 0 never [default: 60 for sockets, 0 for pipes]',
	},
	'criu-fd': {
		type: 'string',
		group: service,
		describe: 'Socket for CRIU that was handed over, listening or connected',
	},
	daemon: {
		alias: 'd',
		type: 'boolean',
		group: service,
		describe: 'Go on in the background once CRIU, or with --listen the other side, can connect',
	},
	pidfile: { type: 'string', group: service, describe: 'File for the process id, in the work dir' },
	'status-fd': { type: 'string', group: service, describe: 'Gets one NUL byte when ready' },
	'log-file': { alias: 'o', type: 'string', group: service, describe: 'File for messages, in the work dir' },
	verbosity: {
		type: 'string',
		group: service,
		default: '2',
		describe: 'What to tell, 0 to 4; also -v4, -v and -vv',
	},
	'display-stats': {
		type: 'boolean',
		group: service,
		describe: 'Print what was moved, and how fast, at the end',
	},
} satisfies Record<string, Definition>;

export type OptionName = keyof typeof table;

/** By name. */
export const definitions: Readonly<Record<OptionName, Definition>> = table;
