/** What a connected socket becomes: a wire that is nothing but the socket, or one with TLS around it. */
import { type PeerConnection, SocketConnection } from './connection.js';

/**
 * Makes a wire of `fd`, and owns it from the call on, also when it throws. `host` is whom the certificate of the other side
 * has to name.
 */
export type ConnectionWrapper = (
	fd: number,
	name: string,
	host: string,
	deadline: number,
) => Promise<PeerConnection>;

/** No TLS. */
export const wrapPlain: ConnectionWrapper = async (fd, name) => new SocketConnection(fd, name);
