// What flows through a ring under test: messages whose length and content follow from their number,
// so that each end alone knows what the other should have sent; and both ends' loops, with stalls.
import assert from 'node:assert/strict';
import type { RingConsumer } from '../../src/threads/ring-consumer.ts';
import { noRoom, type RingProducer } from '../../src/threads/ring-producer.ts';
import type { Presence } from '../../src/threads/ring-side.ts';

/** Where a side stalls now and then, so that the other one waits, and sleeps. */
export type Stalls = 'none' | 'producer' | 'consumer' | 'both';

export interface Flow {
  readonly messages: number;
  /** The longest content, 4-byte words. */
  readonly wordsMax: number;
  readonly stalls: Stalls;
  readonly seed: number;
  /** Int32: how many messages the producer has published for certain. */
  readonly told: SharedArrayBuffer;
}

export interface Flown {
  /** Messages published or read. */
  readonly messages: number;
  /** What was seen of the other side at the end. */
  readonly other: Presence;
}

/** A well-mixed 32-bit number for each (murmur3's finalizer). */
export function mixed(number: number): number {
  let x = Math.imul(number ^ (number >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
}

const wordsOf = (number: number, wordsMax: number): number =>
  (mixed(number) >>> 1) % (wordsMax + 1);

/** Word `i` of a message: torn or stale, it would be another one's. */
const wordAt = (number: number, i: number): number => (Math.imul(number, 0x9e3779b1) + i) | 0;

/** Stalls one time in a hundred: spins, or sleeps so long that the other side sleeps too. */
class Staller {
  readonly #isOn: boolean;
  #state: number;
  readonly #cell = new Int32Array(new SharedArrayBuffer(4));

  constructor(isOn: boolean, seed: number) {
    this.#isOn = isOn;
    this.#state = seed;
  }

  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    return mixed(this.#state) >>> 1;
  }

  mayStall(): void {
    if (!this.#isOn) return;
    const drawn = this.next() & 0x3ff;
    if (drawn < 2) Atomics.wait(this.#cell, 0, 0, 1);
    else if (drawn < 8) for (let i = 0; i < drawn * 5_000; i++) Atomics.load(this.#cell, 0);
  }
}

export async function produce(producer: RingProducer, flow: Flow): Promise<Flown> {
  const { messages, wordsMax, stalls, seed } = flow;
  const words = new Int32Array(producer.bytes.buffer);
  const told = new Int32Array(flow.told);
  const staller = new Staller(stalls === 'producer' || stalls === 'both', seed);
  let number = 0;
  for (let left = 1; number < messages; ) {
    const count = wordsOf(number, wordsMax);
    const offset = producer.claim(count * 4, number | 0);
    if (offset === noRoom) {
      // Both ways to wait, by turns.
      const waits = staller.next() & 1;
      const isHere = waits ? producer.room(count * 4) : await producer.roomAsync(count * 4);
      Atomics.store(told, 0, number);
      if (!isHere) break;
      continue;
    }
    for (let i = 0, at = offset >> 2; i < count; i++) words[at + i] = wordAt(number, i);
    number++;
    if (--left > 0) continue;
    producer.publish();
    Atomics.store(told, 0, number);
    left = 1 + (staller.next() & 63);
    staller.mayStall();
  }
  producer.close();
  return { messages: number, other: producer.consumer };
}

export async function consume(consumer: RingConsumer, flow: Flow): Promise<Flown> {
  const { stalls, seed } = flow;
  const staller = new Staller(stalls === 'consumer' || stalls === 'both', ~seed);
  let number = 0;
  while (staller.next() & 1 ? consumer.wait() : await consumer.waitAsync()) {
    number += consumeBatch(consumer, flow, number);
    consumer.release();
    staller.mayStall();
  }
  return { messages: number, other: consumer.producer };
}

/** Checks all messages of a batch, of which the first has this number; answers how many. */
export function consumeBatch(
  consumer: RingConsumer,
  { wordsMax }: Pick<Flow, 'wordsMax'>,
  first: number,
): number {
  const words = new Int32Array(consumer.bytes.buffer);
  let number = first;
  for (; consumer.next(); number++) {
    const count = wordsOf(number, wordsMax);
    let wrong = (consumer.kind ^ number) | (consumer.length ^ (count * 4));
    for (let i = 0, at = consumer.offset >> 2; i < count; i++) {
      wrong |= (words[at + i] ?? 0) ^ wordAt(number, i);
    }
    if (wrong !== 0) assert.fail(`Message ${number}: ${consumer.kind}, ${consumer.length} bytes.`);
  }
  return number - first;
}
