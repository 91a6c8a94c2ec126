// Fields of the row format back to plain values. Trusts the tuple; the journal has vouched for it
// by its CRC. As JSON text: json-text.ts.
import {
  dateText,
  type Moment,
  microsPerDay,
  momentOf,
  timestampText,
  timeText,
} from './calendar.ts';
import type { Column, ColumnType } from './columns.ts';
import { numericText } from './numeric.ts';

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

export function momentAt(view: DataView, at: number): Moment {
  const total = view.getInt32(at) * 4_294_967_296 + view.getUint32(at + 4);
  if (!Number.isSafeInteger(total)) return momentOf(view.getBigInt64(at));
  const days = Math.floor(total / microsPerDay);
  return { days, micros: total - days * microsPerDay };
}

function uuidOf({ bytes }: TupleBytes, start: number): string {
  const hex = bytes.toString('hex', start, start + 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
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
