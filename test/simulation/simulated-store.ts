// What a simulated target holds: tables, lanes, ledger, dead letters and staging tables, as maps
// and lists that change only inside a transaction. Every change knows how to be undone: by an
// abort, or by a failover that forgets the last commits.
import type { Column, Table } from '../../src/accept/columns.ts';
import type { fieldValue } from '../../src/accept/render.ts';
import type { LedgerRow } from '../../src/merge/ledger.ts';
import type { Copy } from '../../src/target/copies.ts';
import {
  type Claim,
  type DeadLetter,
  type DeadLetterId,
  type LaneState,
  type LedgerRange,
  type Route,
  type StreamId,
  TargetError,
} from '../../src/target/target.ts';
import type { SimulatedStage } from './simulated-stage.ts';

export type Cell = ReturnType<typeof fieldValue>;
export type StoredRow = { readonly [column: string]: Cell };

export interface SimulatedColumn {
  readonly column: Column;
  /** What an absent column becomes; null by default. */
  readonly value?: Cell;
  /** Of all that the table ever had; told apart by it where one takes another's name. */
  readonly number?: number;
}

export interface SimulatedTable {
  readonly columns: readonly SimulatedColumn[];
  /** Empty: no unique key. */
  readonly key: readonly string[];
  /** A message where the row is refused. */
  readonly refuse?: (row: StoredRow) => string | undefined;
  /** Whether a trigger drops the row without a word. */
  readonly swallow?: (row: StoredRow) => boolean;
  /** By key; by a number where there is none. */
  readonly rows: Map<string, StoredRow>;
}

/** A batch's records of one lane. */
export interface LedgerEntry {
  readonly row: LedgerRow;
  /** False while its rows wait in the staging table. */
  readonly isMerged: boolean;
  /** When it was booked first, milliseconds since 1970. */
  readonly at: number;
}

/** What a lane of a staged stream has beside its state. */
export interface StagedLane {
  /** Lanes of all writers, numbered in the order in which they came. */
  readonly source: number;
  readonly confirmed: number;
}

/** A lane of any writer of a stream. */
export interface Member extends StreamId {
  readonly lane: number;
  readonly key: string;
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

/** The place of the first entry that ends at `sequence` or later. */
export function ledgerPlace(entries: readonly LedgerEntry[], sequence: number): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.row.last ?? 0) < sequence) low = middle + 1;
    else high = middle;
  }
  return low;
}

export class SimulatedStore {
  readonly tables = new Map<string, SimulatedTable>();
  readonly lanes = new Map<string, LaneState>();
  /** Who has claimed each lane last. */
  readonly owners = new Map<string, string>();
  readonly stagedLanes = new Map<string, StagedLane>();
  readonly letters = new Map<string, DeadLetter>();
  /** Every claim that was done, in order; no failover takes one away. */
  readonly claims: Pick<Claim, 'stream' | 'owner'>[] = [];
  /** Rows that were journaled under another type than one of their columns has, by route. */
  readonly casts: Record<Route, number> = { direct: 0, staged: 0 };
  /** How often a lane's batch came from an earlier session again: its loader has it back. */
  lanesTakenBack = 0;
  /** By stream. */
  readonly stages = new Map<string, SimulatedStage>();
  /** Rows that `dedupe` took out, by lane, while what they are copies of waits. */
  readonly copies = new Map<string, readonly Copy[]>();
  /** By lane, ascending. */
  readonly #ledger = new Map<string, LedgerEntry[]>();
  /** Lanes that were ever made; a failover may have forgotten some. */
  readonly #members = new Map<string, Map<string, Member>>();
  /** By lane, the number of the session that brought its last batch. */
  readonly #bringers = new Map<string, number>();
  readonly #now: () => number;
  #undo: (() => void)[] = [];
  readonly #commits: { readonly atMs: number; readonly undo: readonly (() => void)[] }[] = [];
  #rowsMade = 0;

  /** `now` is the time of a commit, for a standby that lags behind. */
  constructor(now: () => number = () => 0) {
    this.#now = now;
  }

  /** How many transactions were committed and not forgotten. */
  get commits(): number {
    return this.#commits.length;
  }

