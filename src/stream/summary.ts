/** What a stream consisted of; `shards` in the order that they were given, `files` with the corrections, where it has any. */
export interface StreamSummary {
	shards: { bytes: number; millis: number }[];
	files: number;
}
