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

/** Some copies, as a row of holdfast_copies keeps them. */
export interface KeptCopies {
  readonly source: number;
  /** Between these lies what they are copies of. */
  readonly firstOf: number;
  readonly lastOf: number;
  /** Of the last of them: no other row has it. */
  readonly sequence: number;
  /** `[[copyOf, sequence], …]` as JSON. */
  readonly copies: string;
}

const copiesPerRow = 1_000;

export function keptCopies(copies: readonly Copy[]): KeptCopies[] {
  const kept: KeptCopies[] = [];
  for (const [source, own] of Map.groupBy(copies, (copy) => copy.source)) {
    const sorted = own.toSorted((a, b) => a.copyOf - b.copyOf || a.sequence - b.sequence);
    for (let at = 0; at < sorted.length; at += copiesPerRow) {
      const some = sorted.slice(at, at + copiesPerRow);
      const { copyOf: lastOf = 0, sequence = 0 } = some.at(-1) ?? {};
      const pairs = some.map((copy) => [copy.copyOf, copy.sequence]);
      const firstOf = some[0]?.copyOf ?? 0;
      kept.push({ source, firstOf, lastOf, sequence, copies: JSON.stringify(pairs) });
    }
  }
  return kept;
}

const copiesIn = ({ source, copies }: Pick<KeptCopies, 'source' | 'copies'>): Copy[] =>
  (JSON.parse(copies) as [number, number][]).map(([copyOf, sequence]) => {
    return { source, copyOf, sequence };
  });

const isUnlike = (end: number | undefined): boolean =>
  end === rowEnd.superseded || end === rowEnd.deadLetter;

/** Per source of the batches, between which records those lie of which a copy is no duplicate. */
export function unlikeRanges(
  batches: readonly MergedBatch[],
): { readonly source: number; readonly first: number; readonly last: number }[] {
  const ranges = new Map<number, { source: number; first: number; last: number }>();
  for (const { source, first, ends } of batches) {
    const from = ends.findIndex(isUnlike);
    if (from === -1) continue;
    const range = ranges.get(source) ?? { source, first: first + from, last: 0 };
    range.last = first + ends.findLastIndex(isUnlike);
    ranges.set(source, range);
  }
  return [...ranges.values()];
}

/** A copy with the end that it has now. */
export interface EndedCopy extends Pick<Copy, 'source' | 'sequence'> {
  readonly end: RowEnd;
}

export interface EndedCopies {
  /** By lane, those that are in none of the batches. */
  readonly later: ReadonlyMap<number, readonly EndedCopy[]>;
  /** Those that are dead letters. */
  readonly dead: readonly Copy[];
}

/**
 * What becomes of copies whose rows the batches (by source, then sequence) have, and that are no
 * duplicates. The ends of those that are in the batches, too, are set there.
 */
export function endCopies(
  batches: readonly MergedBatch[],
  kept: readonly Pick<KeptCopies, 'source' | 'copies'>[],
): EndedCopies {
  const later = new Map<number, EndedCopy[]>();
  const dead: Copy[] = [];
  for (const copy of kept.flatMap(copiesIn)) {
    const { source, copyOf, sequence } = copy;
    const batch = batchOf(batches, source, copyOf);
    const end = batch?.ends[copyOf - batch.first];
    if (!batch || !isUnlike(end)) continue;
    if (end === rowEnd.deadLetter) dead.push(copy);
    const own = batchOf(batches, source, sequence);
    if (own) own.ends[sequence - own.first] = end as RowEnd;
    else {
      const some = later.get(batch.lane) ?? [];
      later.set(batch.lane, some);
      some.push({ source, sequence, end: end as RowEnd });
    }
  }
  return { later, dead };
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
