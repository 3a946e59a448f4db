/** The contents of --tls-cert, --tls-key and --tls-ca (PEM). */
export interface TlsFiles {
	cert?: Buffer;
	key?: Buffer;
	ca?: Buffer;
}
