// Rows of Holdfast's own tables as drivers give them: numbers may come as bigints or as text.
import type { LedgerRow } from '../merge/ledger.ts';
import { type Claim, type LaneState, TargetError } from './target.ts';

type Row = { readonly [column: string]: unknown };

const counts = (row: Row) => ({
  merged: Number(row['merged']),
  duplicates: Number(row['duplicates']),
  superseded: Number(row['superseded']),
  deadLetters: Number(row['deadLetters']),
});

export const toLane = (row: Row): LaneState => ({
  lane: Number(row['lane']),
  epoch: Number(row['epoch']),
  staged: Number(row['staged']),
  settled: Number(row['settled']),
  ...counts(row),
});

export const toLedgerRow = (row: Row): LedgerRow => ({
  lane: Number(row['lane']),
  first: Number(row['first']),
  last: Number(row['last']),
  rowCount: Number(row['rowCount']),
  ...counts(row),
  digest: Number(row['digest']),
  ends: row['ends'] instanceof Uint8Array ? row['ends'] : null,
});

/**
 * For who has the lanes' locks: throws 'fenced' where another owner has claimed one since `after`.
 * A later epoch of one's own is of a claim that was not answered.
 */
export function requireUnclaimed(
  lanes: readonly Row[],
  { owner, after = Number.POSITIVE_INFINITY }: Pick<Claim, 'owner' | 'after'>,
): void {
  const lost = lanes.find((lane) => Number(lane['epoch']) > after && lane['owner'] !== owner);
  if (!lost) return;
  const message = `Lane ${Number(lost['lane'])} belongs to epoch ${Number(lost['epoch'])} now.`;
  throw new TargetError('fenced', '', message);
}

/**
 * The same order, but that rows of one source stand in it by their sequence: the clock that they
 * were ordered by may have gone back, or be another server's.
 */
export function inSequence<Batch extends Row>(found: readonly Batch[]): Batch[] {
  const bySource = new Map<number, Batch[]>();
  for (const row of found) {
    const own = bySource.get(Number(row['source'])) ?? [];
    own.push(row);
    bySource.set(Number(row['source']), own);
  }
  for (const own of bySource.values()) own.sort((a, b) => Number(b['first']) - Number(a['first']));
  return found.map((row) => bySource.get(Number(row['source']))?.pop() ?? row);
}
