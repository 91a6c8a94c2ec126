// The loaders' side of the process as one object: runs on a thread of its own, or on the
// caller's. All arguments and answers are plain values, so that they can cross a thread
// (threads/).

import type { Table } from '../accept/columns.ts';
import { compileRows } from '../accept/compile.ts';
import { RowBuffer } from '../accept/row-buffer.ts';
import type { RowRules } from '../accept/rows.ts';
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import type { Position } from '../journal/block.ts';
import type { Range } from '../journal/notes.ts';
import {
  type Contention,
  type DeadLetter,
  type DeadLetterId,
  type LaneState,
  type LetterFilter,
  type Session,
  type StreamId,
  type Target,
  TargetError,
} from '../target/target.ts';
import { type VerifyOutcome, verifyStream } from '../verify.ts';
import type { Batch, MergeRules, RowEnd } from './batch.ts';
import { addCounts, countsWithin, type EndCounts, noCounts } from './ledger.ts';
import { isLost, type LostRange } from './lost.ts';
import type { LoadingEvents, StreamSettings } from './stream.ts';
import { StreamLoading } from './stream-loading.ts';

export interface LoadingParts {
  readonly clock: Clock;
  readonly disk: Disk;
  readonly target: Target;
  readonly directory: string;
  readonly writer: string;
  readonly owner: string;
  readonly createTables: boolean;
  readonly events: LoadingEvents;
  /**
   * Hears of what no target and no administrator can repair: a journal that cannot be read, a bug.
   * Left out: such an error ends the thread.
   */
  readonly onDeath?: (error: Error) => void;
}

/** What the rest of the process asks of the loaders' side. */
export interface LoadingCalls {
  /** Reads a table once. Rejects where the target cannot be reached or the table is not there. */
  describe(table: string): Promise<Table>;
  openStream(settings: StreamSettings): void;
  /** The journal is durable up to `end`, with new records for these streams. */
  extend(end: Position, streams: readonly number[]): void;
  /** The process drains: staged rows are merged as they come, not by their schedule. */
  hurry(): void;
  /** Of each of these streams, asked over one connection. */
  lanes(streams: readonly string[]): Promise<LaneState[][]>;
  /**
   * How the records of these ranges ended, by the ledger. Rejects with HF_NOT_SETTLED where the
   * target has no end of some of them, which may be since a failover; with HF_NOT_FOUND where it
   * had, and the ledger was pruned, or where some were passed over.
   */
  counts(stream: string, ranges: readonly Range[]): Promise<EndCounts>;
  /** See Session.deadLetters. */
  deadLetters(filter: LetterFilter): Promise<DeadLetter[]>;
  replay(id: DeadLetterId, rules: MergeRules, rows: RowRules): Promise<RowEnd>;
  drop(id: DeadLetterId): Promise<void>;
  /**
   * Ledger rows that end there or before go, but for each lane's newest: by it an older copy of
   * the journal is told from this one (P4).
   */
  prune(stream: string, upTo: readonly { lane: number; last: number }[]): Promise<number>;
  verify(stream: number, end: Position): Promise<VerifyOutcome>;
  /**
   * P3, an operator's order: the first records of each lane that neither the target nor the journal
   * has any more are passed over, and the stream goes on behind them. The journal is not trimmed
   * meanwhile. Without `agreed` it only looks, and resolves with them; else it resolves once the
   * target has committed that, and these are what was agreed to. Rejects with HF_USAGE where there
   * are none, with HF_TARGET where the target, or another owner of the stream, says no, or other
   * records are lost than that.
   */
  passOver(stream: string, agreed?: readonly LostRange[]): Promise<readonly LostRange[]>;
  /** Undefined where the target cannot be asked, or has nothing to tell. */
  contention(sinceMs: number): Promise<Contention | undefined>;
  /** Lets running transactions finish, then ends all sessions. */
  stop(): Promise<void>;
}

export class Loading implements LoadingCalls {
  readonly #parts: LoadingParts;
  readonly #streams = new Map<number, { loading: StreamLoading; settings: StreamSettings }>();
  readonly #running: Promise<void>[] = [];
  #monitor: Session | undefined;
  /** The history of the target that was seen to have our tables. */
  #prepared: string | undefined;

