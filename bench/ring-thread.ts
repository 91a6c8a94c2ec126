// One thread of bench ring: the producer or the consumer, over a ring or over postMessage. It stays
// between rounds, so that its code is compiled once.
//
// The first word of a record is its number, the last one makes the exclusive or of all 50 words 0;
// the others come from one of 1,024 records made beforehand. The producer copies each in; the
// consumer copies each out, and reads every word of the copy to check that.
import assert from 'node:assert/strict';
import { type MessagePort, parentPort } from 'node:worker_threads';
import { RingConsumer } from '../src/threads/ring-consumer.ts';
import { noRoom, RingProducer } from '../src/threads/ring-producer.ts';
import type { RingCall } from './ring.ts';

const recordBytes = 200;
const recordWords = recordBytes / 4;
/** Copied eight bytes at a time, which a ring's alignment allows: half the time of four. */
const recordLongs = recordBytes / 8;
/** Records made beforehand, a power of two. */
const sources = 1024;
/** So many records may be under way by postMessage, whose queue has no bound of its own. */
const postedMax = 4096;

const source = Int32Array.from({ length: sources * recordWords }, (_, i) =>
  Math.imul(i, 0x9e3779b1),
);
const sourceLongs = new BigInt64Array(source.buffer);
/** What the words between the first and the last come to. */
const checks = Int32Array.from({ length: sources }, (_, i) =>
  source.subarray(i * recordWords + 1, (i + 1) * recordWords - 1).reduce((all, word) => all ^ word),
);
const copy = new Int32Array(recordWords);
const copyLongs = new BigInt64Array(copy.buffer);

const port = parentPort;
if (!port) throw new Error('This file is the entry of a worker thread.');

function produce({ memory, records, batch }: RingCall): void {
  const producer = new RingProducer(memory);
  const words = new Int32Array(memory);
  const longs = new BigInt64Array(memory);
  for (let number = 0, unpublished = 0; number < records; ) {
    const offset = producer.claim(recordBytes);
    if (offset === noRoom) {
      assert(producer.room(recordBytes));
      unpublished = 0;
      continue;
    }
    const from = number & (sources - 1);
    const to = offset >> 3;
    for (let i = 0; i < recordLongs; i++) {
      longs[to + i] = sourceLongs[from * recordLongs + i] as bigint;
    }
    words[offset >> 2] = number;
    words[(offset >> 2) + recordWords - 1] = (checks[from] as number) ^ number;
    number++;
    if (++unpublished < batch) continue;
    producer.publish();
    unpublished = 0;
  }
  producer.close();
}

function consume({ memory, records }: RingCall): void {
  const consumer = new RingConsumer(memory);
  const longs = new BigInt64Array(memory);
  let number = 0;
  while (consumer.wait()) {
    while (consumer.next()) {
      const from = consumer.offset >> 3;
      for (let i = 0; i < recordLongs; i++) copyLongs[i] = longs[from + i] as bigint;
      checkCopy(number++);
    }
    consumer.release();
  }
  assert.equal(number, records);
}

function checkCopy(number: number): void {
  let all = 0;
  for (let i = 0; i < recordWords; i++) all ^= copy[i] as number;
  if (all !== 0 || copy[0] !== number) throw new Error(`Record ${number} came as ${copy[0]}.`);
}

/** Until all are posted, and read there. */
function post({ records }: RingCall, to: MessagePort): Promise<void> {
  return new Promise((resolve) => {
    let number = 0;
    let read = 0;
    const postSome = (): void => {
      for (; number < records && number - read < postedMax; number++) {
        const from = number & (sources - 1);
        const record = source.slice(from * recordWords, (from + 1) * recordWords);
        record[0] = number;
        record[recordWords - 1] = (checks[from] as number) ^ number;
        to.postMessage(record);
      }
    };
    to.on('message', (count: number) => {
      read = count;
      postSome();
      if (read < records) return;
      to.close();
      resolve();
    });
    postSome();
  });
}

function takePosted({ records }: RingCall, from: MessagePort): Promise<void> {
  return new Promise((resolve) => {
    let number = 0;
    from.on('message', (record: Int32Array) => {
      copy.set(record);
      checkCopy(number++);
      if (number === records || number % (postedMax / 4) === 0) from.postMessage(number);
      if (number === records) resolve();
    });
  });
}

port.on('message', (call: RingCall) => {
  void (async () => {
    const { side, port: between } = call;
    if (between && side === 'producer') await post(call, between);
    else if (between) await takePosted(call, between);
    else if (side === 'producer') produce(call);
    else consume(call);
    port.postMessage('done');
  })();
});
