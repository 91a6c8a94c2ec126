// The transactions of a simulated target on the direct route, row by row and by the stream's rules.

import { renderRow } from '../../src/accept/json-text.ts';
import { type Batch, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { ledgerRows, withEnd } from '../../src/merge/ledger.ts';
import { checkKey } from '../../src/target/key.ts';
import {
  type DeadLetter,
  type DeadLetterId,
  type Rung,
  type StreamId,
  TargetError,
  verdict,
} from '../../src/target/target.ts';
import { bury, count } from './simulated-books.ts';
import { givenBy, isThere, mustHave, place, type Refusal } from './simulated-place.ts';
import {
  laneKey,
  ledgerPlace,
  letterKey,
  type SimulatedStore,
  type SimulatedTable,
} from './simulated-store.ts';

export const streamOf = (batch: Batch): StreamId => ({
  writer: batch.writer,
  stream: batch.rules.stream,
});

/** The batch with memory of its own: a loader uses that of its batches again. */
export const kept = (batch: Batch): Batch => ({
  ...batch,
  bytes: batch.bytes.slice(),
  starts: batch.starts.slice(),
  tupleEnds: batch.tupleEnds.slice(),
  sliceOf: batch.sliceOf.slice(),
  sequences: batch.sequences.slice(),
  sets: batch.sets.slice(),
  order: batch.order.slice(),
  undecoded: batch.undecoded.map((one) => ({ ...one, raw: one.raw.slice() })),
});

/** Throws 'altered' where the table is not as it was described. */
export function mustBeAsDescribed(
  store: SimulatedStore,
  { name, fingerprint }: { readonly name: string; readonly fingerprint: string },
): SimulatedTable {
  const table = store.table(name);
  if (store.fingerprint(name) === fingerprint) return table;
  throw new TargetError('altered', '', `Table ${name} is not what it was.`);
}

/** Throws unless the lanes are the batch's epoch's, and `mark` stands where it begins. */
export function guard(store: SimulatedStore, batch: Batch, mark: 'staged' | 'settled'): void {
  const id = streamOf(batch);
  for (const { lane, first } of batch.slices) {
    const state = store.lanes.get(laneKey(id, lane));
    if (state && state.epoch > batch.epoch) {
      throw new TargetError('fenced', '', `Lane ${lane} belongs to epoch ${state.epoch} now.`);
    }
    if (state?.epoch === batch.epoch && state[mark] === first - 1) continue;
    throw new TargetError('moved', '', `Lane ${lane} is not where the batch begins.`);
  }
}

/** The records that never decoded become dead letters. */
export function buryUndecoded(store: SimulatedStore, batch: Batch): void {
  for (const { slice, sequence, raw, code, message } of batch.undecoded) {
    const lane = batch.slices[slice]?.lane ?? -1;
    const of = { ...streamOf(batch), lane, sequence, row: null, raw: raw.slice(), code, message };
    bury(store, of, batch.wallMs);
  }
}

export class SimulatedMerge {
  readonly #store: SimulatedStore;

  constructor(store: SimulatedStore) {
    this.#store = store;
  }

  /** One transaction; the ends of the rows. */
  merge(batch: Batch, rung: Rung): Uint8Array {
    return this.#store.transaction(() => {
      guard(this.#store, batch, 'settled');
      const table = this.#tableOf(batch);
      const ends = new Uint8Array(batch.count);
      const given = givenBy(batch);
      const { columns } = batch.journaled;
      const { rules } = batch;
      for (let row = 0; row < batch.count; row++) {
        const of = { row: given(row), columns, rules, rung, route: 'direct' as const };
        const end = place(this.#store, table, of);
        ends[row] = typeof end === 'number' ? end : rowEnd.deadLetter;
        if (typeof end !== 'number') this.#bury(batch, row, end);
      }
      this.#settle(batch, ends);
      return ends;
    });
  }

  #tableOf(batch: Batch): SimulatedTable {
    const table = mustBeAsDescribed(this.#store, batch.table);
    checkKey(batch);
    const { columns } = batch.journaled;
    mustHave(
      table,
      batch.columnSets.flat().map((at) => columns[at]?.name ?? ''),
    );
    return table;
  }

  #bury(batch: Batch, row: number, refusal: Refusal): void {
    const set = batch.columnSets[batch.sets[row] ?? 0] ?? [];
    const { bytes, starts, tupleEnds } = batch;
    const tuple = { bytes, start: starts[row] ?? 0, end: tupleEnds[row] ?? 0 };
    const text = renderRow(batch.journaled, set, tuple);
    const sequence = batch.sequences[row] ?? 0;
    const lane = batch.slices[batch.sliceOf[row] ?? 0]?.lane ?? -1;
    const record = { ...streamOf(batch), lane, sequence, row: text, raw: Buffer.from(text) };
    bury(this.#store, { ...record, ...refusal }, batch.wallMs);
  }

  #settle(batch: Batch, ends: Uint8Array): void {
    const id = streamOf(batch);
    buryUndecoded(this.#store, batch);
    for (const row of ledgerRows(batch, ends)) {
      this.#store.book(laneKey(id, row.lane), { row, isMerged: true, at: batch.wallMs });
      count(
        this.#store,
        { ...id, lane: row.lane },
        { ...row, staged: row.last, settled: row.last },
      );
    }
  }

  compare(batch: Batch): Uint8Array {
    const table = this.#store.table(batch.table.name);
    const given = givenBy(batch);
    return Uint8Array.from({ length: batch.count }, (_, at) => {
      const row = given(at);
      const stored = table.rows.get(this.#store.rowKey(table, row));
      if (!stored) return verdict.absent;
      const isEqual = isThere(table, stored, { row, columns: batch.journaled.columns });
      return isEqual ? verdict.equal : verdict.different;
    });
  }

  replay(id: DeadLetterId, batch: Batch): RowEnd {
    return this.#store.transaction(() => {
      const letter = this.#dead(id);
      const { lane, sequence } = id;
      const settled = this.#store.lanes.get(laneKey(id, lane))?.settled ?? 0;
      if (settled < sequence) {
        throw new TargetError('transient', '', `Record ${lane}/${sequence} waits for its merge.`);
      }
      const isUpdate = batch.rules.onConflict === 'update';
      const rules = isUpdate ? { ...batch.rules, onConflict: 'ignore' as const } : batch.rules;
      const { columns } = batch.journaled;
      const how = { rules, rung: 'merge', route: 'direct' } as const;
      const of = { row: givenBy(batch)(0), columns, ...how };
      const end = place(this.#store, this.#tableOf(batch), of);
      const { wallMs: lastAt } = batch;
      if (typeof end !== 'number') {
        const again = { ...letter, ...end, attempts: letter.attempts + 1, lastAt };
        this.#store.set(this.#store.letters, letterKey(id), again);
        return rowEnd.deadLetter;
      }
      this.#move(id, end);
      const moved = { ...letter, state: 'replayed' as const, lastAt };
      this.#store.set(this.#store.letters, letterKey(id), moved);
      return end;
    });
  }

  /** From the dead letters to another end, in the lane's totals and in the ledger. */
  #move(id: DeadLetterId, end: RowEnd): void {
    const one = (of: RowEnd) => (end === of ? 1 : 0);
    count(this.#store, id, {
      merged: one(rowEnd.merged),
      duplicates: one(rowEnd.duplicate),
      superseded: one(rowEnd.superseded),
      deadLetters: -1,
    });
    const key = laneKey(id, id.lane);
    const all = this.#store.entries(key);
    const booked = all[ledgerPlace(all, id.sequence)];
    if (!booked || booked.row.first > id.sequence) return;
    this.#store.book(key, { ...booked, row: withEnd(booked.row, id.sequence, end) });
  }

  drop(id: DeadLetterId, lastAt: number): void {
    this.#store.transaction(() => {
      const dropped = { ...this.#dead(id), state: 'dropped' as const, lastAt };
      this.#store.set(this.#store.letters, letterKey(id), dropped);
    });
  }

  #dead(id: DeadLetterId): DeadLetter {
    const letter = this.#store.letters.get(letterKey(id));
    if (letter?.state === 'dead') return letter;
    throw new TargetError('moved', '', 'The dead letter is not dead any more.');
  }
}
