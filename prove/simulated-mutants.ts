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
    search: '    if (loadsInHand.has(load)) throw beingSent();\n',
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
    name: 'simulated: staged fields are shared whatever their type',
    file: 'src/target/staged-layout.ts',
    search: ' && meaningOf(field.column) === meaningOf(column),',
    replace: ',',
    killer: simulation,
  },
  {
    name: 'simulated: rows are journaled as of the table before',
    file: 'src/stream.ts',
    search:
      '    this.#tableId = this.#journal.dictionary.table(this.id, table).id;\n    return true;\n',
    replace: '    return true;\n',
    killer: simulation,
  },
  {
    name: 'simulated: rows are journaled as of the table now, whatever they were made for',
    file: 'src/stream.ts',
    search: '(set) => dictionary.shape(table, set)',
    replace: '(set) => dictionary.shape(this.#tableId, set)',
    killer: { ...simulation, count: 200, seed: 450 },
  },
  {
    name: 'simulated: a load goes on as its table was',
    file: 'src/load-input.ts',
    search: '    if (this.#reader === this.#stream.reader) return;\n',
    replace: '    if (this.#reader) return;\n',
    killer: { ...simulation, count: 200, seed: 250 },
  },
  {
    name: 'simulated: rows that lack what is required now are sent',
    file: 'src/target/required.ts',
    search: '  if (!absent) return;\n',
    replace: '  if (table) return;\n',
    killer: simulation,
  },
  {
    name: 'simulated: a set of fields is known by its first one',
    file: 'src/target/staged-layout.ts',
    search: 'known.join() === places.join()',
    replace: 'known[0] === places[0]',
    killer: simulation,
  },
  {
    name: 'simulated: a keyed request is known by its bytes, however they are read',
    file: 'src/request-digest.ts',
    search: "[format, invalid === 'dead-letter', delimiter, columns, nulls]",
    replace: "[format, invalid === 'dead-letter']",
    killer: simulation,
  },
  {
    name: 'simulated: a keyed request is known whatever becomes of its invalid rows',
    file: 'src/request-digest.ts',
    search: "[format, invalid === 'dead-letter', delimiter, columns, nulls]",
    replace: '[format, delimiter, columns, nulls]',
    killer: simulation,
  },
  {
    name: 'simulated: dedupe leaves no copy',
    file: 'test/simulation/simulated-dedupe.ts',
    search: '    if (seen.has(row.content)) found.add(row);\n',
    replace: '    found.add(row);\n',
    killer: simulation,
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
