// Rows that `dedupe` took out of a staging table because another one that waits there stands for
// them. Such a copy is booked as a duplicate, and is one if that row is merged or itself found to
// be a duplicate. Where it ends otherwise, so do its copies, in the transaction of its merge.
//
// A copy is of the same writer and lane as the row that it is a copy of, and behind it: it waits
// when that one is merged, or is of the same merge.
import { type OnConflict, type RowEnd, rowEnd } from '../merge/batch.ts';

export interface Copy {
  /** Stands for its writer, stream and lane. */
  readonly source: number;
  /** The record that stays; never itself a copy. */
  readonly copyOf: number;
  readonly sequence: number;
}

/** A batch's records of one lane, as a merge takes them. */
interface MergedBatch {
  readonly source: number;
  readonly lane: number;
  readonly first: number;
  readonly last: number;
  readonly ends: Uint8Array;
}

/**
 * By these rules a later row takes the place of an earlier one of its key. Where another row lies
 * between equal ones, the last of them is no copy: without the others it would bring them back.
 */
export const isReplacing = (rule: OnConflict): boolean =>
  rule === 'update' || typeof rule === 'object';

/** Records of a source that lie behind each other. */
export interface RecordRun {
  readonly source: number;
  readonly first: number;
  readonly last: number;
}

const isUnlike = (end: number | undefined): boolean =>
  end === rowEnd.superseded || end === rowEnd.deadLetter;

/** The records of which a copy is no duplicate. */
export function unlikeRuns(batches: readonly MergedBatch[]): RecordRun[] {
  return batches.flatMap(({ source, first, ends }) => {
    const runs: RecordRun[] = [];
    for (let at = 0; at < ends.length; at++) {
      const from = at;
      while (isUnlike(ends[at])) at++;
      if (at > from) runs.push({ source, first: first + from, last: first + at - 1 });
    }
    return runs;
  });
}

/** A copy with the end that it has now. */
export interface EndedCopy extends Pick<Copy, 'source' | 'sequence'> {
  readonly end: RowEnd;
}

/**
 * Copies end as what they are copies of, which is in one of the merge's batches (by source, then
 * sequence). Ends of those that are in them, too, are set there; of the others, by lane, answered.
 */
export function endCopies(
  batches: readonly MergedBatch[],
  copies: readonly Copy[],
): ReadonlyMap<number, readonly EndedCopy[]> {
  const later = new Map<number, EndedCopy[]>();
  for (const { source, copyOf, sequence } of copies) {
    const batch = batchOf(batches, source, copyOf);
    const end = batch?.ends[copyOf - batch.first];
    if (!batch || end === undefined) continue;
    const own = batchOf(batches, source, sequence);
    if (own) own.ends[sequence - own.first] = end;
    else {
      const some = later.get(batch.lane) ?? [];
      later.set(batch.lane, some);
      some.push({ source, sequence, end: end as RowEnd });
    }
  }
  return later;
}

function batchOf(
  batches: readonly MergedBatch[],
  source: number,
  sequence: number,
): MergedBatch | undefined {
  let [low, high] = [0, batches.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const batch = batches[middle];
    const isBefore =
      batch && (batch.source < source || (batch.source === source && batch.last < sequence));
    if (isBefore) low = middle + 1;
    else high = middle;
  }
  const found = batches[low];
  return found?.source === source && found.first <= sequence ? found : undefined;
}
