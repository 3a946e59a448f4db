/** What a connected socket becomes: a wire that is nothing but the socket, or one with TLS around it. */
import { SocketWire, type Wire } from './connection.js';

/**
 * Makes a wire of `fd`, and owns it from the call on, also when it throws. `host` is whom the certificate of the other side
 * has to name.
 */
export type Dress = (fd: number, name: string, host: string, deadline: number) => Promise<Wire>;

/** No TLS. */
export const plain: Dress = async (fd, name) => new SocketWire(fd, name);
