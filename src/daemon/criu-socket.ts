/** The socket for CRIU of a command: created in its work directory, or handed over. */
import { join } from 'node:path';
import { ConnectedSocket, type CriuSocket, ListeningSocket, type OnCriu } from '../criu/socket.js';
import type { HandedOver } from '../options/criu-fd.js';

export interface CriuPlace {
	workDir: string;
	/** The name of the socket that is created there. */
	socketName: string;
	/** Used instead of a socket in the work directory. */
	handedOver: HandedOver | undefined;
	/** How many CRIUs are served. */
	clients: number;
}

/** `onCriu` is called for each CRIU before it is served. */
export function openCriuSocket(
	{ workDir, socketName, handedOver, clients }: CriuPlace,
	onCriu: OnCriu,
): CriuSocket {
	if (!handedOver) return ListeningSocket.at(join(workDir, socketName), clients, onCriu);
	if (handedOver.kind === 'listening') return new ListeningSocket(handedOver.fd, clients, onCriu);
	return new ConnectedSocket(handedOver.fd, onCriu);
}
