// What a simulated target holds: tables, lanes, ledger and dead letters, as maps that change only
// inside a transaction. Every change knows how to be undone: by an abort, or by a failover that
// forgets the last commits.
import type { Column, Table } from '../../src/accept/columns.ts';
import type { fieldValue } from '../../src/accept/render.ts';
import type { LedgerRow } from '../../src/merge/ledger.ts';
import {
  type DeadLetter,
  type DeadLetterId,
  type LaneState,
  type StreamId,
  TargetError,
} from '../../src/target/target.ts';

export type Cell = ReturnType<typeof fieldValue>;
export type StoredRow = { readonly [column: string]: Cell };

export interface SimulatedColumn {
  readonly column: Column;
  /** What an absent column becomes; null by default. */
  readonly value?: Cell;
}

export interface SimulatedTable {
  readonly columns: readonly SimulatedColumn[];
  /** Empty: no unique key. */
  readonly key: readonly string[];
  /** A message where the row is refused. */
  readonly refuse?: (row: StoredRow) => string | undefined;
  /** By key; by a number where there is none. */
  readonly rows: Map<string, StoredRow>;
}

/** Equal values, equal texts; of different types, different ones. */
export function cellText(cell: Cell): string {
  if (cell instanceof Uint8Array) return `bytes ${Buffer.from(cell).toString('hex')}`;
  return cell === null ? 'null' : `${typeof cell === 'string' ? 'text' : 'number'} ${cell}`;
}

export const laneKey = (id: StreamId, lane: number): string =>
  JSON.stringify([id.writer, id.stream, lane]);

export const letterKey = ({ writer, stream, lane, sequence }: DeadLetterId): string =>
  JSON.stringify([writer, stream, lane, sequence]);

export class SimulatedStore {
  readonly tables = new Map<string, SimulatedTable>();
  readonly lanes = new Map<string, LaneState>();
  /** By lane, then by last sequence. */
  readonly ledger = new Map<string, { readonly of: StreamId; readonly row: LedgerRow }>();
  readonly letters = new Map<string, DeadLetter>();
  #undo: (() => void)[] = [];
  readonly #commits: (() => void)[][] = [];
  #rowsMade = 0;

  /** How many transactions were committed and not forgotten. */
  get commits(): number {
    return this.#commits.length;
  }

  /** Runs `body` to its end; what it changed is undone where it throws. */
  transaction<T>(body: () => T): T {
    this.#undo = [];
    let result: T;
    try {
      result = body();
    } catch (error) {
      this.#revert(this.#undo);
      throw error;
    }
    this.#commits.push(this.#undo);
    return result;
  }

  /** The last `count` commits have never been. */
  forget(count: number): void {
    for (const undo of this.#commits.splice(Math.max(0, this.commits - count)).reverse()) {
      this.#revert(undo);
    }
  }

  #revert(undo: readonly (() => void)[]): void {
    for (const step of undo.toReversed()) step();
  }

  /** Sets, or deletes where `value` is undefined. */
  set<V>(map: Map<string, V>, key: string, value: V | undefined): void {
    const before = map.get(key);
    const put = (to: V | undefined) => {
      if (to === undefined) map.delete(key);
      else map.set(key, to);
    };
    this.#undo.push(() => put(before));
    put(value);
  }

  table(name: string): SimulatedTable {
    const table = this.tables.get(name);
    if (table) return table;
    throw new TargetError('hold', '', `There is no table ${name}.`);
  }

  describe(name: string): Table {
    const { columns, key } = this.table(name);
    return {
      name,
      columns: columns.map(({ column }) => column),
      keys: key.length === 0 ? [] : [key],
      fingerprint: JSON.stringify(columns.map(({ column }) => [column.name, column.sqlType])),
      warnings: [],
    };
  }

  /** Where a row stands in its table; a new place where the table has no key. */
  rowKey({ key }: SimulatedTable, row: StoredRow): string {
    if (key.length === 0) return String(++this.#rowsMade);
    return JSON.stringify(key.map((name) => cellText(row[name] ?? null)));
  }

  lanesOf(id: StreamId): LaneState[] {
    const states = [...this.lanes].filter(([key, { lane }]) => key === laneKey(id, lane));
    return states.map(([, state]) => state).sort((a, b) => a.lane - b.lane);
  }

  ledgerOf(id: StreamId, range: { lane: number; first: number; last: number }): LedgerRow[] {
    return [...this.ledger.values()]
      .filter(({ of, row }) => laneKey(of, row.lane) === laneKey(id, range.lane))
      .map(({ row }) => row)
      .filter((row) => row.last >= range.first && row.first <= range.last)
      .sort((a, b) => a.last - b.last);
  }

  book(of: StreamId, row: LedgerRow): void {
    this.set(this.ledger, `${laneKey(of, row.lane)} ${row.last}`, { of, row });
  }
}
