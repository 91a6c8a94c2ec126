// The parcels that wait for the next group, in the order in which they came.
import type { HoldfastError } from '../errors.ts';
import type { FormedGroup, Parcel, Placed } from './group.ts';

export interface Waiting {
  readonly parcel: Parcel;
  /** No more than this is needed to journal it alone. */
  readonly bytesBound: number;
  readonly resolve: (placed: Placed) => void;
  readonly reject: (error: HoldfastError) => void;
}

/** What goes to the disk by one write and one sync, and who waits for it. */
export interface WaitingGroup {
  readonly taken: readonly Waiting[];
  readonly formed: FormedGroup;
}

/** Request ids leave room for this many in a group. */
const parcelsMax = 65_535;

export class Queue {
  #waiting: Waiting[] = [];
  /** Bytes of the rows that wait, or are on their way to the disk. */
  bytes = 0;

  get length(): number {
    return this.#waiting.length;
  }

  push(waiting: Waiting): void {
    this.#waiting.push(waiting);
    this.bytes += waiting.parcel.rows.length;
  }

  /** Takes what the next group can hold, and at least one parcel. */
  take(groupBytesMax: number): { readonly taken: readonly Waiting[]; readonly bytes: number } {
    let bytes = 0;
    let count = 0;
    for (const { bytesBound } of this.#waiting) {
      if (count > 0 && bytes + bytesBound > groupBytesMax) break;
      if (count === parcelsMax) break;
      bytes += bytesBound;
      count++;
    }
    return { taken: this.#waiting.splice(0, count), bytes };
  }

  /** They come first again. */
  putBack(taken: readonly Waiting[]): void {
    this.#waiting.unshift(...taken);
  }

  /** They are on the disk, or never will be. */
  done(taken: readonly Waiting[]): void {
    for (const { parcel } of taken) this.bytes -= parcel.rows.length;
  }

  /** Nobody waits any more. */
  reject(error: HoldfastError): void {
    const refused = this.#waiting;
    this.#waiting = [];
    this.done(refused);
    for (const waiting of refused) waiting.reject(error);
  }
}
