/** Both sides of a connection that the streamer makes itself. */
import { expand, ours, type Place } from './place.js';
import type { Reader } from './readers.js';

type Connection = Reader & { kind: 'connection' };

/** Options of a capture. */
export function toConnect(place: Place, { address, tls }: Connection): string[] {
	const trust = tls ? ['--tls-ca', `${place.TLS}/cert.pem`] : [];
	return ['--connect', expand(address, place), ...trust];
}

/** The command of an extract that holds the image at the other end, for a shell. */
export function holder(place: Place, { address, tls }: Connection, dir: string): string {
	const proof = tls ? ['--tls-cert', `${place.TLS}/cert.pem`, '--tls-key', `${place.TLS}/key.pem`] : [];
	const command = [...ours, '--work-dir', dir, '--listen', expand(address, place), ...proof, 'serve'];
	return command.map((word) => `'${word}'`).join(' ');
}
