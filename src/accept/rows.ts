// What accept offers to the rest: a table's rules compiled once into readers that turn bytes or
// objects into tuples of the row format. Implementations: json/ csv.ts objects.ts beside this file.
import type { Rejection } from '../errors.ts';
import type { Table } from './columns.ts';
import type { RowBuffer } from './row-buffer.ts';

/** The rules of a stream that decide whether a row is taken and which lane it goes to. */
export interface RowRules {
  readonly key: readonly string[];
  /**
   * The column whose hash chooses the lane; absent: the key; without a key: one lane per call, in
   * turn.
   */
  readonly laneColumn?: string;
  readonly lanes: number;
  /** Columns whose value must not be 0, '' or false. */
  readonly nonZero: readonly string[];
  /** What to do with a value that the column would change (more decimals than its scale …). */
  readonly inexact: 'refuse' | 'round';
  /** Longest line of NDJSON or CSV, bytes. */
  readonly lineBytesMax: number;
}

/** A line that was refused, with its bytes' place in the input so that it can be kept whole. */
export interface RejectedLine {
  readonly rejection: Rejection;
  readonly start: number;
  readonly end: number;
}

export interface ReadOptions {
  /** The number of the first line of this input; 1 by default. */
  readonly firstLine?: number;
  /** False: more bytes follow, so an unfinished last line is left unconsumed. True by default. */
  readonly isLast?: boolean;
  /**
   * Stop at the first refused line that is longer (its bytes are not consumed); shorter ones are
   * collected. −1: at the first. Without a bound by default.
   */
  readonly keptBytesMax?: number;
  /** What the result before this one had: where true, the input begins inside a refused line. */
  readonly skipping?: Skipping;
  /** Stop, between lines, when `into` holds at least this many bytes of tuples. */
  readonly bytesMax?: number;
  /** Stop, between lines, when so many have been refused. */
  readonly rejectedMax?: number;
}

/** Whether the rest of a line is passed over, and whether that is inside the quotes of CSV. */
export type Skipping = false | 'plain' | 'quoted';

export interface ReadResult {
  /** Bytes of the input that are done with: whole lines, unless `skipping`. */
  readonly consumed: number;
  /** Lines (NDJSON, CSV: physical lines, so that numbers agree with an editor) in those bytes. */
  readonly lines: number;
  readonly rejected: readonly RejectedLine[];
  /**
   * A line that is longer than the limit was refused before its end was seen: `consumed` lies
   * inside it. To be passed with the next input; a reader of CSV remembers it as well.
   */
  readonly skipping: Skipping;
}

/** Values that library rows may hold. Absent (or undefined) columns get the table's default. */
export type Value = bigint | string | number | boolean | Date | Uint8Array | null | undefined;
export type Row = { readonly [column: string]: Value };

export interface CsvOptions {
  /** One character; ',' by default. */
  readonly delimiter?: string;
  /** Names for the fields in order; absent: the first line is the header. */
  readonly columns?: readonly string[];
  /** Further spellings of null, unquoted, beside the empty field. */
  readonly nulls?: readonly string[];
}

/**
 * Reads one input of CSV, chunk after chunk; the header may come with the first chunk. A header
 * that does not fit the table throws HF_ROWS_REFUSED with its one rejection: no line could be read
 * by it.
 */
export interface CsvReader {
  read(input: Uint8Array, into: RowBuffer, options?: ReadOptions): ReadResult;
  /** Column names once the header is known: what a resumed load passes as `columns`. */
  readonly columns: readonly string[] | undefined;
}

/**
 * Reads rows of one table under one stream's rules. Each reader appends the good rows to `into`, in
 * order, and reports the others; it never throws for a bad row. Blank lines are skipped.
 */
export interface RowReader {
  readonly table: Table;
  readonly rules: RowRules;
  /** NDJSON: one object per line, LF or CRLF. */
  ndjson(input: Uint8Array, into: RowBuffer, options?: ReadOptions): ReadResult;
  /**
   * One JSON object, or an array of objects; `line` in rejections is the place in the array, from
   * 1, and `offset` the byte in the whole input. Behind a syntax error nothing more is read.
   */
  json(input: Uint8Array, into: RowBuffer, options?: Pick<ReadOptions, 'rejectedMax'>): ReadResult;
  csv(options: CsvOptions): CsvReader;
  objects(rows: readonly Row[], into: RowBuffer): ReadResult;
}
