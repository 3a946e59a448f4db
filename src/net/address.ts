/** Addresses of --connect and --listen, as text and as the kernel's structures. */
import { isIPv4, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { buffer } from '../libc/calls.js';
import { AF_INET, AF_INET6, AF_VSOCK, VMADDR_CID_ANY, VMADDR_CID_LOCAL } from '../libc/constants.js';
import { UsageError } from '../runtime/errors.js';

/** `text` is the address as the user wrote it, for messages. */
export type Address =
	| { kind: 'tcp'; text: string; host: string; port: number }
	| { kind: 'unix'; text: string; path: string }
	| { kind: 'vsock'; text: string; cid: number; port: number };

/** The default host: a listener is reachable from other hosts only with an explicit address. */
const LOOPBACK = '127.0.0.1';

/** The index of a network interface has 32 bits. */
const MAX_SCOPE = 0xffffffff;

/** Parses an address of --connect or --listen (`option`). Throws {@link UsageError}. */
export function parseAddress(option: string, text: string): Address {
	const refuse = (why: string) =>
		new UsageError(
			`${option} ${text}: ${why}; it is tcp://host:port, tcp://[IPv6]:port, unix:/path or vsock:cid:port`,
		);
	const tcp = /^tcp:\/\/(?:\[([^\]]*)\]|([^:[\]/]*)):(\d+)$/.exec(text);
	if (tcp) {
		const [, ipv6, name, digits] = tcp;
		const port = Number(digits);
		if (port < 1 || port > 65535) throw refuse('no port from 1 to 65535');
		if (ipv6 !== undefined && !isIPv6(ipv6)) throw refuse('no IPv6 address');
		if (Number(/%(\d+)$/.exec(ipv6 ?? '')?.[1] ?? 0) > MAX_SCOPE)
			throw refuse(`no interface from 0 to ${MAX_SCOPE}`);
		return { kind: 'tcp', text, host: ipv6 || name || LOOPBACK, port };
	}
	const path = /^unix:(.+)$/s.exec(text)?.[1];
	if (path) {
		if (path.includes('\0')) throw refuse('a path holds no NUL');
		return { kind: 'unix', text, path };
	}
	const vsock = /^vsock:(\d*|any):(\d+)$/.exec(text);
	if (vsock) {
		const [, name, digits] = vsock;
		const cid = name === 'any' ? VMADDR_CID_ANY : name ? Number(name) : VMADDR_CID_LOCAL;
		const port = Number(digits);
		if (cid > VMADDR_CID_ANY || port >= VMADDR_CID_ANY)
			throw refuse(`no cid from 0 to ${VMADDR_CID_ANY} with a port from 0 to ${VMADDR_CID_ANY - 1}`);
		return { kind: 'vsock', text, cid, port };
	}
	throw refuse('no address that is known');
}

/** struct sockaddr_in or sockaddr_in6 of a numeric address. */
export function inetSockaddr(ip: string, port: number): Buffer {
	const v4 = isIPv4(ip);
	const result = buffer(v4 ? 16 : 28);
	result.writeUInt16LE(v4 ? AF_INET : AF_INET6, 0);
	result.writeUInt16BE(port, 2);
	if (v4) {
		result.set(ip.split('.').map(Number), 4);
		return result;
	}
	const [text = '', zone] = ip.split('%');
	for (const [i, group] of ipv6Groups(text).entries()) result.writeUInt16BE(group, 8 + i * 2);
	if (zone) result.writeUInt32LE(scopeOf(zone), 24);
	return result;
}

/** struct sockaddr_vm. */
export function vsockSockaddr(cid: number, port: number): Buffer {
	const result = buffer(16);
	result.writeUInt16LE(AF_VSOCK, 0);
	result.writeUInt32LE(port, 4);
	result.writeUInt32LE(cid, 8);
	return result;
}

/** A sockaddr as an address that --connect takes. */
export function describeSockaddr(address: Buffer): string {
	const family = address.readUInt16LE(0);
	const port = address.readUInt16BE(2);
	if (family === AF_INET) return `tcp://${[...address.subarray(4, 8)].join('.')}:${port}`;
	if (family === AF_VSOCK) return `vsock:${address.readUInt32LE(8)}:${address.readUInt32LE(4)}`;
	const groups = Array.from({ length: 8 }, (_, i) => address.readUInt16BE(8 + i * 2).toString(16));
	// URL shortens the longest form by the rules for IPv6.
	return `tcp://${new URL(`http://[${groups.join(':')}]`).hostname}:${port}`;
}

/** The eight groups of a valid IPv6 address. */
function ipv6Groups(text: string): number[] {
	const hex = text.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
		const [a, b, c, d] = bytes.map(Number) as [number, number, number, number];
		return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
	});
	const [head = [], tail = []] = hex
		.split('::')
		.map((part) => (part ? part.split(':').map((group) => Number.parseInt(group, 16)) : []));
	return [...head, ...Array(8 - head.length - tail.length).fill(0), ...tail];
}

/** The index of a network interface, which a link-local address needs. */
function scopeOf(zone: string): number {
	if (/^\d+$/.test(zone)) return Number(zone);
	const scope = networkInterfaces()[zone]?.find((each) => each.family === 'IPv6')?.scopeid;
	if (!scope) throw new Error(`there is no network interface ${zone} with IPv6`);
	return scope;
}
