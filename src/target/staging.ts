// The staged route, as a session of a target offers it: a batch is first committed to the stream's
// staging table (L2), and merges bring it into the stream's table on their own schedule (L3), by
// any number of mergers, in any process. Each call that writes is one whole transaction.
//
// What a merge may read is told by the ledger: a batch is booked there when it is staged, with its
// count and digest, and again when it is merged. The lane rows' `staged` belongs to the owner of
// the epoch, `settled` to whoever holds the claim on the lane's number (P14).
import type { Table } from '../accept/columns.ts';
import type { Batch, MergeRules } from '../merge/batch.ts';
import type { LedgerRow } from '../merge/ledger.ts';
import type { StreamId } from './target.ts';

/** A stream as its staging table knows it: the same for all its writers. */
export interface StagedStream {
  readonly rules: MergeRules;
  /** The table that is merged into, as it was last described. */
  readonly table: Table;
  /** Whether a crash of the server may empty the staging table: the journal fills it again. */
  readonly isLogged: boolean;
}

export interface MergeTurn {
  readonly stream: StagedStream;
  /** Bounds one transaction; a single batch may be larger. */
  readonly rowsMax: number;
  /** Where among the lanes to begin, so that mergers do not all ask for the same: 0 up to 1. */
  readonly start: number;
  /** Of the lanes, what one merger takes where much is waiting: above 0, up to 1. */
  readonly share: number;
  /** Begin with plain inserts, which a key that is there already makes vain. */
  readonly isOptimistic: boolean;
}

/** What one merge did. */
export interface MergedTurn {
  /** Records that found their ends. */
  readonly records: number;
  /** Records whose staged rows were not all there: their owners must stage them again. */
  readonly lost: number;
  /** Whether plain inserts were tried, and whether they went through. */
  readonly optimistic: 'passed' | 'failed' | 'not tried';
  readonly position: string;
}

export interface Waiting {
  /** Records staged and not merged. */
  readonly records: number;
  /** When the oldest of them was staged, milliseconds since 1970; undefined where none waits. */
  readonly oldestAt: number | undefined;
}

/** What `holdfast dedupe` found and did in one step. */
export interface DedupeStep {
  /** Rows of the lane that were staged and not merged. */
  readonly rows: number;
  /** Those that were taken out and booked as duplicates: they had an equal one among them. */
  readonly collapsed: number;
  /** False where a merger took the lane before all of it was looked at. */
  readonly isWhole: boolean;
}

/** What waits and how much of it is double: rows with the key and the content of another one. */
export interface StagedDuplicates {
  readonly rows: number;
  readonly duplicates: number;
  /** Keys with the most duplicates, as JSON; most first. */
  readonly byKey: readonly { readonly key: string; readonly duplicates: number }[];
  /** Per minute in which they were staged (milliseconds since 1970). */
  readonly byTime: readonly {
    readonly at: number;
    readonly rows: number;
    readonly duplicates: number;
  }[];
  /** Lane numbers of all writers in which rows with a key wait. */
  readonly byLane: readonly {
    readonly lane: number;
    readonly rows: number;
    readonly duplicates: number;
  }[];
}

/** A day's partition of a staging table. */
export interface StagingDay {
  readonly name: string;
  /** YYYY-MM-DD, by the server's clock, UTC. */
  readonly day: string;
}

export interface StagingPartition extends StagingDay {
  /** Whether every row of it is merged and confirmed. */
  readonly isConfirmed: boolean;
  readonly rows: number;
}

/** Rows of a partition in the order of their place. */
export interface ArchivePage {
  /** Each as JSON text with its writer, lane and sequence, numbers exact. */
  readonly lines: readonly string[];
  /** Where the next page begins; undefined behind the last row. */
  readonly next: string | undefined;
}

export interface Staging {
  /**
   * Makes the stream's staging table where it is missing, with partitions for today and tomorrow,
   * and fits it to the table's columns. Kind 'hold' where rows of other rules or of another layout
   * still wait in it.
   */
  open(stream: StagedStream): Promise<void>;
  /**
   * The whole transaction of a batch: guard (locks the lane rows, checks epoch and `staged = first
   * − 1`), rows into the staging table, dead letters of what never decoded, ledger, `staged`,
   * COMMIT. Errors as of Session.merge; no row can be refused.
   */
  stage(batch: Batch, stream: StagedStream): Promise<{ readonly position: string }>;
  /**
   * Claims lanes that nobody else is merging, takes consecutive batches of them from `settled + 1`,
   * and brings their rows to their ends by the stream's rules, in one transaction. Undefined where
   * nothing waits that could be claimed.
   */
  merge(turn: MergeTurn): Promise<MergedTurn | undefined>;
  /** The ledger rows merged after these positions, ascending by lane; `after` is by lane. */
  mergedAfter(stream: StreamId, after: readonly number[]): Promise<LedgerRow[]>;
  /** Of all writers. */
  waiting(stream: string): Promise<Waiting>;
  /** Remembers up to where its owner has confirmed each lane: older partitions may be dropped. */
  confirm(stream: StreamId, lanes: readonly { lane: number; last: number }[]): Promise<void>;
  /** Which there are, oldest first. */
  days(stream: string): Promise<StagingDay[]>;
  /** The same with their rows: to count them reads them. */
  partitions(stream: string): Promise<StagingPartition[]>;
  /** Makes the partitions that will be needed next; asks again and again, day after day. */
  createAhead(stream: StagedStream): Promise<void>;
  /**
   * Drops a partition whose rows are all confirmed; false where somebody was in the way for longer
   * than a moment, where it has a row that is not, or where it has not just `rows` (if given): a
   * transaction that began before midnight may have come late.
   */
  dropPartition(stream: string, name: string, rows?: number): Promise<boolean>;
  /** A page of a partition's rows; `from` is an earlier page's `next`, '' for the first. */
  archivePage(
    stream: string,
    name: string,
    page: { readonly from: string; readonly rowsMax: number },
  ): Promise<ArchivePage>;
  /** Reads only. */
  duplicates(stream: StagedStream, keysMax: number): Promise<StagedDuplicates>;
  /**
   * Takes duplicates out of one lane number of all writers, and books them. Undefined where a
   * merger holds the lane.
   */
  dedupe(stream: StagedStream, lane: number, rowsMax: number): Promise<DedupeStep | undefined>;
}
