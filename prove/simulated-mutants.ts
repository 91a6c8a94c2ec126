// Broken builds that campaign `simulation` must find out by itself: it must not be blind.
import type { Mutant } from './mutant-list.ts';

const simulation = { campaign: 'simulation', count: 60 } as const;

export const simulatedMutants: readonly Mutant[] = [
  {
    name: 'simulated: no sync of a group',
    file: 'src/journal/tail.ts',
    search: 'await file.syncAside();',
    replace: 'await undefined;',
    killer: simulation,
  },
  {
    name: 'simulated: a load that goes on begins anew',
    file: 'src/load-input.ts',
    search: 'this.#progress.offset += result.consumed;',
    replace: '',
    killer: { ...simulation, count: 400, seed: 41 },
  },
  {
    name: 'simulated: a load is taken from any byte',
    file: 'src/load-input.ts',
    search: '    if (offset === standsAt) return;\n',
    replace: '    if (offset >= 0) return;\n',
    killer: simulation,
  },
  {
    name: 'simulated: two senders of one load',
    file: 'src/load.ts',
    search: '    if (this.#active.has(load)) throw beingSent();\n',
    replace: '',
    killer: simulation,
  },
  {
    name: 'simulated: a load is done whose bytes were cut',
    file: 'src/load-input.ts',
    search: '    if (this.#size === undefined || this.#received === this.#size) return;\n',
    replace: '    if (this.#received >= 0) return;\n',
    killer: simulation,
  },
  {
    name: 'simulated: of a load that was refused nothing is written',
    file: 'src/load.ts',
    search: '    if (this.#parts.requests.ofLoad(load).length === 0) return error;\n',
    replace: '    if (load) return error;\n',
    killer: { ...simulation, count: 200 },
  },
  {
    name: 'simulated: a load that was cut is told before its part is journaled',
    file: 'src/load.ts',
    search: '      await written;\n    }\n  }',
    replace: '    }\n  }',
    killer: { ...simulation, count: 200, seed: 150 },
  },
  {
    name: 'simulated: confirmed without asking the standby',
    file: 'src/confirm.ts',
    search: '      if (!(await session.isReplicated(open.position))) break;\n',
    replace: '',
    killer: { ...simulation, count: 300, seed: 191 },
  },
  {
    name: 'simulated: a process is fenced by its own claim',
    file: 'src/merge/link.ts',
    search: 'lane.epoch > epoch);',
    replace: 'lane.epoch >= epoch);',
    killer: simulation,
  },
];
