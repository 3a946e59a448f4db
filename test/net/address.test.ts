import * as assert from 'uvu/assert';
import { describeSockaddr, inetSockaddr, parseAddress, vsockSockaddr } from '../../src/net/address.js';
import { UsageError } from '../../src/runtime/errors.js';
import { suite } from '../support/suite.js';

const test = suite('addresses');

const good: [text: string, expected: object][] = [
	['tcp://10.0.0.1:7000', { kind: 'tcp', host: '10.0.0.1', port: 7000 }],
	['tcp://host.example:65535', { kind: 'tcp', host: 'host.example', port: 65535 }],
	['tcp://[::1]:7000', { kind: 'tcp', host: '::1', port: 7000 }],
	['tcp://[fe80::1%eth0]:7000', { kind: 'tcp', host: 'fe80::1%eth0', port: 7000 }],
	// Without a host the address is the loopback.
	['tcp://:7000', { kind: 'tcp', host: '127.0.0.1', port: 7000 }],
	['unix:/run/a.sock', { kind: 'unix', path: '/run/a.sock' }],
	['unix:a b', { kind: 'unix', path: 'a b' }],
	['vsock:3:7000', { kind: 'vsock', cid: 3, port: 7000 }],
	['vsock::7000', { kind: 'vsock', cid: 1, port: 7000 }],
	['vsock:any:7000', { kind: 'vsock', cid: 0xffffffff, port: 7000 }],
];
for (const [text, expected] of good) {
	test(`${text} is understood`, () => {
		assert.equal(parseAddress('--connect', text), { text, ...expected });
	});
}

const bad = [
	'host:7000',
	'tcp://host',
	'tcp://host:0',
	'tcp://host:65536',
	'tcp://host:http',
	'tcp://::1:7000',
	'tcp://[1.2.3.4]:7000',
	'tcp://[::1]',
	'tcp://host:7000/path',
	'udp://host:7000',
	'unix:',
	'unix:/a\0b',
	'vsock:3',
	'vsock:x:7000',
	'vsock:4294967296:7000',
	'vsock:3:4294967295',
	'tcp://[fe80::1%4294967296]:7000',
	'',
];
for (const text of bad) {
	test(`"${text.replace('\0', '\\0')}" is wrong usage, and the error shows the right forms`, () => {
		assert.throws(
			() => parseAddress('--listen', text),
			(error: Error) =>
				error instanceof UsageError && /^--listen .*tcp:\/\/host:port.*unix:\/path/s.test(error.message),
		);
	});
}

const hex: [ip: string, expected: string][] = [
	['127.0.0.1', '02001b587f0000010000000000000000'],
	['::1', `0a001b5800000000${'00'.repeat(15)}0100000000`],
	['::', `0a001b5800000000${'00'.repeat(16)}00000000`],
	['2001:db8::ff:1', '0a001b580000000020010db8000000000000000000ff000100000000'],
	['1:2:3:4:5:6:7:8', '0a001b58000000000001000200030004000500060007000800000000'],
	['::ffff:1.2.3.4', '0a001b580000000000000000000000000000ffff0102030400000000'],
	['fe80::1%7', `0a001b5800000000fe80${'00'.repeat(13)}0107000000`],
];
for (const [ip, expected] of hex) {
	test(`${ip} is the sockaddr ${expected}`, () => {
		assert.is(inetSockaddr(ip, 7000).toString('hex'), expected);
	});
}

test('a sockaddr is described as an address that can be parsed again', () => {
	assert.is(describeSockaddr(inetSockaddr('10.1.2.3', 80)), 'tcp://10.1.2.3:80');
	assert.is(describeSockaddr(inetSockaddr('2001:db8::1', 8080)), 'tcp://[2001:db8::1]:8080');
	assert.is(describeSockaddr(vsockSockaddr(3, 7000)), 'vsock:3:7000');
});

test.run();
