// The reading side of a ring (ring.ts). One thread has it:
//
//     while (consumer.wait()) {            // or: await consumer.waitAsync()
//       while (consumer.next()) use(consumer.view());
//       consumer.release();
//     }
//
// A message is read where it lies. Its bytes stay until it is released, in the order of reading;
// from then on the producer may write over them, so what is needed longer is copied first.
import assert from 'node:assert/strict';
import { HoldfastError } from '../errors.ts';
import { messageHeadBytes, openRing, ringBegin, ringWords, wrapMark } from './ring.ts';
import { type Presence, RingSide, type RingTurns } from './ring-side.ts';

/** Of the ring, for one batch: so that room comes back while the next batch is read. */
const batchShareMax = 1 / 8;

export class RingConsumer {
  /** All of the ring's memory. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** The message that `next` stepped on: where its content begins in `bytes`, a multiple of 8. */
  offset = 0;
  length = 0;
  kind = 0;
  readonly #words: Int32Array;
  readonly #side: RingSide;
  readonly #capacity: number;
  readonly #mask: number;
  /** Positions: all before has been read; the end of the last message, before a mark. */
  #position: number;
  #messageEnd: number;
  #released: number;
  /**
   * The batch ends with the message that reaches this. The producer's position is read again only
   * by the next `poll`.
   */
  #gate: number;

  constructor(memory: SharedArrayBuffer, turns?: RingTurns) {
    const { words, capacity } = openRing(memory);
    this.bytes = new Uint8Array(memory);
    this.#words = words;
    this.#side = new RingSide(words, 'consumer', turns);
    this.#capacity = capacity;
    this.#mask = capacity - 1;
    this.#released = Atomics.load(words, ringWords.released);
    this.#position = this.#released;
    this.#messageEnd = this.#released;
    this.#gate = this.#released;
  }

  /** The producer: where it is not `here`, what is in the ring can still be read. */
  get producer(): Presence {
    return this.#side.other;
  }

  /** All up to and with the message last stepped on, for `release`. */
  get position(): number {
    return this.#messageEnd;
  }

  /**
   * Takes what has been published as the next batch. False: nothing. A batch may turn out to hold
   * no message, only a mark.
   */
  poll(): boolean {
    const published = Atomics.load(this.#words, ringWords.published);
    const bytes = (published - this.#position) | 0;
    if (bytes === 0) return false;
    this.#gate = (this.#position + Math.min(bytes, this.#capacity * batchShareMax)) | 0;
    return true;
  }

  /** Steps on the next message of the batch. False: the batch is at its end. */
  next(): boolean {
    while (((this.#gate - this.#position) | 0) > 0) {
      const at = this.#position & this.#mask;
      const word = (ringBegin + at) >> 2;
      const length = this.#words[word] ?? 0;
      if (length === wrapMark) {
        this.#passMark(this.#capacity - at);
        continue;
      }
      // Masked, what cannot be a length is not itself: someone else wrote into the ring.
      if ((length & this.#mask) !== length)
        throw new HoldfastError('HF_BUG', `No length: ${length}.`);
      this.length = length;
      this.kind = this.#words[word + 1] ?? 0;
      this.offset = ringBegin + at + messageHeadBytes;
      this.#position = (this.#position + ((length + messageHeadBytes + 7) & -8)) | 0;
      this.#messageEnd = this.#position;
      return true;
    }
    return false;
  }

  /** The content of the message stepped on: shared memory, good until it is released. */
  view(): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.bytes.buffer, this.offset, this.length);
  }

  /** Gives back all that was read, or all up to a `position` that was taken on the way. */
  release(upTo = this.#messageEnd): void {
    // A mark behind it holds nothing that anyone would release.
    const position = upTo === this.#messageEnd ? this.#position : upTo;
    const isAhead = ((position - this.#released) | 0) >= 0;
    assert(isAhead && ((this.#position - position) | 0) >= 0, 'Released what was not read.');
    this.#released = position;
    Atomics.store(this.#words, ringWords.released, position);
    this.#side.wakeOther();
  }

  /** Blocks the thread until `poll`. False: all is read, and the producer has gone. */
  wait(): boolean {
    return this.#side.wait(() => this.poll());
  }

  /** The same for a thread with an event loop. */
  waitAsync(): Promise<boolean> {
    return this.#side.waitAsync(() => this.poll());
  }

  /** Reads no more: the producer is told that there is no room any more. */
  close(): void {
    this.#side.close();
  }

  #passMark(bytes: number): void {
    const isAllReleased = this.#released === this.#messageEnd;
    this.#position = (this.#position + bytes) | 0;
    if (isAllReleased) this.release();
  }
}
