// The rows of a batch as the byte stream of a binary COPY: signature, flags and extension (both 0),
// tuples, end mark. https://www.postgresql.org/docs/18/sql-copy.html#id-1.9.3.55.9.4
// The journal's tuples are PostgreSQL's already: in order they are sent as they lie in memory.
import type { Batch } from '../../merge/batch.ts';

const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
const trailer = Buffer.from([0xff, 0xff]);

/** Large enough that the calls for each chunk do not count. */
const chunkBytes = 64 * 1024;
/** Kept from one COPY to the next. */
const keptChunksMax = 32;
/** A run of neighbours at least this long is sent from where it lies; shorter ones are gathered. */
const runBytesMin = 8 * 1024;
/** Up to here copying eight bytes at a time is faster than a call (docs/performance.md). */
const wordsBytesMax = 160;

/**
 * The memory of a connection's COPYs. The socket keeps a chunk until it is written: a chunk is free
 * again once the server has answered the COPY whose bytes it holds, for then it has read them.
 */
export class Chunks {
  readonly #free: Buffer[] = [];
  #lent: Buffer[] = [];

  lend(bytes = chunkBytes): Buffer {
    const chunk = bytes <= chunkBytes ? this.#free.pop() : undefined;
    if (chunk) {
      this.#lent.push(chunk);
      return chunk;
    }
    const made = Buffer.allocUnsafeSlow(Math.max(bytes, chunkBytes));
    if (made.length === chunkBytes) this.#lent.push(made);
    return made;
  }

  /** The COPY was answered. */
  answered(): void {
    this.#free.push(...this.#lent.slice(0, keptChunksMax - this.#free.length));
    this.#lent = [];
  }

  /** The COPY was broken off: who knows when the socket lets go of its chunks. */
  forget(): void {
    this.#lent = [];
  }
}

/** Collects pieces of a batch's bytes into chunks. */
export class Gather {
  readonly #source: Buffer;
  readonly #sourceView: DataView;
  readonly #chunks: Chunks;
  #chunk: Buffer;
  #view: DataView;
  #length = 0;

  constructor(source: Uint8Array, chunks: Chunks) {
    this.#source = Buffer.from(source.buffer, source.byteOffset, source.byteLength);
    this.#sourceView = new DataView(source.buffer, source.byteOffset, source.byteLength);
    this.#chunks = chunks;
    this.#chunk = chunks.lend();
    this.#view = viewOf(this.#chunk);
  }

  hasRoom(bytes: number): boolean {
    return this.#length + bytes <= this.#chunk.length;
  }

  get gathered(): Uint8Array {
    return this.#chunk.subarray(0, this.#length);
  }

  /** What was gathered; goes on in a new chunk that has room for `bytes` bytes. */
  take(bytes = 0): Uint8Array {
    const { gathered } = this;
    this.#chunk = this.#chunks.lend(bytes);
    this.#view = viewOf(this.#chunk);
    this.#length = 0;
    return gathered;
  }

  /** Bytes from elsewhere. */
  putBytes(bytes: Uint8Array): void {
    this.#chunk.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** Bytes of which eight, from `at` on, are a number. */
  putNumbered(bytes: Uint8Array, at: number, value: number): void {
    this.#chunk.set(bytes, this.#length);
    this.#view.setUint32(this.#length + at, Math.floor(value / 2 ** 32));
    this.#view.setUint32(this.#length + at + 4, value % 2 ** 32);
    this.#length += bytes.length;
  }

  /**
   * Bytes of the source. `subarray` would make an object a row, for the collector. A BigInt that
   * only goes from view to view is a 64-bit register to the compiler; the last eight bytes are
   * copied from their end backwards, over what is there already.
   */
  put(start: number, end: number): void {
    const length = end - start;
    if (length > wordsBytesMax || length < 8) {
      this.#source.copy(this.#chunk, this.#length, start, end);
    } else {
      const from = this.#sourceView;
      const to = this.#view;
      const last = end - 8;
      let at = this.#length;
      for (let i = start; i < last; i += 8, at += 8) {
        to.setBigUint64(at, from.getBigUint64(i, true), true);
      }
      to.setBigUint64(this.#length + length - 8, from.getBigUint64(last, true), true);
    }
    this.#length += length;
  }

  int32(value: number): void {
    this.#view.setInt32(this.#length, value);
    this.#length += 4;
  }

  int16(value: number): void {
    this.#view.setInt16(this.#length, value);
    this.#length += 2;
  }
}

const viewOf = (bytes: Buffer): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** The given rows of the batch, as they are. */
export function* plainRows(batch: Batch, rows: Int32Array, chunks: Chunks): Generator<Uint8Array> {
  const { bytes, starts, tupleEnds } = batch;
  const gather = new Gather(bytes, chunks);
  gather.putBytes(header);
  for (let i = 0; i < rows.length; ) {
    const first = rows[i] ?? 0;
    const start = starts[first] ?? 0;
    let end = tupleEnds[first] ?? 0;
    // Rows that lie behind each other go as one piece.
    for (i++; i < rows.length; i++) {
      const row = rows[i] ?? 0;
      if (starts[row] !== end) break;
      end = tupleEnds[row] ?? 0;
    }
    if (end - start < runBytesMin) {
      if (!gather.hasRoom(end - start)) yield gather.take();
      gather.put(start, end);
    } else {
      if (gather.gathered.length > 0) yield gather.take();
      yield bytes.subarray(start, end);
    }
  }
  if (!gather.hasRoom(trailer.length)) yield gather.take();
  gather.putBytes(trailer);
  yield gather.gathered;
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
  rows: Int32Array,
  { prefix, chunks }: { readonly prefix: Prefix; readonly chunks: Chunks },
): Generator<Uint8Array> {
  const { bytes, starts, tupleEnds } = batch;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const gather = new Gather(bytes, chunks);
  gather.putBytes(header);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] ?? 0;
    const start = starts[row] ?? 0;
    const end = tupleEnds[row] ?? 0;
    const room = end - start + prefix.bytes;
    if (!gather.hasRoom(room)) yield gather.take(room);
    gather.int16(view.getInt16(start) + prefix.fields);
    prefix.put(gather, row);
    gather.put(start + 2, end);
  }
  if (!gather.hasRoom(trailer.length)) yield gather.take();
  gather.putBytes(trailer);
  yield gather.gathered;
}
