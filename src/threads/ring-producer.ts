// The writing side of a ring (ring.ts). One thread has it.
//
// A message is claimed, written at the place that `claim` gave, and published; several may be
// claimed and written before one `publish`, which is dearer than the rest: a store that the other
// core must see. Nothing is ever dropped: where there is no room `claim` says so, and `room` or
// `roomAsync` waits for it.
import assert from 'node:assert/strict';
import { HoldfastError } from '../errors.ts';
import { messageHeadBytes, openRing, ringBegin, ringWords, wrapMark } from './ring.ts';
import { type Presence, RingSide, type RingTurns } from './ring-side.ts';

/** Answer of `claim` where there is no room. */
export const noRoom = -1;

export class RingProducer {
  /** All of the ring's memory; `claim` answers with a place in it, a multiple of 8. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly #words: Int32Array;
  readonly #side: RingSide;
  readonly #capacity: number;
  readonly #mask: number;
  /** Positions: all before has been claimed, published. */
  #claimed: number;
  #published: number;
  /**
   * Bytes free as far as is known. The consumer's position is read again only when this is used
   * up: once a lap or so, not once a message.
   */
  #room = 0;

  constructor(memory: SharedArrayBuffer, turns?: RingTurns) {
    const { words, capacity } = openRing(memory);
    this.bytes = new Uint8Array(memory);
    this.#words = words;
    this.#side = new RingSide(words, 'producer', turns);
    this.#capacity = capacity;
    this.#mask = capacity - 1;
    this.#published = Atomics.load(words, ringWords.published);
    this.#claimed = this.#published;
  }

  /** The longest message that this ring can carry, in bytes. */
  get messageBytesMax(): number {
    return this.#capacity - messageHeadBytes;
  }

  /** The consumer: where it is not `here`, there is no room any more. */
  get consumer(): Presence {
    return this.#side.other;
  }

  /**
   * Room for a message of `length` bytes: the offset in `bytes` at which to write its content, or
   * `noRoom`. Written before the next `publish`; until then the consumer does not see it. Throws
   * HF_TOO_LARGE where it could never fit.
   */
  claim(length: number, kind = 0): number {
    const size = (length + messageHeadBytes + 7) & -8;
    let at = this.#claimed & this.#mask;
    // Masked, a length that is negative, broken or beyond the ring is not itself.
    const isLength = (length & this.#mask) === length;
    if (!isLength || size > this.#room || at + size > this.#capacity) {
      if (!this.#makeRoom(length)) return noRoom;
      at = this.#claimed & this.#mask;
    }
    const word = (ringBegin + at) >> 2;
    this.#words[word] = length;
    this.#words[word + 1] = kind;
    this.#claimed = (this.#claimed + size) | 0;
    this.#room -= size;
    return ringBegin + at + messageHeadBytes;
  }

  /** Shows the consumer all that has been claimed; it must have been written. */
  publish(): void {
    this.#published = this.#claimed;
    // Sequentially consistent: what was written before is seen by whoever sees this.
    Atomics.store(this.#words, ringWords.published, this.#published);
    // Nobody reads any more: the next claim looks, and finds it.
    if (!this.#side.wakeOther()) this.#room = 0;
  }

  /**
   * Publishes, then blocks the thread until a message of `length` bytes can be claimed. False: the
   * consumer has gone.
   */
  room(length: number): boolean {
    this.publish();
    return this.#side.wait(() => this.#makeRoom(length)) && this.consumer === 'here';
  }

  /** The same for a thread with an event loop. */
  async roomAsync(length: number): Promise<boolean> {
    this.publish();
    const isReady = await this.#side.waitAsync(() => this.#makeRoom(length));
    return isReady && this.consumer === 'here';
  }

  /** Publishes, and ends: the consumer reads what is there, then learns of it. */
  close(): void {
    this.publish();
    this.#side.close();
  }

  /** Looks where the consumer is, and goes on at the ring's start where the rest is too short. */
  #makeRoom(length: number): boolean {
    assert(length >= 0 && Number.isInteger(length), `A length of ${length} bytes.`);
    if (length > this.messageBytesMax) {
      const text = `A message of ${length} bytes is longer than a ring carries`;
      throw new HoldfastError('HF_TOO_LARGE', `${text}, ${this.messageBytesMax} bytes.`);
    }
    const size = (length + messageHeadBytes + 7) & -8;
    const released = Atomics.load(this.#words, ringWords.released);
    this.#room = this.#capacity - ((this.#claimed - released) | 0);
    const at = this.#claimed & this.#mask;
    const rest = this.#capacity - at;
    if (size > rest && rest <= this.#room) this.#wrap(at, rest);
    const isFitting = size <= this.#room && (size <= rest || (this.#claimed & this.#mask) === 0);
    if (!isFitting || this.consumer === 'here') return isFitting;
    this.#room = 0;
    return false;
  }

  /**
   * Published at once where nothing else is claimed: for a message longer than half of the ring
   * there is room only when the consumer has passed the mark.
   */
  #wrap(at: number, rest: number): void {
    const isAlone = this.#claimed === this.#published;
    this.#words[(ringBegin + at) >> 2] = wrapMark;
    this.#claimed = (this.#claimed + rest) | 0;
    this.#room -= rest;
    if (isAlone) this.publish();
  }
}
