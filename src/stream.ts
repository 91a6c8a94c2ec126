// A stream as the accepting side has it: its table compiled into a reader, its place in the
// journal, its watermarks, and who waits. Rows become parcels here; nothing is acknowledged here.

import type { Table } from './accept/columns.ts';
import { compileRows } from './accept/compile.ts';
import { laneCount } from './accept/lanes.ts';
import type { RowBuffer } from './accept/row-buffer.ts';
import type { RowReader, RowRules } from './accept/rows.ts';
import type { Clock } from './clock.ts';
import { durationMs } from './duration.ts';
import { HoldfastError } from './errors.ts';
import type { Parcel, Placed, RequestKeep } from './journal/group.ts';
import type { Journal } from './journal/journal.ts';
import type { RequestNote } from './journal/notes.ts';
import type { Requests } from './journal/requests.ts';
import type { UndecodedRow } from './journal/undecoded.ts';
import { limits } from './limits.ts';
import type { StreamSettings, StreamState } from './merge/stream.ts';
import type { Confirm, StreamRules } from './options.ts';
import { type AskLedger, Pending } from './pending.ts';
import type { Capabilities } from './target/target.ts';
import { Trail } from './trail.ts';
import { Watermarks } from './watermarks.ts';

export interface StreamParts {
  readonly name: string;
  readonly rules: StreamRules;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly requests: Requests;
  readonly askLedger: AskLedger;
}

/** What the records of one call become: rows, and what never decoded. */
export interface Taken {
  readonly rows: RowBuffer;
  /**
   * Dictionary id of the table that the rows were encoded for: it may change before they are
   * journaled.
   */
  readonly table: number;
  readonly undecoded: readonly UndecodedRow[];
}

export class OpenStream {
  readonly name: string;
  readonly rules: StreamRules;
  readonly id: number;
  readonly lanes: number;
  readonly marks: Watermarks;
  readonly pending: Pending;
  readonly #journal: Journal;
  readonly #requests: Requests;
  #reader: RowReader;
  #tableId: number;
  readonly #clock: Clock;
  /** What `marks.accepted` adds up to, at hand. */
  #accepted: number;
  state: StreamState = { state: 'connecting' };
  /** When records were accepted; those of an earlier process, at its open. */
  readonly trail = new Trail();

