// Broken builds of what lies between the threads: the rings and what goes through them; and of
// memory that is used again.
import type { Killer, Mutant } from './mutant-list.ts';

const sleepers: Killer = {
  test: 'test/ring.test.ts',
  names: 'no wake-up is lost at any step: the producer sleeps, the consumer releases',
};
const likeAQueue: Killer = {
  test: 'test/ring.test.ts',
  names: 'any order of calls gives what a plain queue gives',
};
const spareRows: Killer = {
  test: 'test/spare-rows.test.ts',
  names: 'rows of requests that are journaled together stay their own',
};
const bodies: Killer = {
  test: 'test/server-body.test.ts',
  names: 'the memory of a body holds another one when it was given back, not before',
};
/** Of the simulated worlds, a part has threads; in few of these a ring is full. */
const handOvers = (seed: number): Killer => ({ campaign: 'simulation', count: 400, seed });
const parcels: Killer = { test: 'test/parcel.test.ts', names: 'rows stay' };

export const threadMutants: readonly Mutant[] = [
  {
    name: 'rows: their buffer is used again before they are journaled',
    file: 'src/writing.ts',
    search: '    const run = (): Promise<RequestNote> => stream.journal(taken, kept);\n',
    replace:
      '    const run = (): Promise<RequestNote> => stream.journal(taken, kept);\n' +
      '    this.#spares.give(taken.rows);\n',
    killer: spareRows,
  },
  {
    name: 'loads: the memory of a part is used again before it is journaled',
    file: 'src/load.ts',
    search: '.finally(() => reading.done(taken.rows));',
    replace: '; reading.done(taken.rows);',
    killer: { campaign: 'simulation', count: 60 },
  },
  {
    name: 'bodies: the memory of one that is still read holds the next',
    file: 'src/server/body.ts',
    search: 'this.#spares.splice(at, 1)',
    replace: 'this.#spares.slice(at, at + 1)',
    killer: bodies,
  },
  {
    name: 'a ring: one message more than it has room for',
    file: 'src/threads/ring-producer.ts',
    search: 'this.#room = this.#capacity - ((this.#claimed - released) | 0);',
    replace: 'this.#room = this.#capacity + 8 - ((this.#claimed - released) | 0);',
    killer: likeAQueue,
  },
  {
    name: 'a ring: read beyond what is published',
    file: 'src/threads/ring-consumer.ts',
    search: 'Math.min(bytes, this.#capacity * batchShareMax)',
    replace: 'Math.max(bytes, this.#capacity * batchShareMax)',
    killer: likeAQueue,
  },
  {
    name: 'a ring: published before it is written',
    file: 'src/threads/parcel-sender.ts',
    search: '    laid.write(this.#ring.bytes, at);\n    this.#ring.publish();',
    replace: '    this.#ring.publish();\n    setImmediate(() => laid.write(this.#ring.bytes, at));',
    killer: parcels,
  },
  {
    name: 'a ring: room is given back before its rows are journaled',
    file: 'src/threads/parcel-receiver.ts',
    search: '    await this.#take(',
    replace: '    void this.#take(',
    killer: parcels,
  },
  {
    name: 'a ring: who sleeps is not woken',
    file: 'src/threads/ring-side.ts',
    search: '  if (found === asleep) Atomics.notify(words, side);\n',
    replace: '',
    killer: sleepers,
  },
  {
    name: 'threads: an accept worker answers before the core has',
    file: 'src/threads/remote-holdfast.ts',
    search: '(await answer) as Accepted);',
    replace: '{ id: "", accepted: 0, rejected: [], repeated: false }); void answer;',
    killer: handOvers(10),
  },
  {
    name: 'threads: rows that wait for room in a full ring are used again',
    file: 'src/threads/remote-holdfast.ts',
    search: 'return this.#receipt(stream, (await answer) as Accepted);',
    replace: 'return answer.then((told) => this.#receipt(stream, told as Accepted));',
    killer: handOvers(23),
  },
  {
    name: 'threads: a parcel that found the ring full is forgotten',
    file: 'src/threads/parcel-sender.ts',
    search: '    if (this.#waiting.push(laid) === 1) void this.#putWaiting();\n',
    replace: '',
    killer: handOvers(80),
  },
  {
    name: 'threads: the core gives room back before it has journaled',
    file: 'src/threads/accept-worker.ts',
    search: '(parcel) => this.#write(parcel), ports',
    replace: 'async (parcel) => void this.#write(parcel), ports',
    killer: handOvers(23),
  },
  {
    name: 'threads: what was said in one turn comes last first',
    file: 'src/threads/calls.ts',
    search: '    const messages = this.#out;\n',
    replace: '    const messages = this.#out.toReversed();\n',
    killer: handOvers(35),
  },
  {
    name: 'threads: the loader thread ends before it has answered',
    file: 'src/threads/serve-loading.ts',
    search: 'calls.take(messages).then(() => {\n      if (isLast) port.close();\n    });',
    replace: 'calls.take(messages);\n    if (isLast) port.close();',
    killer: handOvers(2),
  },
  {
    name: 'threads: the death of an accept worker is not told',
    file: 'src/threads/accept-worker.ts',
    search: '    if (!this.#isStopping) this.#holdfast.fail(death);\n',
    replace: '',
    killer: handOvers(17),
  },
];
