// Broken builds of `dedupe` on real servers, and of the merges that bring its copies to their ends.
import type { Killer, Mutant } from './mutant-list.ts';

const target =
  (on: string) =>
  (names: string): Killer => ({ test: 'test/target.test.ts', names: `${on}, staged ${names}` });
const postgres = target('PostgreSQL 18');
const mariadb = target('MariaDB 10.11');

export const dedupeMutants: readonly Mutant[] = [
  {
    name: 'PostgreSQL: dedupe takes equal rows of two writers for one',
    file: 'src/target/postgres/staging/dedupe.ts',
    search: "[...keys, 'holdfast_source', content]",
    replace: '[...keys, content]',
    killer: postgres('of two writers’ equal rows'),
  },
  {
    name: 'PostgreSQL: a copy of a refused row stays a duplicate',
    file: 'src/target/postgres/staging/merge.ts',
    search: 'settleCopies(connection, stream, batches)',
    replace: 'settleCopies(connection, stream, [])',
    killer: postgres('copies end as without dedupe'),
  },
  {
    name: 'PostgreSQL: copies are remembered where a lane is sent back',
    file: 'src/target/postgres/staging/turn.ts',
    search: `      DELETE FROM holdfast_copies WHERE source = \${source};\n`,
    replace: '',
    killer: postgres('what was copies'),
  },
  {
    name: 'MariaDB: dedupe takes equal rows of two writers for one',
    file: 'src/target/mysql/staging/dedupe.ts',
    search: 'PARTITION BY source, content, run',
    replace: 'PARTITION BY content, run',
    killer: mariadb('of two writers’ equal rows'),
  },
  {
    name: 'MariaDB: a copy of a refused row stays a duplicate',
    file: 'src/target/mysql/staging/merge.ts',
    search: 'settleCopies(connection, stream.rules.stream, batches)',
    replace: 'settleCopies(connection, stream.rules.stream, [])',
    killer: mariadb('copies end as without dedupe'),
  },
  {
    name: 'MariaDB: copies are remembered where a lane is sent back',
    file: 'src/target/mysql/staging/turn.ts',
    search: `      DELETE FROM holdfast_copies WHERE source = \${source};\n`,
    replace: '',
    killer: mariadb('what was copies'),
  },
  {
    name: 'a copy of a superseded row is a duplicate',
    file: 'src/target/copies.ts',
    search: 'end === rowEnd.superseded || end === rowEnd.deadLetter;',
    replace: 'end === rowEnd.deadLetter;',
    killer: postgres('copies end as without dedupe'),
  },
  {
    name: 'dedupe does not ask whether a later row takes the place of one',
    file: 'src/target/copies.ts',
    search: "rule === 'update' || typeof rule === 'object';",
    replace: "typeof rule === 'object';",
    killer: postgres('copies end as without dedupe'),
  },
];
