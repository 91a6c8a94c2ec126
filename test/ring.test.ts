// The ring in one thread: any order of calls against a plain queue, and every place at which the
// other side may act while this one goes to sleep or wakes it. Threads: ring-threads.test.ts.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import fc from 'fast-check';
import { createRing, messageHeadBytes, ringWords } from '../src/threads/ring.ts';
import { RingConsumer } from '../src/threads/ring-consumer.ts';
import { noRoom, RingProducer } from '../src/threads/ring-producer.ts';
import { failRing } from '../src/threads/ring-side.ts';
import { mixed } from './support/ring-flow.ts';

type Step =
  | { readonly do: 'claim'; readonly share: number }
  | { readonly do: 'publish' | 'poll' | 'next' | 'release' }
  | { readonly do: 'release some'; readonly share: number };

interface Message {
  readonly number: number;
  readonly offset: number;
  readonly length: number;
  /** Once it has been read. */
  readonly position: number;
}

const share = fc.double({ min: 0, max: 1, noNaN: true });
const plain = fc.constantFrom('publish', 'poll', 'next', 'next', 'next', 'release');
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: share.map((s): Step => ({ do: 'claim', share: s ** 3 })) },
    { weight: 6, arbitrary: plain.map((name): Step => ({ do: name })) },
    { weight: 1, arbitrary: share.map((s): Step => ({ do: 'release some', share: s })) },
  ),
  { maxLength: 200, size: 'max' },
);
const rings = fc.record({
  capacityBytes: fc.constantFrom(64, 128, 256, 1024),
  // At 0, and before the places where an int32 changes its sign and where it begins anew.
  startAt: fc
    .tuple(fc.constantFrom(0, 2 ** 31, 2 ** 32), fc.integer({ min: 0, max: 40 }))
    .map(([at, before]) => (at - before * 8) | 0),
});

/** A ring beside three plain queues: what was claimed, published, and read, in order. */
class Model {
  readonly memory: SharedArrayBuffer;
  readonly producer: RingProducer;
  readonly consumer: RingConsumer;
  readonly words: Int32Array;
  readonly claimed: Message[] = [];
  readonly published: Message[] = [];
  readonly read: Message[] = [];
  readonly capacity: number;
  readonly startAt: number;
  number = 0;

  constructor(options: { readonly capacityBytes: number; readonly startAt: number }) {
    this.memory = createRing(options);
    this.producer = new RingProducer(this.memory);
    this.consumer = new RingConsumer(this.memory);
    this.words = new Int32Array(this.memory);
    this.capacity = options.capacityBytes;
    this.startAt = options.startAt;
  }

  take(step: Step): void {
    if (step.do === 'claim') this.claim(Math.floor(step.share * (this.capacity + 8)));
    else if (step.do === 'publish') this.publish();
    else if (step.do === 'poll') this.poll();
    else if (step.do === 'next') this.next();
    else if (step.do === 'release some') this.release(Math.floor(step.share * this.read.length));
    else this.release(this.read.length);
    const used = this.position('published') - this.position('released');
    assert(used >= 0 && used <= this.capacity);
  }

  /** Positions of this short life, without their wrap. */
  position(name: 'published' | 'released'): number {
    return (this.startAt >>> 0) + (((this.words[ringWords[name]] ?? 0) - this.startAt) >>> 0);
  }

  claim(length: number): boolean {
    if (length > this.producer.messageBytesMax) {
      assert.throws(() => this.producer.claim(length), { code: 'HF_TOO_LARGE' });
      return false;
    }
    const offset = this.producer.claim(length, ~this.number);
    if (offset === noRoom) return false;
    this.claimed.push({ number: this.number++, offset, length, position: 0 });
    return true;
  }

  /** Content is written as late as may be: nobody may look at it before. */
  publish(): void {
    for (const { number, offset, length } of this.claimed) {
      this.producer.bytes.set(contentOf(number, length), offset);
    }
    this.producer.publish();
    this.published.push(...this.claimed.splice(0));
  }

  poll(): void {
    const isThere = this.consumer.poll();
    if (this.published.length > 0) assert(isThere);
  }

  next(): boolean {
    if (!this.consumer.next()) return false;
    const message = this.published.shift();
    assert(message, 'A message that was not published, or was read before.');
    assert.equal(this.consumer.kind, ~message.number);
    assert.equal(this.consumer.offset, message.offset);
    assert.deepEqual(
      Buffer.from(this.consumer.view()),
      Buffer.from(contentOf(message.number, message.length)),
    );
    this.read.push({ ...message, position: this.consumer.position });
    return true;
  }

