/** Addresses that are free, as options take them. */
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { temporaryDirectory } from './temporary.js';

export const unixAddress = () => `unix:${join(temporaryDirectory(), 'socket')}`;
export const tcpAddress = async () => `tcp://127.0.0.1:${await freePort()}`;