  constructor(parts: StreamParts, table: Table) {
    const { name, rules, journal, requests } = parts;
    this.name = name;
    this.rules = rules;
    this.#clock = parts.clock;
    this.#journal = journal;
    this.#requests = requests;
    checkFit(name, rules, table);
    this.lanes = laneCount(table, this.#rowRules(rules.lanes));
    const entry = journal.openStream(name, this.lanes, laneRule(rules));
    this.id = entry.id;
    this.#reader = compileRows(table, this.#rowRules(this.lanes));
    this.#tableId = journal.dictionary.table(this.id, table).id;
    const none = new Float64Array(this.lanes + 1);
    this.marks = new Watermarks(
      journal.last.get(this.id) ?? none,
      journal.confirmed.get(this.id) ?? none,
    );
    this.#accepted = this.marks.accepted;
    this.trail.note(this.#accepted, parts.clock.monotonicMs());
    this.pending = new Pending(this.id, this.marks, { requests, askLedger: parts.askLedger });
  }

  get reader(): RowReader {
    return this.#reader;
  }

  /** Dictionary id of the reader's table. */
  get tableId(): number {
    return this.#tableId;
  }

  /** Whether nothing of it is left for this process to do. */
  get isDrained(): boolean {
    const { accepted, staged, settled } = this.marks.sums();
    const isMerging = this.rules.route === 'direct' || this.rules.mergers > 0;
    return (isMerging ? settled : staged) === accepted;
  }

  /** Whether its journal takes nothing any more: part of what it was given last may be on disk. */
  get hasFailed(): boolean {
    return this.#journal.state === 'failed';
  }

  get rowRules(): RowRules {
    return this.#reader.rules;
  }

  settings(confirm: Confirm, capabilities: Capabilities): StreamSettings {
    const { key, onConflict, table, loaders, batchRowsMax, mergers } = this.rules;
    const { route, staging, mergeEveryMs, mergeRows, stagingRetention } = this.rules;
    const { loadersMax, mergersMax } = capabilities;
    return {
      id: this.id,
      rules: { stream: this.name, key, onConflict },
      table,
      lanes: this.lanes + 1,
      loaders: Math.min(loaders, loadersMax, this.lanes),
      batchRowsMax,
      batchBytesMax: limits.batchBytesMax,
      route,
      staging,
      mergers: Math.min(mergers, mergersMax),
      mergeEveryMs,
      mergeRows,
      stagingRetentionMs: durationMs(stagingRetention),
      confirm,
      last: [...this.marks.journaled],
    };
  }

  /**
   * The target's table was read again: rows from now on are checked against it. Whether it is
   * another one.
   */
  onTable(table: Table): boolean {
    if (table.fingerprint === this.#reader.table.fingerprint) return false;
    checkFit(this.name, this.rules, table);
    this.#reader = compileRows(table, this.#rowRules(this.lanes));
    this.#tableId = this.#journal.dictionary.table(this.id, table).id;
    return true;
  }

  /**
   * Journals what was taken. Durable when it resolves; the request is remembered where `keep` is
   * given.
   */
  async journal({ rows, table, undecoded }: Taken, keep?: RequestKeep): Promise<RequestNote> {
    const { isFinal, reason } = this.state;
    if (isFinal) throw new HoldfastError('HF_TARGET', reason ?? 'The stream is held.');
    const { dictionary } = this.#journal;
    const count = rows.count + undecoded.length;
    const parcel: Parcel = {
      stream: this.id,
      lanes: this.lanes,
      rows,
      shapes: rows.columnSets.map((set) => dictionary.shape(table, set)),
      undecoded,
      ...(keep ? { keep } : {}),
    };
    this.marks.taken += count;
    this.#accepted += count;
    this.trail.note(this.#accepted, this.#clock.monotonicMs());
    let placed: Placed;
    try {
      placed = await this.#journal.submit(parcel);
    } catch (error) {
      this.#accepted -= count;
      this.trail.takeBack(this.#accepted);
      throw error;
    } finally {
      this.marks.taken -= count;
    }
    const note = { ...placed, stream: this.id, rows: count };
    if (!keep) return note;
    const request = { ...note, ...keep };
    this.#requests.add(request);
    this.pending.add(request, true);
    return request;
  }

  #rowRules(lanes: number): RowRules {
    const { key, lane, nonZero, inexact } = this.rules;
    return {
      key,
      lanes,
      nonZero,
      inexact,
      lineBytesMax: limits.lineBytesMax,
      ...(lane === undefined ? {} : { laneColumn: lane }),
    };
  }
}

const laneRule = ({ lane, key }: StreamRules): string => {
  if (lane !== undefined) return `column:${lane}`;
  return key.length > 0 ? `key:${key.join(',')}` : 'turn';
};

/** The table must carry what the stream's rules rest on (P6). Throws HF_TABLE_UNFIT. */
function checkFit(name: string, rules: StreamRules, table: Table): void {
  const { key, lane, nonZero, onConflict } = rules;
  const version = typeof onConflict === 'object' ? [onConflict.newest] : [];
  const problems: string[] = [];
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  for (const column of [...key, ...(lane === undefined ? [] : [lane]), ...nonZero, ...version]) {
    if (!byName.has(column)) problems.push(`it has no column "${column}"`);
  }
  for (const column of version) {
    if (byName.get(column)?.nullable) problems.push(`version column "${column}" must be NOT NULL`);
  }
  const wanted = [...key].sort().join();
  const hasKey = table.keys.some((columns) => [...columns].sort().join() === wanted);
  if (key.length > 0 && !hasKey) {
    const known = table.keys.map((columns) => `(${columns.join(', ')})`).join(' ') || 'none';
    problems.push(
      `no valid, immediate, unconditional unique index over NOT NULL columns stands on ` +
        `(${key.join(', ')}); there are: ${known}`,
    );
  }
  if (problems.length === 0) return;
  const message = `Table "${table.name}" does not fit stream "${name}": ${problems.join('; ')}.`;
  throw new HoldfastError('HF_TABLE_UNFIT', message);
}
