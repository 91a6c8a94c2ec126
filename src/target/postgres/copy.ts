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
class Gather {
  #chunk = Buffer.allocUnsafe(chunkBytes);
  #length = 0;

  /** A place for `bytes` bytes, and what must be sent before it. */
  *room(bytes: number): Generator<Uint8Array> {
    if (this.#length + bytes <= this.#chunk.length) return;
    yield* this.flush();
    if (bytes > chunkBytes) this.#chunk = Buffer.allocUnsafe(bytes);
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

/** The same with int4 fields before the row's own: what `numbers` says of the row. */
export function* numberedRows(
  batch: Batch,
  rows: Iterable<number>,
  numbers: readonly Int32Array[],
): Generator<Uint8Array> {
  const { bytes, starts, tupleEnds } = batch;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const gather = new Gather();
  gather.put(header, 0, header.length);
  for (const row of rows) {
    const start = starts[row] ?? 0;
    const end = tupleEnds[row] ?? 0;
    yield* gather.room(end - start + numbers.length * 8);
    gather.int16(view.getInt16(start) + numbers.length);
    for (const number of numbers) {
      gather.int32(4);
      gather.int32(number[row] ?? 0);
    }
    gather.put(bytes, start + 2, end);
  }
  yield* gather.flush();
  yield trailer;
}
