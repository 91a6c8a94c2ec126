// The rows of a batch as the byte stream of a binary COPY: signature, flags and extension (both 0),
// tuples, end mark. https://www.postgresql.org/docs/18/sql-copy.html#id-1.9.3.55.9.4
// The journal's tuples are PostgreSQL's already: in order they are sent as they lie in memory.
import type { Batch } from '../../merge/batch.ts';

const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

/** Large enough that the calls for each chunk do not count. */
const chunkBytes = 64 * 1024;
/** A run of neighbours at least this long is sent from where it lies; shorter ones are gathered. */
const runBytesMin = 8 * 1024;

/**
 * Collects small pieces into chunks; each chunk is new, since the socket keeps it until written.
 */
export class Gather {
  #chunk = Buffer.allocUnsafe(chunkBytes);
  #length = 0;

  /** A place for `bytes` bytes, and what must be sent before it. */
  *room(bytes: number): Generator<Uint8Array> {
    if (this.#length + bytes <= this.#chunk.length) return;
    yield* this.flush();
    if (bytes > chunkBytes) this.#chunk = Buffer.allocUnsafe(bytes);
  }

  hasRoom(bytes: number): boolean {
    return this.#length + bytes <= this.#chunk.length;
  }

  /** Bytes of which eight, from `at` on, are a number. */
  putNumbered(source: Uint8Array, at: number, value: number): void {
    this.#chunk.set(source, this.#length);
    this.#chunk.writeUInt32BE(Math.floor(value / 2 ** 32), this.#length + at);
    this.#chunk.writeUInt32BE(value % 2 ** 32, this.#length + at + 4);
    this.#length += source.length;
  }

  put(source: Uint8Array, start: number, end: number): void {
    this.#chunk.set(source.subarray(start, end), this.#length);
    this.#length += end - start;
  }

  int32(value: number): void {
    this.#length = this.#chunk.writeInt32BE(value, this.#length);
  }

  int16(value: number): void {
    this.#length = this.#chunk.writeInt16BE(value, this.#length);
  }

  *flush(): Generator<Uint8Array> {
    if (this.#length > 0) yield this.#chunk.subarray(0, this.#length);
    this.#chunk = Buffer.allocUnsafe(chunkBytes);
    this.#length = 0;
  }
}

/** The given rows of the batch, as they are. */
export function* plainRows(batch: Batch, rows: Iterable<number>): Generator<Uint8Array> {
  const { bytes, starts, tupleEnds } = batch;
  const gather = new Gather();
  gather.put(header, 0, header.length);
  let start = 0;
  let end = 0;
  function* send(): Generator<Uint8Array> {
    if (end - start >= runBytesMin) {
      yield* gather.flush();
      yield bytes.subarray(start, end);
    } else {
      yield* gather.room(end - start);
      gather.put(bytes, start, end);
    }
  }
  for (const row of rows) {
    if (starts[row] !== end) {
      yield* send();
      start = starts[row] ?? 0;
    }
    end = tupleEnds[row] ?? 0;
  }
  yield* send();
  yield* gather.flush();
  yield trailer;
}

/** Fields before a row's own. */
export interface Prefix {
  readonly fields: number;
  /** Of all of them, lengths included. */
  readonly bytes: number;
  put(gather: Gather, row: number): void;
}

/** int4 fields: what each of `numbers` says of the row. */
export const numberPrefix = (numbers: readonly Int32Array[]): Prefix => ({
  fields: numbers.length,
  bytes: numbers.length * 8,
  put: (gather, row) => {
    for (const number of numbers) {
      gather.int32(4);
      gather.int32(number[row] ?? 0);
    }
  },
});

/** The given rows, each behind what `prefix` puts before it. */
export function* prefixedRows(
  batch: Batch,
  rows: Iterable<number>,
  prefix: Prefix,
): Generator<Uint8Array> {
  const { bytes, starts, tupleEnds } = batch;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const gather = new Gather();
  gather.put(header, 0, header.length);
  for (const row of rows) {
    const start = starts[row] ?? 0;
    const end = tupleEnds[row] ?? 0;
    const bytesMax = end - start + prefix.bytes;
    if (!gather.hasRoom(bytesMax)) yield* gather.room(bytesMax);
    gather.int16(view.getInt16(start) + prefix.fields);
    prefix.put(gather, row);
    gather.put(bytes, start + 2, end);
  }
  yield* gather.flush();
  yield trailer;
}
