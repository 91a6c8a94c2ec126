// Row buffers that are used again, one request or part of a load after another. Made anew for each
// they cost zeroing, page faults, and collections that the bytes outside of the heap bring about
// (docs/performance.md).
import { RowBuffer } from './row-buffer.ts';

/** What is kept while nobody uses it. */
export interface SparesBound {
  readonly count: number;
  /** Of each. */
  readonly bytesMax: number;
}

const bodiesBound: SparesBound = { count: 16, bytesMax: 256 * 1024 };

export class SpareRows {
  readonly #bound: SparesBound;
  readonly #spares: RowBuffer[] = [];
  readonly #lent = new Set<RowBuffer>();

  constructor(bound = bodiesBound) {
    this.#bound = bound;
  }

  /** Empty, with room for about so much. To be given back when nobody reads it any more. */
  take(bytes: number, rows: number): RowBuffer {
    const spare = this.#spares.pop();
    spare?.reserve(0, bytes);
    const buffer = spare ?? new RowBuffer(bytes, rows);
    this.#lent.add(buffer);
    return buffer;
  }

  /** A buffer that was not taken here, or was given back before, is left as it is. */
  give(buffer: RowBuffer): void {
    if (!this.#lent.delete(buffer)) return;
    const { count, bytesMax } = this.#bound;
    if (this.#spares.length === count || buffer.bytes.length > bytesMax) return;
    buffer.clear();
    this.#spares.push(buffer);
  }
}
