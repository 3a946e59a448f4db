/** What --tls-cert, --tls-key and --tls-ca hold (PEM). */
export interface TlsFiles {
	cert?: Buffer;
	key?: Buffer;
	ca?: Buffer;
}
