// What a batch writes into the ledger and the lane rows: one row per slice, with how each record
// ended. `ends` is null where every record of the slice was merged, else runs in sequence order:
// per run one byte RowEnd, then the length as an unsigned LEB128.
import assert from 'node:assert/strict';
import { type Batch, type RowEnd, rowEnd, type Slice } from './batch.ts';

export interface EndCounts {
  readonly merged: number;
  readonly duplicates: number;
  readonly superseded: number;
  readonly deadLetters: number;
}

export interface LedgerRow extends EndCounts {
  readonly lane: number;
  readonly first: number;
  readonly last: number;
  readonly rowCount: number;
  /** Of the bytes sent: CRC-32 over the blocks' row checksums in sequence order, unsigned. */
  readonly digest: number;
  readonly ends: Uint8Array | null;
}

/** The ledger rows of a batch, in the order of its slices. `ends` absent: every row was merged. */
export function ledgerRows(batch: Batch, ends: Uint8Array | undefined): LedgerRow[] {
  if (!ends && batch.undecoded.length === 0) return batch.slices.map(allMerged);
  const bySlice = batch.slices.map((slice) => new Uint8Array(slice.last - slice.first + 1));
  if (ends) {
    for (let row = 0; row < batch.count; row++) {
      const at = batch.sliceOf[row] ?? 0;
      const slice = batch.slices[at];
      const target = bySlice[at];
      assert(slice && target, 'a row belongs to a slice');
      target[(batch.sequences[row] ?? 0) - slice.first] = ends[row] ?? 0;
    }
  }
  for (const record of batch.undecoded) {
    const slice = batch.slices[record.slice];
    const target = bySlice[record.slice];
    assert(slice && target, 'an undecoded record belongs to a slice');
    target[record.sequence - slice.first] = rowEnd.deadLetter;
  }
  return batch.slices.map((slice, at) => {
    const own = bySlice[at] ?? new Uint8Array(0);
    const { lane, first, last, digest } = slice;
    return { lane, first, last, rowCount: own.length, digest, ...booked(own) };
  });
}

function allMerged({ lane, first, last, digest }: Slice): LedgerRow {
  const rowCount = last - first + 1;
  return { lane, first, last, rowCount, digest, ...noCounts, merged: rowCount, ends: null };
}

/** Ends as the ledger has them; one RowEnd per record. */
export function booked(ends: Uint8Array): EndCounts & Pick<LedgerRow, 'ends'> {
  const counts = countEnds(ends);
  return { ...counts, ends: counts.merged === ends.length ? null : encodeEnds(ends) };
}

export function countEnds(ends: Uint8Array): EndCounts {
  const counts = [0, 0, 0, 0];
  for (const end of ends) counts[end] = (counts[end] ?? 0) + 1;
  const [merged = 0, duplicates = 0, superseded = 0, deadLetters = 0] = counts;
  return { merged, duplicates, superseded, deadLetters };
}

function encodeEnds(ends: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (let at = 0; at < ends.length; ) {
    const end = ends[at] ?? 0;
    let run = 1;
    while (ends[at + run] === end) run++;
    out.push(end);
    let rest = run;
    for (; rest > 127; rest >>>= 7) out.push((rest & 127) | 128);
    out.push(rest);
    at += run;
  }
  return Uint8Array.from(out);
}

/** One RowEnd per record of `row`, in sequence order. */
export function decodeEnds(row: Pick<LedgerRow, 'ends' | 'rowCount'>): Uint8Array {
  const out = new Uint8Array(row.rowCount);
  if (!row.ends) return out;
  let at = 0;
  for (let i = 0; i < row.ends.length; ) {
    const end = row.ends[i++] ?? 0;
    let run = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = row.ends[i++] ?? 0;
      run |= (byte & 127) << shift;
      if (byte < 128) break;
    }
    out.fill(end, at, at + run);
    at += run;
  }
  assert.equal(at, out.length, 'the ends of a ledger row cover its records');
  return out;
}

/** How the records [first, last] of one ledger row ended. */
export function countsWithin(
  row: Pick<LedgerRow, 'first' | 'last' | 'rowCount' | 'ends'>,
  first: number,
  last: number,
): EndCounts {
  const from = Math.max(first, row.first);
  const to = Math.min(last, row.last);
  if (to < from) return noCounts;
  return countEnds(decodeEnds(row).subarray(from - row.first, to - row.first + 1));
}

/** The row as it stands after one of its records found another end (replay). */
export function withEnd(row: LedgerRow, sequence: number, end: RowEnd): LedgerRow {
  const ends = decodeEnds(row);
  ends[sequence - row.first] = end;
  return { ...row, ...booked(ends) };
}

export const noCounts: EndCounts = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };

export const addCounts = (a: EndCounts, b: EndCounts): EndCounts => ({
  merged: a.merged + b.merged,
  duplicates: a.duplicates + b.duplicates,
  superseded: a.superseded + b.superseded,
  deadLetters: a.deadLetters + b.deadLetters,
});
