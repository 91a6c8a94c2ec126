// Parcels from an accept worker to the core: through the ring, in order, waiting where it is full.
// What would take too much of it goes as a buffer of its own, past those that wait: which of two
// requests comes first is only said of one that was sent after the answer to the other.
import type { Calls } from './calls.ts';
import { type Laid, layParcel, type Parcel } from './parcel.ts';
import { noRoom, RingProducer } from './ring-producer.ts';
import type { RingTurns } from './ring-side.ts';

/** Of the ring, for one parcel. */
const parcelShareMax = 1 / 4;

export class ParcelSender {
  readonly #ring: RingProducer;
  readonly #calls: Calls;
  readonly #waiting: Laid[] = [];

  constructor(ring: SharedArrayBuffer, calls: Calls, turns?: RingTurns) {
    this.#ring = new RingProducer(ring, turns);
    this.#calls = calls;
  }

  send(parcel: Parcel): void {
    const laid = layParcel(parcel);
    if (laid.length > this.#ring.messageBytesMax * parcelShareMax) {
      const bytes = new Uint8Array(laid.length);
      laid.write(bytes, 0);
      this.#calls.give([bytes.buffer], 'parcel', bytes);
      return;
    }
    if (this.#waiting.length === 0 && this.#put(laid)) return;
    if (this.#waiting.push(laid) === 1) void this.#putWaiting();
  }

  #put(laid: Laid): boolean {
    const at = this.#ring.claim(laid.length);
    if (at === noRoom) return false;
    laid.write(this.#ring.bytes, at);
    this.#ring.publish();
    return true;
  }

  async #putWaiting(): Promise<void> {
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      // Where the core is gone, the process is about to end.
      while (!this.#put(next)) if (!(await this.#ring.roomAsync(next.length))) return;
      this.#waiting.shift();
    }
  }
}
