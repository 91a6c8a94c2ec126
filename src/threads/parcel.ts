// A decoded request as it goes from an accept worker to the core: through the ring, or, where it is
// too long for that, as a buffer of its own. Little-endian, as the machine.
//
// | offset | bytes    | what                                                        |
// | ------ | -------- | ----------------------------------------------------------- |
// | 0      | 4        | rows, n                                                     |
// | 4      | 4        | bytes of the tuples                                         |
// | 8      | 4        | bytes of the note                                           |
// | 12     | 4        | bytes of undecoded lines                                    |
// | 16     | 4 n      | where each tuple ends                                       |
// |        | 2 n, 2 n | the column set of each row, its lane                        |
// |        | …        | the note (JSON); undecoded lines, back to back; the tuples  |
import { RowBuffer } from '../accept/row-buffer.ts';
import type { Rejection, RowCode } from '../errors.ts';
import type { DecodedFor, KeyedBy } from '../writing.ts';

/** What a parcel says beside its rows. */
interface Note extends Partial<KeyedBy> {
  /** Of the call that awaits the answer. */
  readonly id: number;
  readonly stream: string;
  readonly table: number;
  readonly columnSets: RowBuffer['columnSets'];
  readonly rejected: readonly Rejection[];
  readonly undecoded: readonly {
    readonly bytes: number;
    readonly code: RowCode;
    readonly message: string;
  }[];
}

export interface Parcel {
  readonly id: number;
  readonly stream: string;
  readonly decoded: DecodedFor & Partial<KeyedBy>;
}

const headBytes = 16;
const rowBytes = 8;

/** A parcel laid out: its length, and how to write it. */
export interface Laid {
  readonly length: number;
  /** Writes it into `bytes` from `at` on, a multiple of 4. */
  write(bytes: Uint8Array, at: number): void;
}

export function layParcel({ id, stream, decoded }: Parcel): Laid {
  const { rows, table, undecoded, rejected, key, digest } = decoded;
  const lines = undecoded.map(({ raw, code, message }) => ({ bytes: raw.length, code, message }));
  const { columnSets, count, length: tupleBytes } = rows;
  const shared = { id, stream, table, columnSets, rejected, undecoded: lines };
  const keyed = key === undefined ? {} : { key, digest };
  const note = Buffer.from(JSON.stringify({ ...shared, ...keyed }));
  const lineBytes = lines.reduce((n, line) => n + line.bytes, 0);
  const write = (bytes: Uint8Array, begin: number): void => {
    const { buffer, byteOffset } = bytes;
    let at = byteOffset + begin;
    new Int32Array(buffer, at, 4).set([count, tupleBytes, note.length, lineBytes]);
    at += headBytes;
    new Int32Array(buffer, at, count).set(rows.ends.subarray(0, count));
    at += 4 * count;
    new Uint16Array(buffer, at, count).set(rows.sets.subarray(0, count));
    at += 2 * count;
    new Uint16Array(buffer, at, count).set(rows.lanes.subarray(0, count));
    at += 2 * count - byteOffset;
    for (const part of [note, ...undecoded.map(({ raw }) => raw)]) {
      bytes.set(part, at);
      at += part.length;
    }
    bytes.set(rows.bytes.subarray(0, tupleBytes), at);
  };
  return { length: headBytes + rowBytes * count + note.length + lineBytes + tupleBytes, write };
}

/** The parcel at `begin`; its rows are views into `bytes`, the rest is its own. */
export function readParcel(bytes: Uint8Array, begin: number): Parcel {
  const { buffer, byteOffset } = bytes;
  let at = byteOffset + begin;
  const [count = 0, tupleBytes = 0, noteBytes = 0] = new Int32Array(buffer, at, 4);
  at += headBytes;
  const ends = new Int32Array(buffer, at, count);
  at += 4 * count;
  const sets = new Uint16Array(buffer, at, count);
  at += 2 * count;
  const lanes = new Uint16Array(buffer, at, count);
  at += 2 * count;
  const note = JSON.parse(Buffer.from(buffer, at, noteBytes).toString()) as Note;
  at += noteBytes - byteOffset;
  const undecoded = note.undecoded.map(({ bytes: length, code, message }) => {
    const raw = bytes.slice(at, at + length);
    at += length;
    return { raw, code, message };
  });
  const { id, stream, table, columnSets, rejected, key, digest } = note;
  const tuples = bytes.subarray(at, at + tupleBytes);
  const rows = RowBuffer.over({ bytes: tuples, count, ends, sets, lanes, columnSets });
  const keyed = key === undefined || digest === undefined ? {} : { key, digest };
  return { id, stream, decoded: { rows, table, undecoded, rejected, ...keyed } };
}
