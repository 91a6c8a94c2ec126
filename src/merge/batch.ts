// The records that share one transaction in the target. Rows stand as the journal has them:
// tuples of the row format in one buffer, found by offset; no object per row.
import type { Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';
import type { RowCode } from '../errors.ts';

/**
 * How a record ended. The numbers stand in the ledger's `ends` and never change. `lost` is no end:
 * nobody has the record any more, and an operator had it passed over (P3).
 */
export const rowEnd = { merged: 0, duplicate: 1, superseded: 2, deadLetter: 3, lost: 4 } as const;
/** What becomes of a row that is there. */
export type RowEnd = Exclude<(typeof rowEnd)[keyof typeof rowEnd], typeof rowEnd.lost>;

export type OnConflict = 'dead-letter' | 'ignore' | 'update' | { readonly newest: string };

/** The rules of a stream that a merge must know. */
export interface MergeRules {
  readonly stream: string;
  /** Key columns; empty where the table has no unique key. */
  readonly key: readonly string[];
  readonly onConflict: OnConflict;
}

/** The consecutive records of one lane that a batch carries. */
export interface Slice {
  readonly lane: number;
  readonly first: number;
  readonly last: number;
  /** See LedgerRow.digest. */
  readonly digest: number;
}

/** A record that never decoded; its end is decided: dead letter. */
export interface Undecoded {
  /** Its place in `slices`. */
  readonly slice: number;
  readonly sequence: number;
  readonly raw: Uint8Array;
  readonly code: RowCode;
  readonly message: string;
}

export interface Batch {
  readonly writer: string;
  readonly epoch: number;
  readonly rules: MergeRules;
  /** The table as it was when the rows were journaled: it says what the bytes mean. */
  readonly journaled: Table;
  /**
   * The table as it was last described; the guard checks its fingerprint. May be `journaled`
   * itself.
   */
  readonly table: Table;
  /** Ascending by lane, one per lane. */
  readonly slices: readonly Slice[];
  /** How many decoded rows there are. */
  readonly count: number;
  readonly bytes: Uint8Array;
  /** Per row: its tuple is bytes[starts[row] .. tupleEnds[row]). */
  readonly starts: Int32Array;
  readonly tupleEnds: Int32Array;
  /** Per row: its place in `slices`, its sequence, its place in `columnSets`. */
  readonly sliceOf: Uint16Array;
  readonly sequences: Float64Array;
  readonly sets: Uint16Array;
  /** Places in `journaled.columns`. */
  readonly columnSets: readonly ColumnSet[];
  /**
   * All rows, by key bytes, then lane and sequence: two batches touch common keys in one order
   * (P9). Where the stream has no key: in lane and sequence order.
   */
  readonly order: Int32Array;
  readonly undecoded: readonly Undecoded[];
  /** For `at` columns: milliseconds since 1970. */
  readonly wallMs: number;
}
