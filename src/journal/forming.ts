// Forms the groups of a journal one after another, in one buffer: each with its number, its place,
// and how far all before it was durable.
import type { Clock } from '../clock.ts';
import { type BlockKind, blockKind, type Position } from './block.ts';
import { formGroup, formNote, GroupBuffer, type GroupPlace } from './group.ts';
import type { CheckpointNote } from './notes.ts';
import type { Waiting, WaitingGroup } from './queue.ts';
import type { Note } from './untold.ts';

export interface FormingParts {
  readonly clock: Clock;
  readonly last: ReadonlyMap<number, Float64Array>;
  /** Up to where the journal is durable. */
  end(): Position;
}

/** What is formed is valid until the next is. */
export class Forming {
  readonly #parts: FormingParts;
  readonly #out = new GroupBuffer();
  /** Of the segment that is written to. */
  salt = 0;
  /** The number of the last group that was written. */
  last = -1;

  constructor(parts: FormingParts) {
    this.#parts = parts;
  }

  place(): GroupPlace {
    const { clock, last } = this.#parts;
    const durable = this.#parts.end();
    const { segment } = durable;
    const wallMs = clock.wallMs();
    return { segment, salt: this.salt, group: this.last + 1, durable, wallMs, last };
  }

  group(taken: readonly Waiting[], notes: readonly Note[]): WaitingGroup {
    const parcels = taken.map(({ parcel }) => parcel);
    return { taken, formed: formGroup(parcels, { ...this.place(), notes }, this.#out) };
  }

  /** A group of one block without rows, in the place of the next group. */
  note(kind: BlockKind, body?: object): Uint8Array {
    return formNote(kind, { ...this.place(), body }, this.#out);
  }

  /** The group that begins a segment; `place` says which. */
  checkpoint(place: GroupPlace, body: CheckpointNote): Uint8Array {
    return formNote(blockKind.checkpoint, { ...place, body }, this.#out);
  }
}