  /** Until its release a message is whole. */
  release(count: number): void {
    const released = this.read.splice(0, count);
    for (const { number, offset, length } of released) {
      const found = this.producer.bytes.subarray(offset, offset + length);
      assert.deepEqual(Buffer.from(found), Buffer.from(contentOf(number, length)));
    }
    const last = released.at(-1);
    if (this.read.length === 0) this.consumer.release();
    else if (last) this.consumer.release(last.position);
  }

  /** Reads and releases all that is published. */
  drain(): void {
    // Once a message, and once a mark.
    const looksMax = 2 * this.published.length + 2;
    for (let looks = 0; this.consumer.poll(); looks++) {
      while (this.next());
      assert(looks < looksMax, 'There is something to read that never comes.');
    }
    assert.equal(this.published.length, 0);
    this.release(this.read.length);
  }
}

const contentOf = (number: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => mixed(number * 4096 + i));

test('any order of calls gives what a plain queue gives, and room comes back', () => {
  fc.assert(
    fc.property(rings, steps, share, (ring, taken, last) => {
      const model = new Model(ring);
      for (const step of taken) model.take(step);
      model.publish();
      model.drain();
      // Empty, a ring takes the longest message, wherever it stands.
      const length = model.producer.messageBytesMax - Math.floor(last * 8);
      if (!model.claim(length)) {
        // Only the mark was in the way.
        model.drain();
        assert(model.claim(length));
      }
      model.publish();
      model.drain();
    }),
    { numRuns: 2_000 },
  );
});

test('a claim finds room wherever there is some', () => {
  fc.assert(
    fc.property(rings, steps, (ring, taken) => {
      const model = new Model(ring);
      for (const step of taken) {
        model.take(step);
        if (model.claimed.length > 0) continue;
        // All is published: what is used, and where it ends, stands in the memory.
        const end = model.position('published');
        const free = ring.capacityBytes - (end - model.position('released'));
        const rest = ring.capacityBytes - (end % ring.capacityBytes);
        const most = Math.max(Math.min(free, rest), free - rest) - messageHeadBytes;
        if (most >= 0) assert(model.claim(most), `${most} bytes, ${free} free, ${rest} to the end`);
        else assert(!model.claim(0));
      }
    }),
    { numRuns: 500 },
  );
});

test('a mark is published, and given back, without anyone asking for it', () => {
  const model = new Model({ capacityBytes: 64, startAt: 0 });
  model.claim(8);
  model.publish();
  model.drain();
  assert(!model.claim(56), 'All of the ring, from its middle on.');
  assert(model.consumer.poll(), 'The mark.');
  assert(!model.next());
  assert(model.claim(56));
});

test('a producer that ends at any step leaves what it published, and nothing else', async () => {
  await fc.assert(
    fc.asyncProperty(rings, steps, fc.boolean(), async (ring, taken, isFailure) => {
      const model = new Model(ring);
      for (const step of taken) model.take(step);
      if (isFailure) {
        failRing(model.memory, 'producer');
      } else {
        model.publish();
        model.producer.close();
      }
      while (await model.consumer.waitAsync()) {
        while (model.next());
        model.release(model.read.length);
      }
      assert.equal(model.published.length, 0);
      assert.equal(model.consumer.producer, isFailure ? 'failed' : 'closed');
      assert.equal(model.consumer.wait(), false);
    }),
    { numRuns: 200 },
  );
});

for (const end of ['closes', 'fails'] as const) {
  test(`a consumer that ${end} is seen by its producer, which finds no room any more`, async () => {
    const { memory, producer, consumer } = new Model({ capacityBytes: 1024, startAt: 0 });
    producer.claim(8);
    producer.publish();
    if (end === 'closes') consumer.close();
    else failRing(memory, 'consumer');
    producer.publish();
    assert.equal(producer.claim(0), noRoom);
    assert.equal(producer.room(0), false);
    assert.equal(await producer.roomAsync(0), false);
    assert.equal(producer.consumer, end === 'closes' ? 'closed' : 'failed');
  });
}

