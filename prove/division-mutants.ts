// Broken builds about lanes that change hands.
import type { Killer, Mutant } from './mutant-list.ts';

const division = (names: string): Killer => ({ test: 'test/division.test.ts', names });
const takeover = (names: string): Killer => ({ test: 'test/takeover.test.ts', names });
const claims = (target: string): Killer => ({
  test: 'test/target.test.ts',
  names: `${target} lanes that another owner has claimed`,
});
const simulation = { campaign: 'simulation', count: 600 } as const;

export const divisionMutants: readonly Mutant[] = [
  {
    name: 'who gets all lanes goes on where it was in those of others',
    file: 'src/merge/division.ts',
    search: 'this.feed(0).seek(this.staged);',
    replace: '',
    killer: simulation,
  },
  {
    name: 'who gets its share begins where it was long ago',
    file: 'src/merge/division.ts',
    search: 'feed.seek(this.staged);\n    this.#changed',
    replace: 'feed.close();\n    this.#changed',
    killer: simulation,
  },
  {
    name: 'lanes are gathered while others still have them',
    file: 'src/merge/division.ts',
    search: 'this.#waiting.size === this.#loaders - 1',
    replace: 'this.#waiting.size >= 0',
    killer: division('lanes that are to be gathered do not wait for what keeps'),
  },
  {
    name: 'lanes that are to be gathered are nobody’s for as long as it takes',
    file: 'src/merge/division.ts',
    search: "if (this.#state === 'gathering' && !signal.aborted) this.#share(index);",
    replace: '',
    killer: division('lanes that are to be gathered do not wait for what keeps'),
  },
  {
    name: 'nobody tells an idle loader that it may have all lanes',
    file: 'src/merge/division.ts',
    search: 'if (this.canGather) this.onCanGather();',
    replace: '',
    killer: division('lanes that are to be gathered do not wait for the first loader'),
  },
  {
    name: 'a loader leaves its lost sessions to others with its lanes',
    file: 'src/merge/loader.ts',
    search: 'this.#suspects.length > 0 || this.#link.isFailing;',
    replace: 'this.#suspects.length < 0;',
    killer: division('a loader that lost a session ends it'),
  },
  {
    name: 'lanes that a lost session may have locked are shared',
    file: 'src/merge/loader.ts',
    search: 'const hasMore = !this.#isAllTaken && this.#suspects.length === 0;',
    replace: 'const hasMore = !this.#isAllTaken;',
    killer: division('lanes that a lost session may have locked'),
  },
  {
    name: 'one row that is locked keeps all lanes',
    file: 'src/merge/loader.ts',
    search: 'if (!isDivided && !division.mayShare(index)) return',
    replace: 'if (!isDivided) return',
    killer: division('a row that somebody locks'),
  },
  {
    name: 'a row that always loses its session keeps all lanes',
    file: 'src/merge/loader.ts',
    search: 'if (this.#parts.division.mayShare(this.#parts.index)) await this.#endSuspect(batch);',
    replace: '',
    killer: division('a row that always meets'),
  },
  {
    name: 'lanes are claimed back from whoever has them',
    file: 'src/target/rows.ts',
    search: "> after && lane['owner'] !== owner);",
    replace: "> after && lane['owner'] === '');",
    killer: takeover('a process that was replaced while its claim had no answer'),
  },
  {
    name: 'a claim of one’s own that was not answered counts as another’s',
    file: 'src/target/rows.ts',
    search: "> after && lane['owner'] !== owner);",
    replace: '> after);',
    killer: takeover('a claim that was committed and not answered'),
  },
  {
    name: 'PostgreSQL: a claim does not look who has the lanes',
    file: 'src/target/postgres/lanes.ts',
    search: 'requireUnclaimed(answers.at(-1)?.rows ?? [], { owner, after });',
    replace: '',
    killer: claims('PostgreSQL 18'),
  },
  {
    name: 'MariaDB: a claim does not look who has the lanes',
    file: 'src/target/mysql/lanes.ts',
    search: 'requireUnclaimed(rows, { owner, after });',
    replace: '',
    killer: claims('MariaDB 10.11'),
  },
  {
    name: 'SQLite: a claim does not look who has the lanes',
    file: 'src/target/sqlite/lanes.ts',
    search: 'requireUnclaimed(known, { owner, after });',
    replace: '',
    killer: claims('SQLite'),
  },
];
