/**
 * Why TLS failed, in messages that name the side and what it lacks: OpenSSL names its source files, and Node reports a client
 * that does not trust the certificate as "socket hang up".
 */
import { nodeErrorText } from '../libc/errno.js';

type Failure = NodeJS.ErrnoException & { reason?: string };

/** Codes of OpenSSL (X509_V_ERR_…) for a certificate whose signer is not trusted. */
const UNTRUSTED = new Set([
	'DEPTH_ZERO_SELF_SIGNED_CERT',
	'SELF_SIGNED_CERT_IN_CHAIN',
	'UNABLE_TO_GET_ISSUER_CERT',
	'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
	'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
	'CERT_UNTRUSTED',
	'INVALID_CA',
]);
const DATES = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID']);
/** TLS alerts of a client that does not trust the certificate; a client in Node resets the connection instead. */
const DISTRUST = /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED)$/;

/** Why a connection with TLS broke. */
export function reasonOf(error: unknown): string {
	const { message, code, reason } = error as Failure;
	if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
		return 'it does not speak TLS; give a certificate, its key and a CA on both sides, or on neither';
	if (code?.startsWith('ERR_SSL') && reason) return reason;
	return nodeErrorText(error)?.why ?? message;
}

/** Why the handshake with a listening side failed, as the client sees it. */
export function clientReason(error: unknown): string {
	const { message, code = '' } = error as Failure;
	if (UNTRUSTED.has(code))
		return `its certificate is not trusted (${message}): the CA of this side has to be the one that signed it`;
	if (DATES.has(code)) return `its certificate is refused (${message}): renew it, or set the clocks right`;
	if (code === 'ERR_TLS_CERT_ALTNAME_INVALID')
		return `its certificate is for another host (${message}): connect to a name that the certificate has`;
	if (code === 'ECONNRESET') return 'it closed the connection in the middle of the handshake';
	return reasonOf(error);
}

/** Why the handshake with a client failed, as the listening side sees it. */
export function serverReason(error: unknown): string {
	const { code = '' } = error as Failure;
	if (code === 'ECONNRESET' || DISTRUST.test(code))
		return (
			'it left in the middle of the handshake, most likely because it does not trust the certificate of this side: ' +
			'its CA has to be the one that signed the certificate here, for the host that it connects to'
		);
	return reasonOf(error);
}
