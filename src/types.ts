// The public shapes of the library, shared by the server, the command line and the dashboard.
import type { CsvOptions, Row } from './accept/rows.ts';
import type { Rejection } from './errors.ts';
import type { EndCounts } from './merge/ledger.ts';
import type { LostRange } from './merge/lost.ts';
import type { DeadLetter, LetterFilter, Route } from './target/target.ts';

/** What a caller may wait for; the names of the watermarks. */
export type Level = 'journaled' | 'settled' | 'confirmed';
export type Invalid = 'reject' | 'dead-letter';
export type Format = 'ndjson' | 'json' | 'csv';

export interface WriteOptions {
  /**
   * 'journaled' by default: on disk here. 'settled': has its end in the target. 'confirmed': as
   * durable there as `confirm` asks.
   */
  readonly level?: Level;
  /** Gives up waiting; what was journaled stays. */
  readonly signal?: AbortSignal;
  /** The same key and rows: the same answer. Kept 24 h by default. Scope: stream. */
  readonly idempotencyKey?: string;
  /** At a bound: 'wait' (library's default) or 'refuse' with HF_OVERLOADED or HF_JOURNAL_FULL. */
  readonly atBound?: 'wait' | 'refuse';
}

export interface WriteBytesOptions extends WriteOptions {
  readonly format: Format;
  readonly csv?: CsvOptions;
  /** 'reject' by default: one bad row refuses the whole call. */
  readonly invalid?: Invalid;
}

/** The answer to a write. The rows are durable in the journal when a caller holds it. */
export interface Receipt {
  /**
   * Asks about this write later: `holdfast.receipt(id)`, `GET /v1/receipts/{id}`. Kept for what
   * came as bytes or with an `idempotencyKey`; of other rows only this object knows.
   */
  readonly id: string;
  readonly stream: string;
  readonly accepted: number;
  /** Rows kept as dead letters because they did not decode (`invalid: 'dead-letter'`). */
  readonly rejected: readonly Rejection[];
  /** True where an Idempotency-Key repeated an earlier request. */
  readonly repeated: boolean;
  /**
   * Resolves when every row has its end; rejects when the library closes or the journal fails
   * first.
   */
  readonly settled: Promise<EndCounts>;
  /** The same when every row is `confirmed`: as durable in the target as the options ask. */
  readonly confirmed: Promise<EndCounts>;
}

export interface ReceiptState {
  readonly receipt: string;
  readonly stream: string;
  readonly accepted: number;
  readonly level: Level;
  /** From `settled` on; absent where the target has to be asked and does not answer in time. */
  readonly counts?: EndCounts;
}

export interface LoadOptions {
  readonly format: 'ndjson' | 'csv';
  readonly csv?: CsvOptions;
  readonly invalid?: Invalid;
  /** Size in bytes and SHA-256 (hex) of the whole input: what makes a load resumable (P20). */
  readonly source?: { readonly size: number; readonly digest: string };
  readonly signal?: AbortSignal;
  /** Called as rows are journaled: bytes read and rows accepted, of the whole load. */
  readonly onProgress?: (done: { readonly bytes: number; readonly accepted: number }) => void;
}

/** Counts of a whole load, runs before a kill included. */
export interface LoadResult extends EndCounts {
  readonly accepted: number;
  readonly rejected: readonly Rejection[];
  readonly seconds: number;
  /** False where the load stopped at a refused row; the rows before it are written. */
  readonly complete: boolean;
}

/** Where a load stands: what `beginLoad` found. */
export interface LoadState {
  readonly load: string;
  readonly stream: string;
  /** The input's byte from which to go on. */
  readonly offset: number;
  /** Rows of the input before it. */
  readonly accepted: number;
  /**
   * What stands before `offset`, where it is to be gone on with: the bytes at which its parts end,
   * and a digest of all of them: SHA-256 in hex of a part's bytes, behind the digest of the parts
   * before it as text. `load` and the command line compare it. Absent where an earlier version
   * took some of it.
   */
  readonly prefix?: { readonly ends: readonly number[]; readonly digest: string };
  /** Set where the load was complete and not yet reported. */
  readonly result?: LoadResult;
}

interface Held {
  readonly records: number;
  /** Age of the oldest of them, milliseconds; 0 where there is none. */
  readonly oldestMs: number;
}

export interface StreamStatus extends EndCounts {
  readonly accepted: number;
  readonly inFlight: number;
  /** accepted − merged − duplicates − superseded − deadLetters − inFlight. Must be 0. */
  readonly unaccounted: number;
  /** Positions, summed over lanes. */
  readonly watermarks: {
    readonly accepted: number;
    readonly journaled: number;
    readonly staged: number;
    readonly settled: number;
    readonly confirmed: number;
  };
  /** What each level of the path still holds. */
  readonly levels: {
    /** L1: accepted, not on disk yet. */
    readonly memory: Held;
    /** On disk here, not in the target yet. */
    readonly journal: Held;
    /** L2: in the staging table, not merged yet; nothing where the route is direct. */
    readonly staging: Held;
    /** L3: settled, and not as durable yet as `confirm` asks. */
    readonly table: Held;
  };
  readonly table: string;
  readonly key: readonly string[];
  readonly route: Route;
  readonly lanes: number;
  /** 'running', or why its rows wait. */
  readonly state: 'running' | 'held' | 'connecting';
  readonly reason?: string;
  /** Age of the oldest record that is not settled, milliseconds; 0 where none is. */
  readonly oldestMs: number;
}

