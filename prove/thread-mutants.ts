// Broken builds of what lies between the threads: the rings and what goes through them.
import type { Killer, Mutant } from './mutant-list.ts';

const sleepers: Killer = {
  test: 'test/ring.test.ts',
  names: 'no wake-up is lost at any step: the producer sleeps, the consumer releases',
};
const parcels: Killer = { test: 'test/parcel.test.ts', names: 'rows stay' };

export const threadMutants: readonly Mutant[] = [
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
