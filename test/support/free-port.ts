/** Ports for tests that listen. */
import { createServer } from 'node:net';

/** A port that is free at this moment, outside of the range of ephemeral ports. */
export async function freePort(): Promise<number> {
	for (;;) {
		const port = 15_000 + Math.floor(Math.random() * 15_000);
		const server = createServer();
		const free = await new Promise<boolean>((resolve) => {
			server.on('error', () => resolve(false));
			server.listen(port, '127.0.0.1', () => resolve(true));
		});
		if (!free) continue;
		await new Promise((resolve) => server.close(resolve));
		return port;
	}
}
