// What stands in the journal beside rows, as JSON: the dictionary that gives ids their meaning,
// the checkpoint that begins every segment, the requests of a group, and a mark of confirmed
// positions that went back. Each segment's checkpoint holds the whole dictionary, so that any
// journal can be read by itself.
import type { Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';
import type { Rejection } from '../errors.ts';

/**
 * A stream as the journal knows it. The number of lanes and their rule are fixed at its first
 * open.
 */
export interface StreamEntry {
  readonly id: number;
  readonly name: string;
  /** Without the lane of undecoded records, which comes after them. */
  readonly lanes: number;
  /** What chooses the lane: 'key:a,b', 'column:x' or 'turn'. */
  readonly rule: string;
}

export interface TableEntry {
  readonly id: number;
  readonly stream: number;
  readonly table: Table;
}

export interface ShapeEntry {
  readonly id: number;
  readonly table: number;
  readonly set: ColumnSet;
}

export interface DictionaryNote {
  readonly streams: readonly StreamEntry[];
  readonly tables: readonly TableEntry[];
  readonly shapes: readonly ShapeEntry[];
}

/** Where a stream stood when a segment began: per lane the last sequence given, and confirmed. */
export interface StreamMark {
  readonly stream: number;
  readonly last: readonly number[];
  readonly confirmed: readonly number[];
}

/** A number per lane of each stream. */
export type Lanes = ReadonlyMap<number, Float64Array>;

/**
 * Where confirmed positions went back behind a checkpoint: the mark that says so has all of them.
 */
export type ConfirmedNote = readonly (readonly [stream: number, confirmed: readonly number[]])[];

export const laneMarks = (lanes: Lanes): ConfirmedNote =>
  [...lanes].map(([stream, sequences]) => [stream, [...sequences]]);

export const streamMarks = (last: Lanes, confirmed: Lanes): StreamMark[] =>
  [...last].map(([stream, sequences]) => ({
    stream,
    last: [...sequences],
    confirmed: [...(confirmed.get(stream) ?? [])],
  }));

/** What the checkpoint behind a segment tells of it, so that it need not be read for that. */
export interface SealedNote {
  readonly salt: number;
  /** Journaled bytes by stream. */
  readonly bytesOf: readonly (readonly [stream: number, bytes: number])[];
  /** The last request that is noted in it; undefined where none is. */
  readonly request?: number | undefined;
}

export interface CheckpointNote {
  readonly writer: string;
  readonly dictionary: DictionaryNote;
  readonly marks: readonly StreamMark[];
  /** The oldest segment that was kept when this one began. */
  readonly oldest: number;
  /** Bytes of the file as it was made, zeros included: it is never shorter. */
  readonly bytes?: number;
  /** Of the segment before; absent in the first one, and in those of earlier versions. */
  readonly sealed?: SealedNote;
}

/** Records of one request in one lane: lane, first sequence, count. */
export type Range = readonly [lane: number, first: number, count: number];

/** One part of a load: where the input stood after it. */
export interface LoadMark {
  readonly load: string;
  readonly offset: number;
  readonly lines: number;
  /** CSV column names once the header was read. */
  readonly columns?: readonly string[];
  /** The offset lies inside a line that was refused already; `quoted`: inside its quotes. */
  readonly skipping?: 'plain' | 'quoted';
  readonly milliseconds: number;
  /** Of the input up to here, see load-prefix.ts; absent where an earlier version took some. */
  readonly digest?: string;
  readonly isLast: boolean;
}

export interface RequestNote {
  readonly id: number;
  readonly stream: number;
  readonly rows: number;
  readonly ranges: readonly Range[];
  readonly rejected?: readonly Rejection[];
  readonly key?: string;
  /** SHA-256 of the body, base64. */
  readonly digest?: string;
  readonly load?: LoadMark;
  readonly at: number;
}

export const encodeNote = (note: object): Uint8Array => Buffer.from(JSON.stringify(note));

export const decodeNote = <T>(payload: Uint8Array): T =>
  JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString()) as T;