test('a length, a capacity, a release or a memory that cannot be is refused', () => {
  const { producer, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
  for (const length of [-1, 0.5, Number.NaN, -(2 ** 32)]) {
    assert.throws(() => producer.claim(length), assert.AssertionError);
  }
  for (const length of [57, 64, 2 ** 31, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    assert.throws(() => producer.claim(length), { code: 'HF_TOO_LARGE' });
  }
  assert.throws(() => consumer.release(8), /not read/);
  for (const capacityBytes of [0, 32, 96, 2 ** 31, -64]) {
    assert.throws(() => createRing({ capacityBytes }), assert.AssertionError);
  }
  assert.throws(() => new RingConsumer(new SharedArrayBuffer(1024)), /no ring/);
});

test('a length that someone else wrote over is found', () => {
  const { producer, consumer, words } = new Model({ capacityBytes: 64, startAt: 0 });
  const offset = producer.claim(8);
  producer.publish();
  for (const length of [-2, 64, -(2 ** 31)]) {
    words[(offset - messageHeadBytes) / 4] = length;
    assert(consumer.poll());
    assert.throws(() => consumer.next(), { code: 'HF_BUG' });
  }
});

test('a side that was told failed after it closed stays closed', () => {
  const { memory, producer, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
  producer.close();
  failRing(memory, 'producer');
  assert.equal(consumer.producer, 'closed');
});

/** Runs `other` within `own`, just before the nth call of Atomics that it makes; false: too few. */
function within(nth: number, own: () => void, other: () => void): boolean {
  const atomics = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>;
  let calls = 0;
  const spies = ['load', 'store', 'compareExchange', 'notify', 'waitAsync'].map((name) => {
    const real = atomics[name];
    return mock.method(atomics, name, (...args: unknown[]) => {
      if (++calls === nth) other();
      return real?.(...args);
    });
  });
  own();
  for (const spy of spies) spy.mock.restore();
  return calls >= nth;
}

interface Scene {
  /** Does what the sleeper waits for. */
  readonly act: () => void;
  readonly sleep: () => Promise<boolean>;
  readonly isWokenWith: boolean;
}

const scenes: { readonly [name: string]: () => Scene } = {
  'the consumer sleeps, the producer publishes': () => {
    const { producer, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
    producer.claim(8);
    return {
      act: () => producer.publish(),
      sleep: () => consumer.waitAsync(),
      isWokenWith: true,
    };
  },
  'the consumer sleeps, the producer closes': () => {
    const { producer, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
    return { act: () => producer.close(), sleep: () => consumer.waitAsync(), isWokenWith: false };
  },
  'the consumer sleeps, the producer publishes and closes': () => {
    const { producer, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
    producer.claim(8);
    return { act: () => producer.close(), sleep: () => consumer.waitAsync(), isWokenWith: true };
  },
  'the consumer sleeps, the producer fails': () => {
    const { memory, consumer } = new Model({ capacityBytes: 64, startAt: 0 });
    const act = () => failRing(memory, 'producer');
    return { act, sleep: () => consumer.waitAsync(), isWokenWith: false };
  },
  'the consumer sleeps, and closes': () => {
    const { consumer } = new Model({ capacityBytes: 64, startAt: 0 });
    return { act: () => consumer.close(), sleep: () => consumer.waitAsync(), isWokenWith: false };
  },
  'the producer sleeps, the consumer releases': () => {
    const model = fullRing();
    const { consumer, producer } = model;
    const act = () => consumer.release();
    return { act, sleep: () => producer.roomAsync(8), isWokenWith: true };
  },
  'the producer sleeps, the consumer closes': () => {
    const { consumer, producer } = fullRing();
    return { act: () => consumer.close(), sleep: () => producer.roomAsync(8), isWokenWith: false };
  },
  'the producer sleeps, the consumer fails': () => {
    const { memory, producer } = fullRing();
    const act = () => failRing(memory, 'consumer');
    return { act, sleep: () => producer.roomAsync(8), isWokenWith: false };
  },
};

/** Full, all of it read. */
function fullRing(): Model {
  const model = new Model({ capacityBytes: 64, startAt: 0 });
  model.claim(56);
  model.publish();
  model.poll();
  model.next();
  return model;
}

for (const [name, begin] of Object.entries(scenes)) {
  test(`no wake-up is lost at any step: ${name}`, { timeout: 20_000 }, async (t) => {
    const alive = setInterval(() => undefined, 1_000);
    t.after(() => clearInterval(alive));
    // Once too late for any step, too: then the sleeper sleeps.
    for (let nth = 1, isWithin = true; isWithin; nth++) {
      const { act, sleep, isWokenWith } = begin();
      let slept: Promise<boolean> | undefined;
      const fallAsleep = (): void => {
        slept = sleep();
      };
      isWithin = within(nth, fallAsleep, act);
      if (!isWithin) act();
      assert.equal(await slept, isWokenWith, `acted before step ${nth} of falling asleep`);
    }
    for (let nth = 1, isWithin = true; isWithin; nth++) {
      const { act, sleep, isWokenWith } = begin();
      let slept: Promise<boolean> | undefined;
      const fallAsleep = (): void => {
        slept = sleep();
      };
      isWithin = within(nth, act, fallAsleep);
      if (!isWithin) fallAsleep();
      assert.equal(await slept, isWokenWith, `fell asleep before step ${nth} of acting`);
    }
  });
}