  constructor(parts: LoadingParts) {
    this.#parts = parts;
  }

  openStream(settings: StreamSettings): void {
    const connect = () => this.#connect();
    const loading = new StreamLoading({ ...this.#parts, settings, connect });
    this.#streams.set(settings.id, { loading, settings });
    const running = loading.run();
    this.#running.push(running);
    const { onDeath } = this.#parts;
    if (onDeath) running.catch(onDeath);
  }

  extend(end: Position, streams: readonly number[]): void {
    for (const id of streams) this.#streams.get(id)?.loading.extend(end);
  }

  hurry(): void {
    for (const { loading } of this.#streams.values()) loading.hurry();
  }

  describe(table: string): Promise<Table> {
    return this.#withSession((session) => session.describe(table));
  }

  lanes(streams: readonly string[]): Promise<LaneState[][]> {
    return this.#withSession(async (session) => {
      const all: LaneState[][] = [];
      for (const stream of streams) all.push(await session.lanes(this.#id(stream)));
      return all;
    });
  }

  counts(stream: string, ranges: readonly Range[]): Promise<EndCounts> {
    const id = this.#id(stream);
    return this.#withSession(async (session) => {
      // Before the ledger: what is settled by now stands there, if it was not pruned.
      const lanes = await session.lanes(id);
      let counts = noCounts;
      let records = 0;
      for (const [lane, first, count] of ranges) {
        const last = first + count - 1;
        for (const row of await session.ledger(id, { lane, first, last })) {
          if (isLost(row)) throw passedOver(row);
          counts = addCounts(counts, countsWithin(row, first, last));
        }
        records += count;
      }
      const { merged, duplicates, superseded, deadLetters } = counts;
      if (merged + duplicates + superseded + deadLetters === records) return counts;
      const settled = new Map(lanes.map((state) => [state.lane, state.settled]));
      if (ranges.some(([lane, first, count]) => first + count - 1 > (settled.get(lane) ?? 0))) {
        throw new HoldfastError('HF_NOT_SETTLED', 'The target has no end of these records now.');
      }
      throw new HoldfastError('HF_NOT_FOUND', 'The ledger does not have all these records.', {
        outcome: 'written',
      });
    });
  }

  deadLetters(filter: LetterFilter): Promise<DeadLetter[]> {
    return this.#withSession((session) => session.deadLetters(filter));
  }

  drop(id: DeadLetterId): Promise<void> {
    return this.#withSession((session) => session.drop(id));
  }

  prune(stream: string, upTo: readonly { lane: number; last: number }[]): Promise<number> {
    return this.#withSession(async (session) => {
      const id = this.#id(stream);
      const lanes = await session.lanes(id);
      const settled = new Map(lanes.map((state) => [state.lane, state.settled]));
      // In one history, which is a session's, that goes no way but on.
      const old = upTo.map(({ lane, last }) => ({
        lane,
        last: Math.min(last, (settled.get(lane) ?? 0) - 1),
      }));
      return session.prune(id, old);
    });
  }

  async replay(id: DeadLetterId, rules: MergeRules, rows: RowRules): Promise<RowEnd> {
    const open = this.#open(id.stream);
    return this.#withSession(async (session) => {
      const [letter] = await session.deadLetters({ id });
      if (!letter) throw new HoldfastError('HF_NOT_FOUND', 'There is no such dead letter.');
      const table = await session.describe(open.settings.table);
      const buffer = new RowBuffer();
      const reader = compileRows(table, rows);
      const text = letter.row === null ? letter.raw : Buffer.from(letter.row);
      const { rejected } = reader.json(text, buffer);
      if (rejected.length > 0 || buffer.count !== 1) {
        throw new HoldfastError('HF_ROWS_REFUSED', 'The row still does not fit its table.', {
          rejected: rejected.map((line) => line.rejection),
        });
      }
      return session.replay(id, oneRow(buffer, { rules, table, writer: id.writer }));
    });
  }

  async verify(stream: number, end: Position): Promise<VerifyOutcome> {
    const { disk, directory } = this.#parts;
    const settings = this.#streams.get(stream)?.settings;
    if (!settings) throw new HoldfastError('HF_UNKNOWN_STREAM', `Stream ${stream} is not open.`);
    return this.#withSession((session) =>
      verifyStream({ disk, directory, writer: this.#parts.writer, settings, end, session }),
    );
  }

  async passOver(stream: string, agreed?: readonly LostRange[]): Promise<readonly LostRange[]> {
    const { loading } = this.#open(stream);
    return this.#withSession((session) => loading.passOver(session, agreed));
  }

  /** Asked again and again: on a session of its own, which stays. */
  async contention(sinceMs: number): Promise<Contention | undefined> {
    try {
      this.#monitor ??= await this.#connect();
      return await this.#monitor.contention(sinceMs);
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      this.#monitor?.destroy();
      this.#monitor = undefined;
      return undefined;
    }
  }

  async stop(): Promise<void> {
    for (const { loading } of this.#streams.values()) loading.stop();
    await Promise.allSettled(this.#running);
    await this.#parts.target.close();
  }

  #open(stream: string) {
    const open = [...this.#streams.values()].find((s) => s.settings.rules.stream === stream);
    if (open) return open;
    throw new HoldfastError('HF_UNKNOWN_STREAM', `Stream "${stream}" is not open.`);
  }

  #id(stream: string): StreamId {
    return { writer: this.#parts.writer, stream };
  }

  async #connect(): Promise<Session> {
    const session = await this.#parts.target.connect();
    // A standby may have been promoted before it heard of our tables.
    if (this.#prepared === session.identity) return session;
    try {
      await session.prepare(this.#parts.createTables);
    } catch (error) {
      session.destroy();
      throw error;
    }
    this.#prepared = session.identity;
    return session;
  }

  async #withSession<T>(use: (session: Session) => Promise<T>): Promise<T> {
    try {
      const session = await this.#connect();
      try {
        return await use(session);
      } finally {
        await session.close();
      }
    } catch (error) {
      if (!(error instanceof TargetError)) throw error;
      throw targetRefusal(error);
    }
  }
}

const passedOver = ({ lane, first, last }: LostRange): HoldfastError =>
  new HoldfastError(
    'HF_NOT_FOUND',
    `Records ${first} to ${last} of lane ${lane} were lost and passed over; some of these are among them.`,
    { outcome: 'unknown' },
  );

/** What passes by itself; anything else waits for a person. */
const passing = new Set(['transient', 'lost', 'readonly', 'ambiguous', 'altered']);

/** A target's no, as a caller is told it. */
function targetRefusal(error: TargetError): HoldfastError {
  const code = error.code === '' ? '' : ` (${error.code})`;
  if (error.kind === 'moved') return new HoldfastError('HF_NOT_FOUND', `${error.message}${code}`);
  const later = passing.has(error.kind) ? { retryAfterSeconds: 1 } : {};
  // What was asked for may have been done: its answer is what is missing.
  const isOpen = error.kind === 'ambiguous' || error.kind === 'lost';
  const outcome = isOpen ? ({ outcome: 'unknown' } as const) : {};
  const details = { cause: error, ...later, ...outcome };
  return new HoldfastError('HF_TARGET', `${error.message}${code}`, details);
}

/** A batch of one row without slices: what `Session.replay` takes. */
function oneRow(
  buffer: RowBuffer,
  parts: { readonly rules: MergeRules; readonly table: Table; readonly writer: string },
): Batch {
  return {
    writer: parts.writer,
    epoch: 0,
    rules: parts.rules,
    journaled: parts.table,
    table: parts.table,
    slices: [],
    count: 1,
    bytes: buffer.bytes.subarray(0, buffer.length),
    starts: Int32Array.of(0),
    tupleEnds: Int32Array.of(buffer.length),
    sliceOf: Uint16Array.of(0),
    sequences: Float64Array.of(0),
    sets: Uint16Array.of(buffer.sets[0] ?? 0),
    columnSets: buffer.columnSets,
    order: Int32Array.of(0),
    undecoded: [],
    wallMs: 0,
  };
}
