// What the journal must say beside rows, with the next group or by itself: ids that are new, and
// confirmed positions that went back. Each checkpoint says all of it anew.
import { type BlockKind, blockKind } from './block.ts';
import type { Dictionary } from './dictionary.ts';
import { type Lanes, laneMarks } from './notes.ts';

export interface Note {
  readonly kind: BlockKind;
  readonly body: object;
}

const nothing: readonly Note[] = [];

export class Untold {
  readonly #dictionary: Dictionary;
  readonly #confirmed: Lanes;
  /** Whether the last checkpoint may say that more is confirmed than is. */
  hasFallen = false;

  constructor(dictionary: Dictionary, confirmed: Lanes) {
    this.#dictionary = dictionary;
    this.#confirmed = confirmed;
  }

  /** To be put first; a mark with a body is one of these. */
  get notes(): readonly Note[] {
    const { untold } = this.#dictionary;
    const fallen = this.fallen;
    if (!untold && !fallen) return nothing;
    const all = fallen ? [{ kind: blockKind.mark, body: fallen }] : [];
    return untold ? [...all, { kind: blockKind.dictionary, body: untold }] : all;
  }

  get fallen(): object | undefined {
    return this.hasFallen ? laneMarks(this.#confirmed) : undefined;
  }

  /** All of it stands in the group that is being written, or in a checkpoint. */
  told(): void {
    this.#dictionary.told();
    this.hasFallen = false;
  }
}

/** No more than this many bytes are needed for these notes. */
export const notesBytesBound = (notes: readonly Note[]): number =>
  notes.reduce((sum, { body }) => sum + 128 + JSON.stringify(body).length * 4, 0);
