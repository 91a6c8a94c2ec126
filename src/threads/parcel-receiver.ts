// Parcels of one accept worker, on the core's side. Their rows stay in the ring until they are
// journaled or refused, so a full ring is back-pressure on the worker.
import { type Parcel, readParcel } from './parcel.ts';
import { RingConsumer } from './ring-consumer.ts';
import type { RingTurns } from './ring-side.ts';

interface InHand {
  /** The ring's position behind it. */
  readonly position: number;
  isDone: boolean;
}

export class ParcelReceiver {
  readonly #ring: RingConsumer;
  readonly #take: (parcel: Parcel) => Promise<void>;
  /** In the order of their coming, which is the order in which room is given back. */
  readonly #inHand: InHand[] = [];

  /** `take` resolves when the rows of the parcel are not needed any more; it never rejects. */
  constructor(ring: SharedArrayBuffer, take: (parcel: Parcel) => Promise<void>, turns?: RingTurns) {
    this.#ring = new RingConsumer(ring, turns);
    this.#take = take;
  }

  /** Takes what comes until the worker has ended. */
  async run(): Promise<void> {
    while (await this.#ring.waitAsync()) {
      while (this.#ring.next()) void this.#takeOne();
    }
  }

  async #takeOne(): Promise<void> {
    const own: InHand = { position: this.#ring.position, isDone: false };
    this.#inHand.push(own);
    await this.#take(readParcel(this.#ring.bytes, this.#ring.offset));
    own.isDone = true;
    if (this.#inHand[0] === own) this.#release();
  }

  #release(): void {
    const count = this.#inHand.findIndex(({ isDone }) => !isDone);
    const done = this.#inHand.splice(0, count < 0 ? this.#inHand.length : count);
    const last = done.at(-1);
    if (last) this.#ring.release(last.position);
  }
}
