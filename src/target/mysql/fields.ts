// From the row format to text, in the two forms that the server takes rows in: the lines of a LOAD
// DATA, and the values of an INSERT. Compiled once per column set.
//
// LOAD DATA … CHARACTER SET binary FIELDS TERMINATED BY tab ESCAPED BY backslash LINES TERMINATED
// BY newline: bytes stand as they are, but for \\ \t \n behind a backslash; \N is null. Read as
// binary every type gets exactly these bytes: texts (UTF-8 into utf8mb4), blobs, and a bit(n) its
// bits. INSERT: numbers bare, texts quoted, bytes X'hex'.
import assert from 'node:assert/strict';
import type { Column } from '../../accept/columns.ts';
import type { TupleBytes } from '../../accept/render.ts';
import type { TextBuffer } from '../../accept/text-buffer.ts';
import {
  between,
  type FieldWriter,
  floatWriter,
  intWriter,
  plainWriter,
  putDate,
  putNumeric,
  putTime,
  timestampWriter,
} from '../../accept/text-fields.ts';

export type Form = 'load' | 'insert';

/** Writes the fields of the tuple at `start`, separated. */
type TupleWriter = (out: TextBuffer, from: TupleBytes, start: number) => void;

const escapesOf = (pairs: readonly (readonly [string, string])[]): Uint8Array => {
  const table = new Uint8Array(256);
  for (const [from, to] of pairs) table[from.charCodeAt(0)] = to.charCodeAt(0);
  return table;
};
const inLines = escapesOf([
  ['\\', '\\'],
  ['\t', 't'],
  ['\n', 'n'],
]);
const inQuotes = escapesOf([
  ['\\', '\\'],
  ["'", "'"],
]);

const tab = 0x09;
const comma = 0x2c;
const quote = 0x27;

/** The last bytes of the number, as many as a bit(n) has. */
function bitsWriter(bits: number): FieldWriter {
  const bytes = Math.ceil(bits / 8);
  return (out, from, at) => {
    const end = at + 4 + from.view.getInt32(at);
    out.escaped(from.bytes, { start: end - bytes, end }, inLines);
  };
}

/** `skipped` bytes in front of the text are not written. */
const escapedWriter = (escapes: Uint8Array, skipped = 0): FieldWriter => {
  return (out, { bytes, view }, at) => {
    const start = at + 4;
    out.escaped(bytes, { start: start + skipped, end: start + view.getInt32(at) }, escapes);
  };
};

const putHex: FieldWriter = (out, { bytes, view }, at) => {
  out.ascii("X'");
  out.hex(bytes, at + 4, at + 4 + view.getInt32(at));
  out.byte(quote);
};

/** `now` is the column that takes the value: its type may have been altered since. */
function writerOf(column: Column, now: Column, form: Form): FieldWriter {
  const { type } = column;
  const escapes = form === 'load' ? inLines : inQuotes;
  const inForm =
    form === 'load' ? (write: FieldWriter) => write : (write: FieldWriter) => between(quote, write);
  switch (type.kind) {
    case 'bool':
      return plainWriter(column);
    case 'int': {
      const bits = form === 'load' ? /^bit\((\d+)\)/.exec(now.sqlType)?.[1] : undefined;
      return bits === undefined ? intWriter(column) : bitsWriter(Number(bits));
    }
    case 'numeric':
      return putNumeric;
    case 'float':
      return floatWriter(type.bytes);
    case 'bytea':
      return form === 'load' ? escapedWriter(escapes) : putHex;
    case 'date':
      return inForm(putDate);
    case 'time':
      return inForm(putTime);
    case 'timestamp':
    case 'timestamptz':
      return inForm(timestampWriter(0x20));
    case 'uuid':
      return inForm(plainWriter(column));
    case 'jsonb':
      // The first byte of a jsonb is its version.
      return inForm(escapedWriter(escapes, 1));
    case 'text':
    case 'json':
    case 'enum':
    case 'cast':
      return inForm(escapedWriter(escapes));
  }
}

export function compileTuple(
  columns: readonly { readonly column: Column; readonly now: Column }[],
  form: Form,
): TupleWriter {
  const writers = columns.map(({ column, now }) => writerOf(column, now, form));
  const separator = form === 'load' ? tab : comma;
  const nothing = form === 'load' ? '\\N' : 'NULL';
  return (out, from, tuple) => {
    const { view } = from;
    assert.equal(view.getInt16(tuple), writers.length, 'a tuple has the columns of its set');
    let at = tuple + 2;
    for (let i = 0; i < writers.length; i++) {
      if (i > 0) out.byte(separator);
      const length = view.getInt32(at);
      if (length < 0) out.ascii(nothing);
      else writers[i]?.(out, from, at);
      at += 4 + Math.max(length, 0);
    }
  };
}
