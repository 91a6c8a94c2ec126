// Tuples of the row format back to JSON text: exact, so that decoding the text again gives the same
// tuple; numbers with all their digits, json columns verbatim. Trusts the tuple; the journal's CRC
// has vouched for it.
import assert from 'node:assert/strict';
import type { Column, Table } from './columns.ts';
import { type TupleBytes, tupleBytes } from './render.ts';
import type { ColumnSet } from './row-buffer.ts';
import { TextBuffer } from './text-buffer.ts';
import {
  between,
  type FieldWriter,
  fieldBytesMax,
  floatWriter,
  intWriter,
  plainWriter,
  putDate,
  putNumeric,
  putTime,
  timestampWriter,
} from './text-fields.ts';

const quote = 0x22;
const backslash = 0x5c;

const putBool: FieldWriter = (out, { bytes }, at) =>
  out.ascii(bytes[at + 4] === 1 ? 'true' : 'false');

/** Of any weight and scale, where SQL's are short: 1e5000 has one group of digits, and 5,001. */
const putAnyNumeric: FieldWriter = (out, from, at) => {
  const [weight, dscale] = [from.view.getInt16(at + 6), from.view.getInt16(at + 10)];
  out.reserve(4 * Math.max(weight + 1, 0) + Math.max(dscale, 0) + fieldBytesMax);
  putNumeric(out, from, at);
};

/** `skipped` bytes in front of it are not part of the text. */
const verbatim = (skipped: number): FieldWriter => {
  return (out, { bytes, view }, at) => {
    const start = at + 4;
    out.copy(bytes, start + skipped, start + view.getInt32(at));
  };
};

const isPlain = (byte: number): boolean => byte >= 0x20 && byte !== quote && byte !== backslash;

const putText: FieldWriter = (out, { bytes, view }, at) => {
  const start = at + 4;
  const end = start + view.getInt32(at);
  let plain = start;
  while (plain < end && isPlain(bytes[plain] ?? 0)) plain++;
  if (plain < end) return out.utf8(JSON.stringify(bytes.toString('utf8', start, end)));
  out.byte(quote);
  out.copy(bytes, start, end);
  out.byte(quote);
};

const putBase64: FieldWriter = (out, { bytes, view }, at) => {
  const start = at + 4;
  out.utf8(`"${bytes.toString('base64', start, start + view.getInt32(at))}"`);
};

const timestamp = timestampWriter(0x54);

const putUtc: FieldWriter = (out, from, at) => {
  timestamp(out, from, at);
  out.byte(0x5a);
};

function writerOf(column: Column): FieldWriter {
  const { type } = column;
  switch (type.kind) {
    case 'bool':
      return putBool;
    case 'int':
      return intWriter(column);
    case 'float':
      return floatWriter(type.bytes);
    case 'numeric':
      return putAnyNumeric;
    case 'json':
      return verbatim(0);
    case 'jsonb':
      // The first byte of a jsonb is its version.
      return verbatim(1);
    case 'bytea':
      return putBase64;
    case 'date':
      return between(quote, putDate);
    case 'time':
      return between(quote, putTime);
    case 'timestamp':
      return between(quote, timestamp);
    case 'timestamptz':
      return between(quote, putUtc);
    case 'uuid':
      return between(quote, plainWriter(column));
    case 'text':
    case 'enum':
    case 'cast':
      return putText;
  }
}

/**
 * Writes the tuple whose bytes begin at `start` as a JSON object, and returns where the tuple ends.
 * Makes room for itself.
 */
export type JsonWriter = (out: TextBuffer, from: TupleBytes, start: number) => number;

export function compileJson({ columns }: Table, set: ColumnSet): JsonWriter {
  const fields = set.map((place, i) => {
    const column = columns[place];
    assert(column, 'the column set names columns of the table');
    const name = Buffer.from(`${i > 0 ? ',' : ''}${JSON.stringify(column.name)}:`);
    return { name, write: writerOf(column) };
  });
  return (out, from, tuple) => {
    const { view } = from;
    assert.equal(view.getInt16(tuple), fields.length, 'the tuple has the columns of its set');
    let at = tuple + 2;
    out.reserve(2);
    out.byte(0x7b);
    for (const { name, write } of fields) {
      const length = view.getInt32(at);
      out.reserve(name.length + 2 * Math.max(length, 0) + fieldBytesMax);
      out.copy(name);
      if (length < 0) out.ascii('null');
      else write(out, from, at);
      at += 4 + Math.max(length, 0);
    }
    out.reserve(1);
    out.byte(0x7d);
    return at;
  };
}

/** For single rows. */
const textOf = new TextBuffer(4096);
const keptBytesMax = 1024 * 1024;

/** The JSON text of one tuple. */
export function renderRow(
  table: Table,
  set: ColumnSet,
  tuple: { readonly bytes: Uint8Array; readonly start: number; readonly end: number },
): string {
  textOf.at = 0;
  const end = compileJson(table, set)(textOf, tupleBytes(tuple.bytes), tuple.start);
  assert.equal(end, tuple.end, 'the tuple ends where its last field does');
  const text = textOf.bytes.toString('utf8', 0, textOf.at);
  if (textOf.bytes.length > keptBytesMax) textOf.take(4096);
  return text;
}
