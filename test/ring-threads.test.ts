// The ring between two threads: every word of every message checked while both sides stall, sleep
// and wake at random, and either thread ended at random moments. `npm run bench -- ring --full`
// does the first with 10^9 messages.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createRing, ringWords } from '../src/threads/ring.ts';
import { RingConsumer } from '../src/threads/ring-consumer.ts';
import { failRing, type SideName } from '../src/threads/ring-side.ts';
import { consumeBatch, type Flow, mixed, type Stalls } from './support/ring-flow.ts';
import { startSide } from './support/ring-threads.ts';

/** Not reached: the thread is ended before. */
const endless = 2 ** 31;

function begin(t: TestContext, memory: SharedArrayBuffer, flow: Omit<Flow, 'told'>) {
  const told = new SharedArrayBuffer(4);
  const producer = startSide('producer', memory, { ...flow, told });
  const consumer = startSide('consumer', memory, { ...flow, told });
  for (const { worker } of [producer, consumer]) t.after(() => worker.terminate());
  return { producer, consumer, told: new Int32Array(told) };
}

interface Shape extends Pick<Flow, 'messages' | 'wordsMax'> {
  readonly capacityBytes: number;
  /** Positions cross this soon: where an int32 changes its sign, or begins anew. */
  readonly crossing: number;
}

const shapes: { readonly [name: string]: Shape } = {
  'a small ring, messages up to all of it': {
    ...{ messages: 6_000, wordsMax: 254 },
    ...{ capacityBytes: 1024, crossing: 2 ** 31 },
  },
  'a ring of 64 KiB, small messages': {
    ...{ messages: 500_000, wordsMax: 16 },
    ...{ capacityBytes: 2 ** 16, crossing: 2 ** 32 },
  },
  'a ring of 1 MiB, large messages': {
    ...{ messages: 800, wordsMax: 2 ** 17 },
    ...{ capacityBytes: 2 ** 20, crossing: 2 ** 32 },
  },
};

for (const stalls of ['none', 'producer', 'consumer', 'both'] satisfies Stalls[]) {
  for (const [name, shape] of Object.entries(shapes)) {
    test(`nothing is lost, doubled, torn or reordered: ${name}, stalls: ${stalls}`, {
      timeout: 120_000,
    }, async (t) => {
      const { messages, wordsMax, capacityBytes, crossing } = shape;
      const memory = createRing({ capacityBytes, startAt: (crossing - 512) | 0 });
      const { producer, consumer } = begin(t, memory, { messages, wordsMax, stalls, seed: 1 });
      const [produced, consumed] = await Promise.all([producer.flown, consumer.flown]);
      assert.equal(produced.messages, messages);
      assert.deepEqual(consumed, { messages, other: 'closed' });
    });
  }
}

/** Until the producer has published so many. */
async function untilTold(told: Int32Array, count: number): Promise<void> {
  while (Atomics.load(told, 0) < count) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** The number of the first message that a dead consumer had not released; its producer lives. */
async function firstOfRest(memory: SharedArrayBuffer): Promise<number> {
  const first = new RingConsumer(memory);
  while (!(first.poll() && first.next())) await new Promise((resolve) => setTimeout(resolve, 1));
  return first.kind;
}

/** Reads all that is left, and answers the number of messages with all before. */
function readRest(memory: SharedArrayBuffer, flow: Pick<Flow, 'wordsMax'>, first: number): number {
  let number = first;
  const rest = new RingConsumer(memory);
  while (rest.poll()) number += consumeBatch(rest, flow, number);
  rest.release();
  return number;
}

const deaths = 3;
for (const dying of ['producer', 'consumer'] satisfies SideName[]) {
  for (const stalls of ['none', 'producer', 'consumer'] satisfies Stalls[]) {
    test(`the ${dying}'s thread is ended at any moment, stalls: ${stalls}`, {
      timeout: 120_000,
    }, async (t) => {
      for (let seed = 1; seed <= deaths; seed++) {
        const memory = createRing({ capacityBytes: 2 ** 14, startAt: -(2 ** 10) });
        const flow = { messages: endless, wordsMax: 64, stalls, seed };
        const { told, ...sides } = begin(t, memory, flow);
        const living = dying === 'producer' ? sides.consumer : sides.producer;
        sides[dying].flown.catch(() => undefined);
        await untilTold(told, 1 + (mixed(seed) & 0x7fff));
        await sides[dying].worker.terminate();
        const first = dying === 'consumer' ? await firstOfRest(memory) : 0;
        failRing(memory, dying);
        const { messages, other } = await living.flown;
        assert.equal(other, 'failed');
        // What is published can be read, by who comes after too.
        if (dying === 'consumer') assert.equal(readRest(memory, flow, first), messages);
        else assert(messages >= Atomics.load(told, 0));
        const words = new Int32Array(memory);
        assert.equal(words[ringWords.released], words[ringWords.published]);
      }
    });
  }
}
