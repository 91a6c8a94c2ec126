// Broken builds of what stands around the core: the server, and the disk as it really is.
import type { Killer, Mutant } from './mutant-list.ts';

const http = (only: string): Killer => ({ campaign: 'http', count: 1, only });
/** Each has something to say to a client that does not behave. */
export const httpMutants: readonly Mutant[] = [
  {
    name: 'HTTP: bytes are not counted after inflating',
    file: 'src/server/body.ts',
    search:
      'if (share.bytes + chunk.length > bounds.bytesMax) return reject(tooLarge(bounds.bytesMax));',
    replace: '',
    killer: http('lie: a bomb'),
  },
  {
    name: 'HTTP: a route that anybody may ask',
    file: 'src/server/probes.ts',
    search: "config: { rights: ['read'] }",
    replace: "config: { rights: 'nobody asks' }",
    killer: http('route'),
  },
  {
    name: 'HTTP: tokens are not compared',
    file: 'src/server/tokens.ts',
    search: 'if (timingSafeEqual(entry.digest, digest)) found',
    replace: 'if (entry.digest.length === digest.length) found',
    killer: http('route'),
  },
  {
    name: 'HTTP: large numbers go through a double',
    file: 'src/accept/numeric.ts',
    search: 'const exact = given.toBigInt();',
    replace: 'const exact = BigInt(Number(given.toBigInt()));',
    killer: http('body: numbers'),
  },
  {
    name: 'HTTP: headers beyond 2,000 are dropped',
    file: 'src/server/app.ts',
    search: 'server.maxHeadersCount = 0;',
    replace: '',
    killer: http('lie: a token behind'),
  },
  {
    name: 'HTTP: where a load is sent from is not asked',
    file: 'src/server/loads.ts',
    search: 'offset: request.query.offset }',
    replace: 'offset: load.state.offset }',
    killer: http('load: '),
  },
  {
    name: 'HTTP: strangers keep the places',
    file: 'src/server/places.ts',
    search: 'const [name] = this.#strangers.size > 0 ? this.#strangers : this.#idle;',
    replace: 'const name = undefined as string | undefined;',
    killer: { test: 'test/server-connections.test.ts', names: 'at the bound' },
  },
];

const real = (names: string): Killer => ({ campaign: 'faults', count: 1, only: `real${names}` });

/** What only the real disk, the kernel, or a second process can tell. */
export const realMutants: readonly Mutant[] = [
  {
    name: 'the real lock is no lock',
    file: 'src/disk.ts',
    search: 'BEGIN EXCLUSIVE',
    replace: 'BEGIN',
    killer: real('one directory'),
  },
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
