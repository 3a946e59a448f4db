/** The parts that the tests use: the package has no types. */
declare module 's3rver' {
	export default class S3rver {
		constructor(options: {
			address: string;
			/** 0: any free port. */
			port: number;
			silent: boolean;
			directory: string;
			configureBuckets: { name: string; configs: string[] }[];
		});
		run(): Promise<{ port: number }>;
		close(): Promise<void>;
	}
}
