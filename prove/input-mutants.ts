// Broken builds of what takes input, and of what is made of it on its way.
import type { Mutant } from './mutant-list.ts';

export const inputMutants: readonly Mutant[] = [
  {
    name: 'a late answer confirms what another loader has rewound',
    file: 'src/confirm.ts',
    search: 'due.filter((open) => this.#open.includes(open))',
    replace: 'due',
    killer: { test: 'test/confirm.test.ts', names: 'what is asked of one history' },
  },
  {
    name: 'a load keeps the beginning of a line as a view',
    file: 'src/load-input.ts',
    search: '[new Uint8Array(input)]',
    replace: '[input]',
    killer: { test: 'test/loads.test.ts', names: 'a chunk is the caller' },
  },
  {
    name: 'a value may go over the end of its line',
    file: 'src/accept/json-fast.ts',
    search: ' || value.includes(newline)',
    replace: '',
    killer: { test: 'test/accept-fast.test.ts', names: 'a value ends in its own line' },
  },
  {
    name: 'a day of zeros is remembered before any',
    file: 'src/accept/json-code.ts',
    search: '=-1`).join()',
    replace: '=0`).join()',
    killer: { test: 'test/accept-fast.test.ts', names: 'no day is remembered' },
  },
  {
    name: 'a float of four bytes is taken for a decimal',
    file: 'src/accept/json-code-values.ts',
    search: '!viaSingle && scale',
    replace: 'scale',
    killer: { test: 'test/accept-fast.test.ts', names: 'every value at an edge' },
  },
  {
    name: 'a decoder that takes no row leaves its columns behind',
    file: 'src/accept/json-fast.ts',
    search: 'if (into.count === rows) into.cutSets(sets);',
    replace: '',
    killer: { test: 'test/accept-fast.test.ts', names: 'a decoder that takes no row' },
  },
  {
    name: 'what did not decode weighs nothing in a batch',
    file: 'src/merge/assemble.ts',
    search: 'this.#undecodedBytes += bytes.length;',
    replace: '',
    killer: { test: 'test/assemble.test.ts', names: 'what did not decode' },
  },
];
