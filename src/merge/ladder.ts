// Where an attempt begins (DESIGN §6): optimistic, until keys conflict; a stream that keeps
// conflicting begins at the merge rung, and tries the optimistic one again after a growing number
// of batches.
import type { Rung } from '../target/target.ts';

const pauseMin = 8;
const pauseMax = 1024;

export class Ladder {
  #pause = 0;
  #left = 0;

  /** The rung for the next batch. */
  next(): Rung {
    if (this.#left === 0) return 'optimistic';
    this.#left--;
    return 'merge';
  }

  /** The optimistic rung failed by a key or a row. */
  failed(): void {
    this.#pause = Math.min(Math.max(this.#pause * 2, pauseMin), pauseMax);
    this.#left = this.#pause;
  }

  /**
   * The optimistic rung went through. The pause only shrinks: where some batches conflict and some
   * do not, each vain attempt costs a connection and the batch once more.
   */
  passed(): void {
    this.#pause >>= 1;
  }
}
