// The books of a stream, as people and scripts see them. `unaccounted` is worked out from one
// snapshot of the target's own totals, so that it can be wrong only if the books are.
import { addCounts, noCounts } from './merge/ledger.ts';
import type { OpenStream } from './stream.ts';
import type { LaneState } from './target/target.ts';
import type { StreamStatus } from './types.ts';

/** `lanes`: the target's rows, read just now; undefined where it cannot be reached. */
export function streamStatus(
  stream: OpenStream,
  lanes: readonly LaneState[] | undefined,
  nowMs: number,
): StreamStatus {
  const watermarks = stream.marks.sums();
  const totals = lanes
    ? lanes.reduce((sum, lane) => addCounts(sum, lane), noCounts)
    : stream.marks.totals;
  const sumOf = (place: 'staged' | 'settled'): number =>
    lanes ? lanes.reduce((sum, lane) => sum + lane[place], 0) : watermarks[place];
  const settled = sumOf('settled');
  // What has been confirmed since the target was asked is not yet in what it said (I1).
  const confirmed = Math.min(watermarks.confirmed, settled);
  const marks = { ...watermarks, staged: sumOf('staged'), settled, confirmed };
  const { accepted } = watermarks;
  const inFlight = inFlightOf(stream, lanes);
  const { merged, duplicates, superseded, deadLetters } = totals;
  const { state, reason } = stream.state;
  return {
    accepted,
    merged,
    duplicates,
    superseded,
    deadLetters,
    inFlight,
    unaccounted: accepted - merged - duplicates - superseded - deadLetters - inFlight,
    watermarks: marks,
    levels: levelsOf(stream, marks, nowMs),
    table: stream.rules.table,
    key: stream.rules.key,
    route: stream.rules.route,
    lanes: stream.lanes,
    state,
    ...(reason === undefined ? {} : { reason }),
    oldestMs: stream.trail.ageAfter(marks.settled, nowMs),
  };
}

/**
 * The difference of neighbouring watermarks, and when the oldest record between them was accepted.
 */
function levelsOf(
  { trail }: OpenStream,
  marks: StreamStatus['watermarks'],
  nowMs: number,
): StreamStatus['levels'] {
  const held = (before: number, reached: number) => ({
    records: Math.max(0, before - reached),
    oldestMs: before > reached ? trail.ageAfter(reached, nowMs) : 0,
  });
  return {
    memory: held(marks.accepted, marks.journaled),
    journal: held(marks.journaled, marks.staged),
    staging: held(marks.staged, marks.settled),
    table: held(marks.settled, marks.confirmed),
  };
}

/**
 * What is not known to have its end. Lane by lane: where the target has settled more than the
 * journal knows (P4), that must not make up for records of other lanes; it shows as unaccounted.
 */
function inFlightOf({ marks }: OpenStream, lanes: readonly LaneState[] | undefined): number {
  const settled = new Map(lanes?.map((state) => [state.lane, state.settled]));
  const ended = (lane: number): number => (lanes ? (settled.get(lane) ?? 0) : marks.ended(lane));
  return marks.journaled.reduce(
    (sum, journaled, lane) => sum + Math.max(0, journaled - ended(lane)),
    marks.taken,
  );
}
