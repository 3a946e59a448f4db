// One to 32 shards, replayed and to disk; with the original at either end where it is available.
import { roundTrips } from '../support/round-trip.js';
import { ours, peer } from '../support/streamer.js';

roundTrips(
	'round trip',
	() => ours,
	() => ours,
);
roundTrips('from ours to the original', () => ours, peer);
roundTrips('from the original to ours', peer, () => ours);
