// Broken builds that lack what the targets' own ways ask for: values that a server changes without
// a word, lines that no packet carries, clocks that go back, rows that exclude each other.
import type { Killer, Mutant } from './mutant-list.ts';

const tests = (test: string, names: string): Killer => ({ test: `test/${test}.test.ts`, names });

export const alteredMutants: readonly Mutant[] = [
  {
    name: 'PostgreSQL: casts that round are let through',
    file: 'src/target/postgres/temporary.ts',
    search: '  if (was.sqlType === now.sqlType || !isRounded(was.type, now.type)) return;\n',
    replace: '  if (now || !isRounded(was.type, was.type)) return;\n',
    killer: tests('postgres-altered', 'an altered column that rounds'),
  },
  {
    name: 'PostgreSQL: what columns ask of a row is not compared',
    file: 'sql/postgres/2-guard.sql',
    search: '    fingerprint := fingerprint || demands;\n',
    replace: '    fingerprint := fingerprint || right(batch_fingerprint, 32);\n',
    killer: tests('postgres-altered', 'what a column asks'),
  },
  {
    name: 'PostgreSQL: an update leaves a key that is equal in other letters',
    file: 'src/target/postgres/place-sql.ts',
    search: 'columns.filter((column) => !key.includes(column) || looseKey.includes(column));',
    replace: 'columns.filter((column) => !key.includes(column) && !looseKey.includes(column));',
    killer: tests('postgres', 'an update writes the key, too'),
  },
  {
    name: 'MariaDB: a FLOAT(M,D) is taken for a double',
    file: 'src/target/mysql/types.ts',
    search: "base === 'float' ? { viaSingle: true } : { viaDouble: true }",
    replace: '{ viaDouble: true }',
    killer: tests('mariadb-types', 'what a column would change is refused'),
  },
  {
    name: 'MariaDB: a null becomes what the column makes of it',
    file: 'src/target/mysql/relation.ts',
    search: '  if (isFilledForNull(was, now)) {\n',
    replace: '  if (!now && isFilledForNull(was, now)) {\n',
    killer: tests('mariadb-altered', 'an altered column that changes values'),
  },
  {
    name: 'MariaDB: a label is taken for the place of another one',
    file: 'src/target/mysql/relation.ts',
    search: 'was.every((label) => now.includes(label) || !/^\\s*\\d/.test(label));',
    replace: 'was.every((label) => now.includes(label) || label);',
    killer: tests('mariadb-altered', 'an altered column that changes values'),
  },
  {
    name: 'MariaDB: the oldest batches are merged, whatever the clock did',
    file: 'src/target/mysql/staging/turn.ts',
    search: '  if (oldest.broken.length === 0) return oldest;\n',
    replace: '  if (oldest.broken.length >= 0) return oldest;\n',
    killer: tests('mariadb-staged', 'nor does a clock that went back'),
  },
  {
    name: 'MariaDB: rows find their ends in the order of their keys',
    file: 'src/target/mysql/place.ts',
    search: '[...ords].sort((a, b) => part.seqOf(a) - part.seqOf(b))',
    replace: '[...ords].sort(byNumber)',
    killer: tests('mariadb', 'of rows that exclude each other'),
  },
  {
    name: 'MariaDB: a row that was not stored is not missed',
    file: 'src/target/mysql/place.ts',
    search: 'return answers.at(-1)?.affected === count ? undefined : swallowed;',
    replace: 'return answers.length > 0 && count > 0 ? undefined : swallowed;',
    killer: tests('mariadb', 'an update that a trigger undoes'),
  },
  {
    name: 'MariaDB: contents that no packet carries count as equal',
    file: 'src/target/mysql/staging/dedupe.ts',
    search: ' AND content IS NOT NULL',
    replace: '',
    killer: tests('mariadb-staged', 'rows larger than a packet'),
  },
  {
    name: 'a line is taken that no packet carries as a dead letter',
    file: 'src/accept/columns.ts',
    search: '  rowBytesMax;\n',
    replace: '  2 * rowBytesMax;\n',
    killer: tests('mariadb-types', 'a line that no packet carries'),
  },
  {
    name: 'who gives up waiting is kept in mind',
    file: 'src/pending.ts',
    search: '    if (place >= 0) this.#entries.splice(place, 1);\n',
    replace: '',
    killer: tests('pending', 'who gives up leaves nothing'),
  },
  {
    name: 'a load whose input is silent does not hear that its process closes',
    file: 'src/load.ts',
    search: "    closing.addEventListener('abort', onClosing);\n",
    replace: '',
    killer: tests('loads', 'a load whose input does not end'),
  },
  {
    name: 'a load goes on with whatever input it is given',
    file: 'src/load-prefix.ts',
    search: 'if (this.isOver && digest !== this.#prefix.digest) throw changed(end);',
    replace: 'if (this.isOver && digest === this.#prefix.digest) return rest;',
    killer: tests('loads', 'a load goes on only with'),
  },
];
