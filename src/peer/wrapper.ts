/** Makes a {@link PeerConnection} of a connected socket: plain, or with TLS. */
import { type PeerConnection, SocketConnection } from './connection.js';

/**
 * Makes a connection of `fd`, and owns it from the call on, also when it throws. `host` is the name that the certificate of
 * the other side must have.
 */
export type ConnectionWrapper = (
	fd: number,
	name: string,
	host: string,
	deadline: number,
) => Promise<PeerConnection>;

/** No TLS. */
export const wrapPlain: ConnectionWrapper = async (fd, name) => new SocketConnection(fd, name);
