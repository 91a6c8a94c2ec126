// The seam to the user's database. A Target makes Sessions; a Session is one connection, and each
// of its calls that writes is one whole transaction. Every dialect and the simulated target pass
// the same contract test (test/target.test.ts).
import type { Table } from '../accept/columns.ts';
import type { RowCode } from '../errors.ts';
import type { Batch, RowEnd } from '../merge/batch.ts';
import type { LedgerRow } from '../merge/ledger.ts';
import type { LostRange } from '../merge/lost.ts';
import type { Staging } from './staging.ts';

export interface Capabilities {
  /** How many sessions may merge at once into one stream. */
  readonly loadersMax: number;
  /** How many may merge staged rows at once; 0 where there is no staged route. */
  readonly mergersMax: number;
  /** Whether `position` and `isReplicated` can tell what a standby has. */
  readonly standby: boolean;
}

export interface Target {
  readonly capabilities: Capabilities;
  /** A session on a writable server of this target. Rejects with a TargetError. */
  connect(): Promise<Session>;
  close(): Promise<void>;
}

/** One lane as the target knows it: what is there, what is settled, and how it ended. */
export interface LaneState {
  readonly lane: number;
  readonly epoch: number;
  /** In the direct route the same as `settled`. */
  readonly staged: number;
  readonly settled: number;
  readonly merged: number;
  readonly duplicates: number;
  readonly superseded: number;
  readonly deadLetters: number;
}

export interface StreamId {
  readonly writer: string;
  readonly stream: string;
}

export interface Claim extends StreamId {
  /** Lanes 0 to lanes − 1 are ensured to exist. */
  readonly lanes: number;
  /** Who claims: its host, its pid, and the millisecond in which it began (since 1970). */
  readonly owner: string;
  /** The epoch of the owner's last claim that was answered: nothing where it is its first. */
  readonly after?: number | undefined;
  /**
   * A stream that was staged can be claimed for the direct route once nothing waits in its staging
   * table; before that it is 'hold'.
   */
  readonly route: Route;
}

export type Route = 'direct' | 'staged';

/** Waits for row locks and deadlocks, of all sessions of the server or database. */
export interface Contention {
  /** Since the server's start; where `isSampled`, how many wait at this moment. */
  readonly lockWaits: number;
  /** Likewise; where `isSampled`, how long those have waited since the last look, at most. */
  readonly lockTimeMs: number;
  /** Since the server's start. */
  readonly deadlocks: number;
  readonly isSampled: boolean;
}

/** How far up the write ladder an attempt begins (DESIGN §6). */
export type Rung = 'optimistic' | 'merge';

export interface MergeResult {
  /** Per row of the batch: a RowEnd. Absent where every row was merged. */
  readonly ends?: Uint8Array;
  /** Where the target's log stood after the commit; '' where it has no such thing. */
  readonly position: string;
}

/** The identity of a dead letter: writer, lane, sequence, stream. */
export interface DeadLetterId extends StreamId {
  readonly lane: number;
  readonly sequence: number;
}

export type DeadLetterState = 'dead' | 'replayed' | 'dropped';

export interface DeadLetter extends DeadLetterId {
  readonly code: RowCode;
  readonly sqlState: string | null;
  readonly message: string;
  /** The row as JSON text, numbers exact, absent columns absent; null where it never decoded. */
  readonly row: string | null;
  /** The bytes as given, where the row never decoded; the JSON text's bytes otherwise. */
  readonly raw: Uint8Array;
  readonly attempts: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
  readonly state: DeadLetterState;
}

/** Which dead letters are read at once: that of `id`, or a page of those that are dead. */
export interface LetterFilter {
  /** Whatever its state; the rest does not count then. */
  readonly id?: DeadLetterId | undefined;
  readonly stream?: string | undefined;
  /** The page begins behind this one, whether it is there or not. */
  readonly after?: DeadLetterId | undefined;
  /** limits.lettersListedMax by default. */
  readonly limit?: number | undefined;
}

export interface LedgerRange {
  readonly lane: number;
  readonly first: number;
  readonly last: number;
  readonly isStagedToo?: boolean;
}

/** What nobody has any more, and an operator gives up: one range a lane (P3). */
export interface PassOver extends StreamId {
  readonly epoch: number;
  readonly ranges: readonly LostRange[];
}

/** What verify asks of a row: its key is in the table with the same provided columns, or not. */
export const verdict = { equal: 0, different: 1, absent: 2 } as const;

export interface Session {
  /**
   * Server and history (PostgreSQL: system identifier and timeline). Positions belong to it (P2).
   */
  readonly identity: string;
  /** Enough to terminate this session from another one (pid and start). */
  readonly id: string;

  /**
   * Makes sure that Holdfast's own tables are there, and that `isReplicated` can tell where it will
   * be asked; creates the tables where `create`.
   */
  prepare(create: boolean): Promise<void>;
  tableNames(): Promise<string[]>;
  /** Reads a table's columns and keys. Kind 'hold' where it is missing or cannot be written. */
  describe(table: string): Promise<Table>;