export interface Status {
  readonly state: 'running' | 'draining' | 'failed' | 'closed';
  readonly writer: string;
  readonly pid: number;
  readonly journal: {
    readonly directory: string;
    readonly segments: number;
    readonly bytes: number;
    readonly bytesMax: number;
    readonly full: boolean;
    /** How long its disk has been syncing while others wait; 0 where it is not. */
    readonly syncingMs: number;
  };
  readonly target: {
    readonly url: string;
    /** False: not all could be asked of it now; books are as this process knew them last. */
    readonly reachable: boolean;
    /** Lock waits and deadlocks on it, over the last minute; where it tells. */
    readonly contention?: import('./contention.ts').ContentionWindow;
  };
  readonly streams: { readonly [name: string]: StreamStatus };
}

export interface Difference {
  readonly stream: string;
  readonly kind: 'missing' | 'different' | 'count' | 'digest' | 'unaccounted';
  readonly lane?: number;
  readonly sequence?: number;
  /** The key as JSON where one row is meant. */
  readonly key?: string;
  readonly message: string;
}

export interface VerifyResult {
  readonly ok: boolean;
  /** Records of the journal that were found equal in the table. */
  readonly checked: number;
  readonly differences: readonly Difference[];
  /** What could not be checked, and why: never reported as fine. */
  readonly notCheckable: readonly {
    readonly stream: string;
    readonly records: number;
    readonly reason: string;
  }[];
}

export interface DeadLetters {
  /**
   * One page, in the order of their ids (writer, stream, lane, sequence): at most `limit` (1000 by
   * default), and none behind the letter that reaches 4 MiB. Only an empty page says that there are
   * no more; the next one is `after` the last letter of this one.
   */
  list(filter?: Omit<LetterFilter, 'id'>): Promise<DeadLetter[]>;
  show(id: string): Promise<DeadLetter>;
  /** Decodes the row again and writes it; resolves with its new end. */
  replay(id: string): Promise<'merged' | 'duplicate' | 'superseded' | 'deadLetter'>;
  drop(id: string): Promise<void>;
}

/** What `open` returns. All methods may be called at any time; after `close` they reject. */
export interface Holdfast {
  /** Durable in the journal when it resolves, or further on as `level` asks. */
  write(stream: string, rows: Row | readonly Row[], options?: WriteOptions): Promise<Receipt>;
  /**
   * The same from bytes: NDJSON, JSON or CSV, whole. They are the caller's again as soon as this
   * has returned its promise, as rows are.
   */
  writeBytes(stream: string, bytes: Uint8Array, options: WriteBytesOptions): Promise<Receipt>;
  /**
   * Begins or resumes a load; `load` does this and the rest in one call. A load that nobody goes on
   * with for a day, or whose result nobody reports, is forgotten: begun again, it is a new one.
   */
  beginLoad(stream: string, options: LoadOptions): Promise<LoadState>;
  /**
   * Goes on with a load: `input` begins at `load.offset`. Resolves when all its rows are settled.
   * Rejects with HF_LOAD_MOVED where the load stands elsewhere by now, with HF_BODY_CUT where less
   * came than it was begun with: begin it again. What was accepted before stays written.
   */
  continueLoad(
    load: LoadState,
    input: AsyncIterable<Uint8Array>,
    options: LoadOptions,
  ): Promise<LoadResult>;
  /**
   * Marks the result as reported: the same input is a new load from then on. Throws HF_USAGE where
   * the load has not come to its end.
   */
  reportedLoad(load: string): void;
  /**
   * Loads all of the input. Where an earlier run has taken some of it, that is compared and not
   * written again: rejects with HF_LOAD_CHANGED where it is not the same.
   */
  load(stream: string, input: AsyncIterable<Uint8Array>, options: LoadOptions): Promise<LoadResult>;
  receipt(id: string): Promise<ReceiptState | undefined>;
  /** What is known without asking the target. */
  health(): Omit<Status, 'streams'>;
  status(): Promise<Status>;
  verify(options?: {
    readonly stream?: string;
    readonly onProgress?: (share: number) => void;
  }): Promise<VerifyResult>;
  /**
   * An operator's order for a stream that is held because its target went back further than the
   * journal reaches: the records between are given up, and the stream goes on behind them. They are
   * `unaccounted` from then on. Resolves with them, by lane, once the target has committed that;
   * with `dryRun` it only looks. Rejects with HF_USAGE where nothing is lost.
   */
  passOver(stream: string, options?: { readonly dryRun?: boolean }): Promise<readonly LostRange[]>;
  readonly deadLetters: DeadLetters;
  /** Numbers for /metrics; see metrics.ts. */
  readonly metrics: import('./metrics.ts').Metrics;
  /** Resolves when the journal has failed for good; the process should leave. */
  readonly failed: Promise<Error>;
  /**
   * Refuses new writes, answers those in hand, drains up to `drainMs` (10 s by default), lets the
   * journal go. With 0, and where it is called again with less, it does not drain: it waits for the
   * running transactions only. What was acknowledged is on disk, and the next process brings it on;
   * who waits for a level is told HF_NOT_SETTLED, outcome 'written'.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}
