// Tuples of the row format back to JSON text and to plain values: exact, so that decoding the text
// again gives the same tuple. Trusts the tuple; the journal's CRC has vouched for it.
import assert from 'node:assert/strict';
import {
  dateText,
  type Moment,
  microsPerDay,
  momentOf,
  timestampText,
  timeText,
} from './calendar.ts';
import type { Column, ColumnType, Table } from './columns.ts';
import { floatText, numericText } from './numeric.ts';
import type { ColumnSet } from './row-buffer.ts';

/** Bytes seen as Node's Buffer and through a DataView, both made once for many fields. */
export interface TupleBytes {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** Where a field's bytes stand; a length of -1 is null. */
export interface FieldRange {
  readonly start: number;
  readonly length: number;
}

export const tupleBytes = (bytes: Uint8Array): TupleBytes => ({
  bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
});

const stringOf = ({ bytes }: TupleBytes, start: number, end: number): string =>
  bytes.toString('utf8', start, end);

function intOf(view: DataView, type: Extract<ColumnType, { kind: 'int' }>, at: number): bigint {
  if (type.bytes === 8) return type.unsigned ? view.getBigUint64(at) : view.getBigInt64(at);
  if (type.bytes === 4) return BigInt(type.unsigned ? view.getUint32(at) : view.getInt32(at));
  return BigInt(type.unsigned ? view.getUint16(at) : view.getInt16(at));
}

function momentAt(view: DataView, at: number): Moment {
  const total = view.getInt32(at) * 4_294_967_296 + view.getUint32(at + 4);
  if (!Number.isSafeInteger(total)) return momentOf(view.getBigInt64(at));
  const days = Math.floor(total / microsPerDay);
  return { days, micros: total - days * microsPerDay };
}

function uuidOf({ bytes }: TupleBytes, start: number): string {
  const hex = bytes.toString('hex', start, start + 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

/** The bytes of one field, as JSON text. */
function jsonOf(type: ColumnType, from: TupleBytes, { start, length }: FieldRange): string {
  const { bytes, view } = from;
  switch (type.kind) {
    case 'bool':
      return bytes[start] === 1 ? 'true' : 'false';
    case 'int':
      return String(intOf(view, type, start));
    case 'float':
      return floatText(
        type.bytes === 8 ? view.getFloat64(start) : view.getFloat32(start),
        type.bytes,
      );
    case 'numeric':
      return numericText(view, start);
    case 'json':
      return stringOf(from, start, start + length);
    case 'jsonb':
      return stringOf(from, start + 1, start + length);
    case 'bytea':
      return `"${bytes.toString('base64', start, start + length)}"`;
    case 'date':
      return `"${dateText(view.getInt32(start))}"`;
    case 'time':
      return `"${timeText(momentAt(view, start).micros)}"`;
    case 'timestamp':
      return `"${timestampText(momentAt(view, start), 'T')}"`;
    case 'timestamptz':
      return `"${timestampText(momentAt(view, start), 'T')}Z"`;
    case 'uuid':
      return `"${uuidOf(from, start)}"`;
    case 'text':
    case 'enum':
    case 'cast':
      return JSON.stringify(stringOf(from, start, start + length));
  }
}

/**
 * Calls `each` for every field of the tuple whose bytes begin at `start`, in the order of the
 * table, and returns where the tuple ends.
 */
export function eachField(
  from: TupleBytes,
  tuple: { readonly start: number; readonly columns: readonly Column[]; readonly set: ColumnSet },
  each: (column: Column, range: FieldRange) => void,
): number {
  const { columns, set } = tuple;
  assert.equal(from.view.getInt16(tuple.start), set.length, 'the tuple has the columns of its set');
  let at = tuple.start + 2;
  for (const place of set) {
    const column = columns[place];
    assert(column, 'the column set names columns of the table');
    const length = from.view.getInt32(at);
    each(column, { start: at + 4, length });
    at += 4 + Math.max(length, 0);
  }
  return at;
}

/** The exact JSON text of a tuple: numbers with all their digits, json columns verbatim. */
export function renderRow(
  table: Table,
  set: ColumnSet,
  tuple: { readonly bytes: Uint8Array; readonly start: number; readonly end: number },
): string {
  const from = tupleBytes(tuple.bytes);
  const parts: string[] = [];
  const { columns } = table;
  const end = eachField(from, { start: tuple.start, columns, set }, (column, range) => {
    const value = range.length < 0 ? 'null' : jsonOf(column.type, from, range);
    parts.push(`${JSON.stringify(column.name)}:${value}`);
  });
  assert.equal(end, tuple.end, 'the tuple ends where its last field does');
  return `{${parts.join(',')}}`;
}

/**
 * A field as a plain value: bool 0 or 1, int a number or, beyond 2^53, a bigint, float a number,
 * bytea bytes (a view), and text for the rest: numerics with all their digits, dates YYYY-MM-DD,
 * times HH:MM:SS[.ffffff], timestamps parted by a space, timestamptz in UTC with +00:00. Null is
 * null.
 */
export function fieldValue(
  { type }: Column,
  from: TupleBytes,
  { start, length }: FieldRange,
): bigint | number | string | Uint8Array | null {
  if (length < 0) return null;
  const { bytes, view } = from;
  switch (type.kind) {
    case 'bool':
      return bytes[start] === 1 ? 1 : 0;
    case 'int':
      return intValue(view, type, start);
    case 'float':
      return type.bytes === 8 ? view.getFloat64(start) : view.getFloat32(start);
    case 'numeric':
      return numericText(view, start);
    case 'bytea':
      return bytes.subarray(start, start + length);
    case 'date':
      return dateText(view.getInt32(start));
    case 'time':
      return timeText(momentAt(view, start).micros);
    case 'timestamp':
      return timestampText(momentAt(view, start), ' ');
    case 'timestamptz':
      return `${timestampText(momentAt(view, start), ' ')}+00:00`;
    case 'uuid':
      return uuidOf(from, start);
    case 'jsonb':
      return stringOf(from, start + 1, start + length);
    case 'text':
    case 'json':
    case 'enum':
    case 'cast':
      return stringOf(from, start, start + length);
  }
}

function intValue(
  view: DataView,
  type: Extract<ColumnType, { kind: 'int' }>,
  at: number,
): number | bigint {
  if (type.bytes === 8 && !type.unsigned) {
    const value = view.getInt32(at) * 4_294_967_296 + view.getUint32(at + 4);
    if (Number.isSafeInteger(value)) return value;
  }
  const value = intOf(view, type, at);
  const short = Number(value);
  return Number.isSafeInteger(short) ? short : value;
}
