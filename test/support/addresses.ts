/** Addresses that are free, as options take them. */
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { temporaryFolder } from './temporary.js';

export const unixAddress = () => `unix:${join(temporaryFolder(), 'socket')}`;
export const tcpAddress = async () => `tcp://127.0.0.1:${await freePort()}`;
