// The transactions of a simulated target, row by row and by the stream's rules.
import assert from 'node:assert/strict';
import { eachField, fieldValue, renderRow, tupleBytes } from '../../src/accept/render.ts';
import type { RowCode } from '../../src/errors.ts';
import { type Batch, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { ledgerRows, withEnd } from '../../src/merge/ledger.ts';
import {
  type DeadLetter,
  type DeadLetterId,
  type Rung,
  TargetError,
  verdict,
} from '../../src/target/target.ts';
import {
  type Cell,
  cellText,
  laneKey,
  letterKey,
  type SimulatedStore,
  type SimulatedTable,
  type StoredRow,
} from './simulated-store.ts';

interface Refusal {
  readonly code: RowCode;
  readonly message: string;
}

/** What the row provides. */
function given(batch: Batch, row: number): StoredRow {
  const cells: { [column: string]: Cell } = {};
  const from = tupleBytes(batch.bytes);
  const set = batch.columnSets[batch.sets[row] ?? 0] ?? [];
  const tuple = { start: batch.starts[row] ?? 0, columns: batch.journaled.columns, set };
  eachField(from, tuple, (column, range) => {
    const cell = fieldValue(column, from, range);
    // The batch's buffer is used again.
    cells[column.name] = cell instanceof Uint8Array ? cell.slice() : cell;
  });
  return cells;
}

const isSame = (stored: StoredRow, row: StoredRow): boolean =>
  Object.entries(row).every(([name, cell]) => cellText(stored[name] ?? null) === cellText(cell));

export class SimulatedMerge {
  readonly #store: SimulatedStore;

  constructor(store: SimulatedStore) {
    this.#store = store;
  }

  /** One transaction; the ends of the rows. */
  merge(batch: Batch, rung: Rung): Uint8Array {
    return this.#store.transaction(() => {
      this.#guard(batch);
      const table = this.#tableOf(batch);
      const ends = new Uint8Array(batch.count);
      for (let row = 0; row < batch.count; row++) {
        const end = this.#place(table, given(batch, row), { batch, rung });
        ends[row] = typeof end === 'number' ? end : rowEnd.deadLetter;
        if (typeof end !== 'number') this.#bury(batch, row, end);
      }
      this.#settle(batch, ends);
      return ends;
    });
  }

  #guard(batch: Batch): void {
    const id = { writer: batch.writer, stream: batch.rules.stream };
    for (const { lane, first } of batch.slices) {
      const state = this.#store.lanes.get(laneKey(id, lane));
      if (state && state.epoch > batch.epoch) {
        throw new TargetError('fenced', '', `Lane ${lane} belongs to epoch ${state.epoch} now.`);
      }
      if (state?.epoch === batch.epoch && state.settled === first - 1) continue;
      throw new TargetError('moved', '', `Lane ${lane} is not where the batch begins.`);
    }
  }

  #tableOf(batch: Batch): SimulatedTable {
    const table = this.#store.table(batch.table.name);
    if (this.#store.describe(batch.table.name).fingerprint !== batch.table.fingerprint) {
      throw new TargetError('altered', '', `Table ${batch.table.name} is not what it was.`);
    }
    for (const name of batch.columnSets.flat().map((at) => batch.journaled.columns[at]?.name)) {
      if (table.columns.some(({ column }) => column.name === name)) continue;
      throw new TargetError('hold', '', `Column ${name} of the rows is gone.`);
    }
    return table;
  }

  #place(
    table: SimulatedTable,
    row: StoredRow,
    { batch, rung }: { readonly batch: Batch; readonly rung: Rung },
  ): RowEnd | Refusal {
    const whole = Object.fromEntries(
      table.columns.map(({ column: { name }, value = null }) => [name, row[name] ?? value]),
    );
    // A null that was given stays null.
    for (const [name, cell] of Object.entries(row)) whole[name] = cell;
    const key = this.#store.rowKey(table, whole);
    const stored = table.rows.get(key);
    const message = table.refuse?.(whole);
    if (rung === 'optimistic' && (message !== undefined || stored)) {
      throw new TargetError(stored ? 'conflict' : 'row', '', message ?? 'The key is there.');
    }
    if (message !== undefined) return { code: 'refused', message };
    if (!stored) {
      this.#store.set(table.rows, key, whole);
      return rowEnd.merged;
    }
    const end = meet(stored, row, batch.rules.onConflict);
    if (end === rowEnd.merged) this.#store.set(table.rows, key, { ...stored, ...row });
    return end;
  }

  #bury(batch: Batch, row: number, { code, message }: Refusal): void {
    const set = batch.columnSets[batch.sets[row] ?? 0] ?? [];
    const { bytes, starts, tupleEnds } = batch;
    const tuple = { bytes, start: starts[row] ?? 0, end: tupleEnds[row] ?? 0 };
    const text = renderRow(batch.journaled, set, tuple);
    const sequence = batch.sequences[row] ?? 0;
    const slice = batch.sliceOf[row] ?? 0;
    this.#addLetter(batch, { slice, sequence, row: text, raw: Buffer.from(text), code, message });
  }

  #addLetter(
    batch: Batch,
    of: Pick<DeadLetter, 'sequence' | 'row' | 'raw' | 'code' | 'message'> & { slice: number },
  ): void {
    const { slice, ...rest } = of;
    const lane = batch.slices[slice]?.lane;
    assert(lane !== undefined, 'a record belongs to a slice');
    const { wallMs, writer, rules } = batch;
    const times = { attempts: 1, firstAt: wallMs, lastAt: wallMs, state: 'dead' } as const;
    const sqlState = rest.code === 'refused' ? 'SIMULATED' : null;
    const letter = { writer, stream: rules.stream, lane, ...rest, sqlState, ...times };
    this.#store.set(this.#store.letters, letterKey(letter), letter);
  }

  #settle(batch: Batch, ends: Uint8Array): void {
    const id = { writer: batch.writer, stream: batch.rules.stream };
    for (const { slice, sequence, raw, code, message } of batch.undecoded) {
      this.#addLetter(batch, { slice, sequence, row: null, raw: raw.slice(), code, message });
    }
    for (const row of ledgerRows(batch, ends)) {
      this.#store.book(id, row);
      this.#count({ ...id, lane: row.lane }, row, row.last);
    }
  }

  /** Adds to the totals of a lane. */
  #count(
    of: { writer: string; stream: string; lane: number },
    more: { merged: number; duplicates: number; superseded: number; deadLetters: number },
    settled?: number,
  ): void {
    const key = laneKey(of, of.lane);
    const state = this.#store.lanes.get(key);
    assert(state, 'the lane is there');
    this.#store.set(this.#store.lanes, key, {
      ...state,
      staged: settled ?? state.staged,
      settled: settled ?? state.settled,
      merged: state.merged + more.merged,
      duplicates: state.duplicates + more.duplicates,
      superseded: state.superseded + more.superseded,
      deadLetters: state.deadLetters + more.deadLetters,
    });
  }

  compare(batch: Batch): Uint8Array {
    const table = this.#store.table(batch.table.name);
    return Uint8Array.from({ length: batch.count }, (_, at) => {
      const row = given(batch, at);
      const stored = table.rows.get(this.#store.rowKey(table, row));
      if (!stored) return verdict.absent;
      return isSame(stored, row) ? verdict.equal : verdict.different;
    });
  }

  replay(id: DeadLetterId, replayed: Batch): RowEnd {
    return this.#store.transaction(() => {
      const letter = this.#dead(id);
      const isUpdate = replayed.rules.onConflict === 'update';
      const rules = isUpdate
        ? { ...replayed.rules, onConflict: 'ignore' as const }
        : replayed.rules;
      const batch = { ...replayed, rules };
      const end = this.#place(this.#tableOf(batch), given(batch, 0), { batch, rung: 'merge' });
      const { wallMs: lastAt } = batch;
      if (typeof end !== 'number') {
        const again = { ...letter, ...end, attempts: letter.attempts + 1, lastAt };
        this.#store.set(this.#store.letters, letterKey(id), again);
        return rowEnd.deadLetter;
      }
      const one = (of: RowEnd) => (end === of ? 1 : 0);
      this.#count(id, {
        merged: one(rowEnd.merged),
        duplicates: one(rowEnd.duplicate),
        superseded: one(rowEnd.superseded),
        deadLetters: -1,
      });
      const { lane, sequence } = id;
      const [booked] = this.#store.ledgerOf(id, { lane, first: sequence, last: sequence });
      if (booked) this.#store.book(id, withEnd(booked, sequence, end));
      const moved = { ...letter, state: 'replayed' as const, lastAt };
      this.#store.set(this.#store.letters, letterKey(id), moved);
      return end;
    });
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

/** A row meets the row of its key. */
function meet(
  stored: StoredRow,
  row: StoredRow,
  onConflict: Batch['rules']['onConflict'],
): RowEnd | Refusal {
  if (typeof onConflict === 'object') {
    const [was, is] = [stored[onConflict.newest] ?? null, row[onConflict.newest] ?? null];
    assert(was !== null && is !== null, 'a version is never null');
    if (is > was) return rowEnd.merged;
    if (is < was) return rowEnd.superseded;
  }
  if (isSame(stored, row)) return rowEnd.duplicate;
  if (onConflict === 'update') return rowEnd.merged;
  if (onConflict === 'ignore') return rowEnd.superseded;
  return { code: 'key-conflict', message: 'Another row has this key and other content.' };
}
