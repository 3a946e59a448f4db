/** What the tests use of it: the package has no types. */
declare module 's3rver' {
	export default class S3rver {
		constructor(options: {
			address: string;
			/** 0: any that is free. */
			port: number;
			silent: boolean;
			directory: string;
			configureBuckets: { name: string; configs: string[] }[];
		});
		run(): Promise<{ port: number }>;
		close(): Promise<void>;
	}
}
