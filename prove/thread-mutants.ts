// Broken builds of what lies between the threads: the rings and what goes through them; and of
// memory that is used again.
import type { Killer, Mutant } from './mutant-list.ts';

const sleepers: Killer = {
  test: 'test/ring.test.ts',
  names: 'no wake-up is lost at any step: the producer sleeps, the consumer releases',
};
const spareRows: Killer = {
  test: 'test/spare-rows.test.ts',
  names: 'rows of requests that are journaled together stay their own',
};
const bodies: Killer = {
  test: 'test/server-body.test.ts',
  names: 'the memory of a body holds another one when it was given back, not before',
};
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
    name: 'bodies: the memory of one that is still read holds the next',
    file: 'src/server/body.ts',
    search: 'this.#spares.splice(at, 1)',
    replace: 'this.#spares.slice(at, at + 1)',
    killer: bodies,
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
];
