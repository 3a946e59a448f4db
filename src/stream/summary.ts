/** What a stream consisted of; `shards` in the order that they were given. */
export interface StreamSummary {
	shards: { bytes: number; millis: number }[];
	files: number;
}
