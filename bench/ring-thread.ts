// One thread of bench ring: the producer or the consumer, over a ring or over postMessage. Stays
// between rounds, so that its code is compiled once.
//
// Word 0 of a record is its number; the others come from one of 1,024 records made beforehand. The
// producer copies each in, word by word; the consumer copies each out, checks the number, and adds
// up all words: the sum must be what the producer's is.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { RingConsumer } from '../src/threads/ring-consumer.ts';
import { RingProducer } from '../src/threads/ring-producer.ts';
import type { RingCall, RingRun } from './ring.ts';

const recordBytes = 200;
const recordWords = recordBytes / 4;
/** Records made beforehand, a power of two. */
const sources = 1024;
/** So many messages may be under way by postMessage: its queue has no bound of its own. */
const postedMax = 1_000;

const source = Int32Array.from({ length: sources * recordWords }, (_, i) =>
  Math.imul(i, 0x9e3779b1),
);
const record = new Int32Array(recordWords);

const clockMs = (): number => performance.timeOrigin + performance.now();

function produce({ memory, records, batch }: RingCall): RingRun {
  const producer = new RingProducer(memory);
  const words = new Int32Array(memory);
  let sum = 0;
  const begunMs = clockMs();
  for (let number = 0, unpublished = 0; number < records; ) {
    const offset = producer.claim(recordBytes);
    if (offset < 0) {
      assert(producer.room(recordBytes));
      unpublished = 0;
      continue;
    }
    sum = (sum + copyIn(words, offset >> 2, number++)) | 0;
    if (++unpublished === batch) {
      producer.publish();
      unpublished = 0;
    }
  }
  producer.close();
  return { sum, ms: clockMs(), begunMs };
}

/** Answers with the words' sum. */
function copyIn(to: Int32Array, at: number, number: number): number {
  const from = (number & (sources - 1)) * recordWords;
  to[at] = number;
  for (let i = 1; i < recordWords; i++) to[at + i] = source[from + i] as number;
  return number;
}

function consume({ memory }: RingCall): RingRun {
  const consumer = new RingConsumer(memory);
  const words = new Int32Array(memory);
  let sum = 0;
  let number = 0;
  const begunMs = clockMs();
  while (consumer.wait()) {
    while (consumer.next()) {
      const at = consumer.offset >> 2;
      for (let i = 0; i < recordWords; i++) {
        const word = words[at + i] as number;
        record[i] = word;
        sum = (sum + word) | 0;
      }
      if (record[0] !== number++) throw new Error(`Record ${number - 1} came as ${record[0]}.`);
    }
    consumer.release();
  }
  return { sum, ms: clockMs(), begunMs, };
}
export { produce, consume, copyIn, postedMax, parentPort, once };
export type { MessagePort };
