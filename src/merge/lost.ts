// P3: records that the target has lost and the journal does not have any more. On an operator's
// order they are passed over: the ledger says `lost` of each, no total counts them, and so they
// are `unaccounted` from then on.
import { rowEnd } from './batch.ts';
import { booked, type LedgerRow } from './ledger.ts';

/** Consecutive records of one lane, `first` and `last` included. */
export interface LostRange {
  readonly lane: number;
  readonly first: number;
  readonly last: number;
}

/** Bounds what decoding a ledger row takes. */
const recordsMax = 1_000_000;

/** What the ledger says of them: rows of records that are lost, every one. */
export function lostRows({ lane, first: begin, last: end }: LostRange): LedgerRow[] {
  const rows: LedgerRow[] = [];
  for (let first = begin; first <= end; first += recordsMax) {
    const last = Math.min(first + recordsMax - 1, end);
    const rowCount = last - first + 1;
    const ends = new Uint8Array(rowCount).fill(rowEnd.lost);
    rows.push({ lane, first, last, rowCount, digest: 0, ...booked(ends) });
  }
  return rows;
}

export const isLost = ({ ends }: Pick<LedgerRow, 'ends'>): boolean => ends?.[0] === rowEnd.lost;
