// Copies that a dedupe took out of a staging table of the simulated target: until the row that they
// are copies of has its end, it is known that they are.
import { type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { booked, decodeEnds } from '../../src/merge/ledger.ts';
import { ledgerPlace, letterKey, type Member, type SimulatedStore } from './simulated-store.ts';
import type { WaitingBatch } from './simulated-turn.ts';

export function rememberCopies(
  store: SimulatedStore,
  { of, source }: WaitingBatch,
  copyOf: ReadonlyMap<number, number>,
): void {
  const more = [...copyOf].map(([sequence, stays]) => ({ source, copyOf: stays, sequence }));
  store.set(store.copies, of.key, [...(store.copies.get(of.key) ?? []), ...more]);
}

/** Ends of records of a lane that wait, before their merge. */
export function bookEnds(
  store: SimulatedStore,
  key: string,
  ended: readonly { readonly sequence: number; readonly end: RowEnd }[],
): void {
  const all = store.entries(key);
  for (const { sequence, end } of ended) {
    const entry = all[ledgerPlace(all, sequence)];
    if (!entry) throw new Error('a copy is in no batch');
    const ends = decodeEnds(entry.row);
    ends[sequence - entry.row.first] = end;
    const { duplicates, superseded, deadLetters, ends: after } = booked(ends);
    // Merged stays 0 until the merge.
    const row = { ...entry.row, duplicates, superseded, deadLetters, ends: after };
    store.book(key, { ...entry, row });
  }
}

/** A record of the lane has its end; its copies have theirs, too, and are copies no longer. */
export function endCopies(
  store: SimulatedStore,
  of: Member,
  { sequence, end }: { readonly sequence: number; readonly end: RowEnd },
): void {
  const all = store.copies.get(of.key) ?? [];
  const own = all.filter(({ copyOf }) => copyOf === sequence);
  if (own.length === 0) return;
  store.set(
    store.copies,
    of.key,
    all.filter(({ copyOf }) => copyOf !== sequence),
  );
  if (end !== rowEnd.superseded && end !== rowEnd.deadLetter) return;
  bookEnds(
    store,
    of.key,
    own.map((copy) => ({ sequence: copy.sequence, end })),
  );
  const letter = store.letters.get(letterKey({ ...of, sequence }));
  if (!letter) return;
  for (const copy of own) {
    const same = { ...letter, sequence: copy.sequence };
    store.set(store.letters, letterKey(same), same);
  }
}
