// Records that never decoded, as a block's payload, so that they are dead letters kept whole
// (P10). Per record: uint32 length and the bytes as given; then for code and for message a uint16
// length and UTF-8 bytes. Little-endian.
import { type RowCode, rowCodes } from '../errors.ts';
import type { Bytes } from './block.ts';

export interface UndecodedRow {
  readonly raw: Uint8Array;
  readonly code: RowCode;
  readonly message: string;
}

const messageBytesMax = 1000;

export function encodeUndecoded(rows: readonly UndecodedRow[]): Uint8Array {
  const parts = rows.map((row) => ({
    raw: row.raw,
    code: Buffer.from(row.code),
    message: Buffer.from(row.message).subarray(0, messageBytesMax),
  }));
  const total = parts.reduce((n, p) => n + 8 + p.raw.length + p.code.length + p.message.length, 0);
  const out = Buffer.alloc(total);
  let at = 0;
  for (const { raw, code, message } of parts) {
    at = out.writeUInt32LE(raw.length, at);
    out.set(raw, at);
    at = out.writeUInt16LE(code.length, at + raw.length);
    out.set(code, at);
    at = out.writeUInt16LE(message.length, at + code.length);
    out.set(message, at);
    at += message.length;
  }
  return out;
}

const isRowCode = (text: string): text is RowCode => Object.hasOwn(rowCodes, text);

/** The records of a payload; their bytes are views into `from`. */
export function decodeUndecoded(from: Bytes, start: number, end: number): UndecodedRow[] {
  const rows: UndecodedRow[] = [];
  const take = (at: number, length: number) => from.bytes.subarray(at, at + length);
  for (let at = start; at < end; ) {
    const raw = take(at + 4, from.view.getUint32(at, true));
    at += 4 + raw.length;
    const code = Buffer.from(take(at + 2, from.view.getUint16(at, true))).toString();
    at += 2 + code.length;
    const message = take(at + 2, from.view.getUint16(at, true));
    at += 2 + message.length;
    // A newer version may know more codes; the reason stays readable in the message.
    const known = isRowCode(code) ? code : 'bad-json';
    rows.push({ raw, code: known, message: Buffer.from(message).toString() });
  }
  return rows;
}