  /** How many commits there were at that time, `from` of them at least. */
  commitsAt(ms: number, from: number): number {
    let count = from;
    while ((this.#commits[count]?.atMs ?? Number.POSITIVE_INFINITY) <= ms) count++;
    return count;
  }

  /** A session, by its number, brought a batch of these lanes. */
  brought(lanes: readonly string[], session: number): void {
    for (const lane of lanes) {
      if ((this.#bringers.get(lane) ?? 0) > session) this.lanesTakenBack++;
      this.#bringers.set(lane, session);
    }
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
    // What changes nothing writes no log.
    if (this.#undo.length > 0) this.#commits.push({ atMs: this.#now(), undo: this.#undo });
    return result;
  }

  /** The last `count` commits have never been. */
  forget(count: number): void {
    for (const { undo } of this.#commits.splice(Math.max(0, this.commits - count)).reverse()) {
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

  /** As of an array; who keeps the array finds it as it was when this is undone. */
  splice<V>(
    list: V[],
    at: { readonly start: number; readonly count: number },
    ...put: readonly V[]
  ): V[] {
    const gone = list.splice(at.start, at.count, ...put);
    this.#undo.push(() => list.splice(at.start, put.length, ...gone));
    return gone;
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
      fingerprint: this.fingerprint(name),
      warnings: [],
    };
  }

  fingerprint(name: string): string {
    const { columns, key } = this.table(name);
    const marks = columns.map(({ column, number }) => {
      const mark = [column.name, column.sqlType];
      return number === undefined ? mark : [...mark, number];
    });
    return JSON.stringify([marks, key]);
  }

  /** Where a row stands in its table; a new place where the table has no key. */
  rowKey({ key }: SimulatedTable, row: StoredRow): string {
    if (key.length === 0) return String(++this.#rowsMade);
    return JSON.stringify(key.map((name) => cellText(row[name] ?? null)));
  }

  setLane(id: StreamId, state: LaneState): void {
    const key = laneKey(id, state.lane);
    const known = this.#members.get(id.stream) ?? new Map<string, Member>();
    this.#members.set(id.stream, known);
    known.set(key, { writer: id.writer, stream: id.stream, lane: state.lane, key });
    this.set(this.lanes, key, state);
  }

  /** Lanes are numbered without gaps. */
  lanesOf(id: StreamId): LaneState[] {
    const found: LaneState[] = [];
    for (;;) {
      const state = this.lanes.get(laneKey(id, found.length));
      if (!state) return found;
      found.push(state);
    }
  }

  /** The lanes of all writers, in the order in which they were made. */
  *members(stream: string): Generator<Member> {
    for (const member of this.#members.get(stream)?.values() ?? []) {
      if (this.lanes.has(member.key)) yield member;
    }
  }

  /** A lane's, ascending: those that wait stand behind those that are merged. */
  entries(key: string): LedgerEntry[] {
    const known = this.#ledger.get(key);
    if (known) return known;
    const made: LedgerEntry[] = [];
    this.#ledger.set(key, made);
    return made;
  }

  /** Those that wait for their merge. */
  waiting(key: string): LedgerEntry[] {
    const all = this.entries(key);
    let at = all.length;
    while (at > 0 && all[at - 1]?.isMerged === false) at--;
    return all.slice(at);
  }

  ledgerOf(id: StreamId, { lane, first, last, isStagedToo = false }: LedgerRange): LedgerRow[] {
    const all = this.entries(laneKey(id, lane));
    const found: LedgerRow[] = [];
    for (let at = ledgerPlace(all, first); at < all.length; at++) {
      const entry = all[at];
      if (!entry || entry.row.first > last) break;
      if (entry.isMerged || isStagedToo) found.push(entry.row);
    }
    return found;
  }

  /** In the place of the one that ends where it does, if there is such. */
  book(key: string, entry: LedgerEntry): void {
    const all = this.entries(key);
    const start = ledgerPlace(all, entry.row.last);
    const count = all[start]?.row.last === entry.row.last ? 1 : 0;
    this.splice(all, { start, count }, entry);
  }
}
