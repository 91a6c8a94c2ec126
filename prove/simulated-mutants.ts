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
