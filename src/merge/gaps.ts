// P3: a target that went back further than the journal reaches. What lies between is looked for as
// the feed would run into it: at the first record behind a gap, or at a checkpoint that knows of
// records which no block has. What is damaged is no gap: the records may still be saved.
import { blockKind } from '../journal/block.ts';
import { type CheckpointNote, decodeNote } from '../journal/notes.ts';
import type { LaneState } from '../target/target.ts';
import { blocksOf, type JournaledStream } from './journaled.ts';
import type { LostRange } from './lost.ts';

/**
 * Per lane the first gap behind what is staged, up to where the journal goes on; by lane. `lanes`
 * may lack some, of which the target knows nothing. The journal must not be trimmed since they
 * were read. Throws CorruptJournal as `blocksOf` does.
 */
export function findGaps(
  lanes: readonly LaneState[],
  stream: JournaledStream & { readonly lanes: number },
): LostRange[] {
  const taken = new Map(Array.from({ length: stream.lanes }, (_, lane) => [lane, 0]));
  for (const { lane, staged } of lanes) taken.set(lane, staged);
  const gaps: LostRange[] = [];
  /** Records of the lane stand at `first` to `last`: of an empty range, behind `last`. */
  const meet = (lane: number, first: number, last: number): void => {
    const end = taken.get(lane);
    if (end === undefined) return;
    taken.set(lane, Math.max(end, last));
    if (first <= end + 1) return;
    gaps.push({ lane, first: end + 1, last: first - 1 });
    taken.delete(lane);
  };
  for (const { block, reader } of blocksOf(stream)) {
    const { kind, lane, first, rowCount } = block.header;
    if (kind === blockKind.checkpoint) {
      const whole = reader.whole(block);
      const payload = whole?.window.bytes.subarray(whole.start, whole.end);
      const { marks } = payload ? decodeNote<CheckpointNote>(payload) : { marks: [] };
      const mark = marks.find((known) => known.stream === stream.id);
      for (const [at, last] of mark?.last.entries() ?? []) meet(at, last + 1, last);
    }
    const isRecords = kind === blockKind.rows || kind === blockKind.undecoded;
    if (isRecords && block.header.stream === stream.id) meet(lane, first, first + rowCount - 1);
  }
  return gaps.sort((a, b) => a.lane - b.lane);
}
