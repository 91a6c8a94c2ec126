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
    name: 'HTTP: a page of dead letters has no bound in bytes',
    file: 'src/server/dead-letters.ts',
    search: ' || characters >= limits.lettersListedBytes',
    replace: '',
    killer: { test: 'test/server-operations.test.ts', names: 'dead letters come in pages' },
  },
  {
    name: 'a target reads dead letters without a bound in bytes',
    file: 'src/target/letter-page.ts',
    search: 'if (bytes >= limits.lettersListedBytes) break;\n      bytes',
    replace: 'bytes',
    killer: { test: 'test/target.test.ts', names: 'SQLite dead letters are listed' },
  },
  {
    name: 'dead letters are listed by age, behind an id',
    file: 'src/target/letter-page.ts',
    search: 'ORDER BY $',
    replace: 'ORDER BY first_at, $',
    killer: { test: 'test/target.test.ts', names: 'SQLite dead letters are listed by' },
  },
  {
    name: 'MariaDB: the lengths of a refused row are one deep sum',
    file: 'src/target/by-size.ts',
    search: 'const half = Math.ceil(terms.length / 2);',
    replace: 'const half = 1;',
    killer: { test: 'test/mariadb-staged.test.ts', names: 'a refused row of hundreds' },
  },
  {
    name: 'PostgreSQL: a number counts as it lies in the table',
    file: 'src/target/postgres/staging/rows.ts',
    search: "if (raw === 'numeric') return",
    replace: "if (raw === 'none') return",
    killer: { test: 'test/postgres-staged.test.ts', names: 'refused rows of long numbers' },
  },
  {
    name: 'one page of dead letters is taken for all of them',
    file: 'src/dead-letters.ts',
    search: 'left -= page.length;',
    replace: 'left = 0;',
    killer: { test: 'test/cli.test.ts', names: 'all large dead letters' },
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
];