  /**
   * Takeover: makes the lanes' rows where missing, and raises the epoch of all under their locks:
   * to the server's time in microseconds, or further, so that none is given out a second time after
   * a failover has forgotten its claim. Kind 'fenced' where another owner has claimed a lane since
   * `after`: then nothing is changed.
   */
  claim(claim: Claim): Promise<{ epoch: number; lanes: LaneState[] }>;
  /** A plain read; no answer to an ambiguous commit. */
  lanes(stream: StreamId): Promise<LaneState[]>;
  /**
   * The fate of a batch whose COMMIT was not answered: waits for its lane rows' locks, up to a
   * bound, then terminates the session `suspect` and waits again; then reads them under the lock.
   */
  resolve(batch: Batch, suspect: string): Promise<LaneState[]>;

  /**
   * The whole transaction of a batch: guard (locks the lane rows, checks epoch, `settled = first
   * − 1` and the table's fingerprint), rows, dead letters, ledger, watermarks, COMMIT. When it
   * resolves, the batch is committed at the server's own level. It rejects with a TargetError;
   * unless its kind is 'ambiguous', nothing was committed.
   */
  merge(batch: Batch, rung: Rung): Promise<MergeResult>;
  /**
   * One transaction: guard (locks the lane rows and the claims on them, checks epoch and `settled =
   * staged = first − 1`), ledger rows that say `lost`, `settled` and `staged` of each lane to its
   * `last`; no total counts them. Errors as of `merge`. Sent twice, it is done once.
   */
  passOver(order: PassOver): Promise<void>;
  /** Per row of the batch a `verdict`: what the table holds under its key, on provided columns. */
  compare(batch: Batch): Promise<Uint8Array>;

  /**
   * Ledger rows of the stream that overlap [first, last] of the lane, ascending; with
   * `isStagedToo` those of batches that are staged and wait for their merge, too.
   */
  ledger(stream: StreamId, range: LedgerRange): Promise<LedgerRow[]>;
  /**
   * Deletes ledger rows that end at or before `last` of their lane, except what they say of lost
   * records. Returns how many.
   */
  prune(stream: StreamId, upTo: readonly { lane: number; last: number }[]): Promise<number>;

  /**
   * In the order of their ids: of each lane the oldest first. A page ends with the letter that
   * reaches limits.lettersListedBytes, too: only an empty one says that there are no more.
   */
  deadLetters(filter: LetterFilter): Promise<DeadLetter[]>;
  /**
   * Puts a dead letter's row, encoded as the only row of `batch` (which has no slices), into the
   * table by the stream's rules, and moves it in the books, in one transaction. A row that is
   * refused again stays, with its reason and attempts renewed. Kind 'moved' where it is not
   * 'dead' any more.
   */
  replay(id: DeadLetterId, batch: Batch): Promise<RowEnd>;
  /**
   * Makes it a tombstone, still a dead letter in the balance. Kind 'moved' where it is not
   * 'dead'.
   */
  drop(id: DeadLetterId): Promise<void>;

  /** Undefined where `capabilities.mergersMax` is 0. */
  readonly staging: Staging | undefined;

  /** Undefined where sessions cannot stand in each other's way, or nothing tells. */
  contention(sinceMs: number): Promise<Contention | undefined>;

  /** Where the target's log stands now; '' where `capabilities.standby` is false. */
  position(): Promise<string>;
  /** Whether a standby has flushed `position`; only where `capabilities.standby`. */
  isReplicated(position: string): Promise<boolean>;

  /** Ends the connection in good order. */
  close(): Promise<void>;
  /** Ends it at once; safe in any state, never throws. */
  destroy(): void;
}

/**
 * - transient: retry after a pause (deadlock, serialization failure, lock timeout, too many
 * connections) - lost: the connection is gone and COMMIT had not been sent; retry on a new one -
 * readonly: this server does not take writes; connect again, elsewhere - ambiguous: COMMIT was
 * sent and not answered; resolve before anything else - conflict: a key is there already
 * (optimistic rung only); take the merge rung - row: the server refused a row (optimistic rung
 * only); the merge rung isolates it - moved: `settled` is not `first − 1`; read the lanes again -
 * fenced: another owner has raised the epoch; stop - altered: the table is not as `batch.table`
 * says; describe it again - hold: ours or the administrator's to repair, or unknown: keep the
 * rows, say so, keep probing
 */
export type TargetErrorKind =
  | 'transient'
  | 'lost'
  | 'readonly'
  | 'ambiguous'
  | 'conflict'
  | 'row'
  | 'moved'
  | 'fenced'
  | 'altered'
  | 'hold';

/**
 * How a target says no. `code` is the SQLSTATE, errno name or SQLite code; '' where there is
 * none.
 */
export class TargetError extends Error {
  override readonly name = 'TargetError';
  readonly kind: TargetErrorKind;
  readonly code: string;

  constructor(
    ...[kind, code, message, cause]: [
      kind: TargetErrorKind,
      code: string,
      message: string,
      cause?: unknown,
    ]
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.code = code;
  }
}

/**
 * The error of a statement that no row is to blame for, or of a rung that has isolated all that
 * are: what would be a row's refusal elsewhere holds the stream.
 */
export function blameless(error: unknown): unknown {
  if (!(error instanceof TargetError)) return error;
  if (error.kind !== 'row' && error.kind !== 'conflict') return error;
  return new TargetError('hold', error.code, error.message, error);
}
