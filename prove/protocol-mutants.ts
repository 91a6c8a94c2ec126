// Broken builds that each lack a rule of docs/protocol.md, where the rule lives in the SQL of a
// real server, or in code that no campaign strikes at in particular. Each is asked about its own
// rule: of what such a killer costs, half are the tests, half the start of the server.
import type { Killer, Mutant } from './mutant-list.ts';

const tests = (test: string, names: string): Killer => ({ test, names });
const protocol = (names: string): Killer => tests('test/protocol.test.ts', names);
const target =
  (on: string) =>
  (names: string): Killer =>
    tests('test/target.test.ts', `${on} ${names}`);
const sqlite = target('SQLite');
const postgres = target('PostgreSQL 18');
const postgresStaged = target('PostgreSQL 18, staged');
const postgresOwn = (names: string): Killer => tests('test/postgres.test.ts', names);
const mariadb = target('MariaDB 10.11');
const mariadbStaged = target('MariaDB 10.11, staged');

const guardSql = 'sql/postgres/2-guard.sql';

const postgresMutants: readonly Mutant[] = [
  {
    name: 'PostgreSQL: the guard does not look where the lane stands',
    file: guardSql,
    search:
      ' OR found_lane.epoch <> batch_epoch\n      OR found_lane.settled <> batch_firsts[place] - 1',
    replace: ' OR found_lane.epoch <> batch_epoch',
    killer: postgres('a lane that has moved'),
  },
  {
    name: 'PostgreSQL: no guard',
    file: 'src/target/postgres/merge.ts',
    search: `CALL holdfast_guard(\${guard.join(', ')})\`;`,
    replace: `SET LOCAL work_mem = '\${guard.length}MB'\`;`,
    killer: postgres('a lane that has moved'),
  },
  {
    name: 'PostgreSQL: no epoch check',
    file: guardSql,
    search: 'IF found_lane.epoch > batch_epoch THEN',
    replace: 'IF found_lane.epoch < 0 THEN',
    killer: postgres('a later claim fences'),
  },
  {
    name: 'PostgreSQL: an epoch that was forgotten is given out again',
    file: 'src/target/postgres/lanes.ts',
    search: 'SELECT greatest(max(epoch) + 1,',
    replace: 'SELECT least(max(epoch) + 1,',
    killer: postgres('claims raise the epoch'),
  },
  {
    name: 'PostgreSQL: the fingerprint is not compared',
    file: guardSql,
    search: 'IF fingerprint IS DISTINCT FROM batch_fingerprint THEN',
    replace: 'IF fingerprint IS NULL THEN',
    killer: postgres('an altered table'),
  },
  {
    name: 'PostgreSQL: the unique indexes are not compared',
    file: guardSql,
    search: 'IF fingerprint IS DISTINCT FROM batch_fingerprint THEN',
    replace: 'IF left(fingerprint, 32) IS DISTINCT FROM left(batch_fingerprint, 32) THEN',
    killer: postgres('without its key’s index'),
  },
  {
    name: 'PostgreSQL: a logical decoder counts as a standby',
    file: 'src/target/postgres/standby.ts',
    search: "s.slot_type = 'logical'",
    replace: "s.slot_type = 'none'",
    killer: tests('test/postgres-standby.test.ts', 'only the flush'),
  },
  {
    name: 'PostgreSQL: ON CONFLICT DO NOTHING without a look at the content',
    file: 'src/target/postgres/place.ts',
    search: "if (verdict === 'equal') this.#end(seq, rowEnd.duplicate);",
    replace: "if (verdict !== 'absent') this.#end(seq, rowEnd.duplicate);",
    killer: postgres('other content under a key'),
  },
  {
    name: 'PostgreSQL: under update the first row of a key stays',
    file: 'src/target/postgres/place-sql.ts',
    search: "if (meeting === 'update') return 'seq DESC';",
    replace: "if (meeting === 'update') return 'seq';",
    killer: postgres('update: the last row'),
  },
  {
    name: 'PostgreSQL: a suspect keeps its locks',
    file: 'src/target/postgres/lanes.ts',
    search: '    await terminate(connection, options.suspect);\n',
    replace: "    if (tries < 0) await terminate(connection, '');\n",
    killer: tests('test/postgres-faults.test.ts', 'an old session that wakes up'),
  },
  {
    name: 'PostgreSQL: constraints stay deferred',
    file: 'src/target/postgres/merge.ts',
    search: ' SET CONSTRAINTS ALL IMMEDIATE;',
    replace: '',
    killer: postgresOwn('a deferred constraint'),
  },
  {
    name: 'PostgreSQL: rows that were not stored are not missed',
    file: 'src/target/postgres/merge.ts',
    search: "    if (stored === rows.length) continue;\n    throw new TargetError('row'",
    replace: "    if (stored >= 0) continue;\n    throw new TargetError('row'",
    killer: postgresOwn('a row that a trigger'),
  },
  {
    name: 'PostgreSQL: a dead letter is kept as text alone',
    file: 'src/target/postgres/place.ts',
    search: 'const isText = storable(json, encoding) === json;',
    replace: 'const isText = storable(json, encoding).length > 0;',
    killer: postgresOwn('what the database cannot spell'),
  },
  {
    name: 'PostgreSQL: all dead letters of a batch go at once',
    file: 'src/target/postgres/letter-parts.ts',
    search: 'characters + size > partCharactersMax',
    replace: 'characters + size < 0',
    killer: postgresOwn('dead letters of many'),
  },
];

const stagedMutants: readonly Mutant[] = [
  {
    name: 'PostgreSQL: the staged digest is not compared',
    file: 'src/target/postgres/staging/rows.ts',
    search: ' AND s.holdfast_digest = r.digest`;',
    replace: '`;',
    killer: postgresStaged('rows of another batch'),
  },
  {
    name: 'PostgreSQL: staged rows are not counted',
    file: 'src/target/postgres/staging/rows.ts',
    search: 'found[place] !== batch.rows',
    replace: 'found[place] === undefined',
    killer: postgresStaged('one lost row'),
  },
  {
    name: 'PostgreSQL: mergers claim nothing',
    file: 'src/target/postgres/staging/turn.ts',
    search: ' FOR UPDATE OF c SKIP LOCKED`',
    replace: '`',
    killer: postgresStaged('a lane that another one'),
  },
  {
    name: 'PostgreSQL: no epoch check where a batch is staged',
    file: 'sql/postgres/3-staging.sql',
    search: 'IF found_lane.epoch > batch_epoch THEN',
    replace: 'IF found_lane.epoch < 0 THEN',
    killer: postgresStaged('a later claim fences'),
  },
  {
    name: 'MariaDB: the staged digest is not compared',
    file: 'src/target/mysql/staging/rows.ts',
    search: ` AND s.holdfast_digest = \${digest}\``,
    replace: ` AND \${digest} = \${digest}\``,
    killer: mariadbStaged('rows of another batch'),
  },
  {
    name: 'MariaDB: refused rows are read back at once',
    file: 'src/target/by-size.ts',
    search: 'part.length > 0 && size + own > max',
    replace: 'size + own < 0',
    killer: { test: 'test/mariadb-staged.test.ts', names: 'refused rows of many' },
  },
  {
    name: 'MariaDB: mergers claim nothing',
    file: 'src/target/mysql/staging/turn.ts',
    search: ` FOR UPDATE \${canSkip ? 'SKIP LOCKED' : ''}\``,
    replace: '`',
    killer: mariadbStaged('a lane that another one'),
  },
];

const mariadbMutants: readonly Mutant[] = [
  {
    name: 'MariaDB: the guard does not look where the lane stands',
    file: 'src/target/mysql/lanes.ts',
    search: '=== batch.epoch && Number(row?.[mark]) === first - 1) continue;',
    replace: '=== batch.epoch && Number(row?.[mark]) + first > 0) continue;',
    killer: mariadb('a lane that has moved'),
  },
  {
    name: 'MariaDB: no epoch check',
    file: 'src/target/mysql/lanes.ts',
    search: 'if (epoch <= batch.epoch) continue;',
    replace: 'if (epoch >= 0) continue;',
    killer: mariadb('a later claim fences'),
  },
  {
    name: 'MariaDB: an epoch that was forgotten is given out again',
    file: 'src/target/mysql/lanes.ts',
    search: '[Number(next), Number(now)]',
    replace: '[Number(next), Math.min(0, Number(now))]',
    killer: mariadb('claims raise the epoch'),
  },
  {
    name: 'MariaDB: the fingerprint is not compared',
    file: 'src/target/mysql/lanes.ts',
    search: 'if (fingerprintOf(shown?.rows[0]) !== of.table.fingerprint) throw',
    replace: "if (fingerprintOf(shown?.rows[0]) === '') throw",
    killer: mariadb('an altered table'),
  },
  {
    name: 'a key without its index is no obstacle',
    file: 'src/target/key.ts',
    search: 'if (key.length === 0 || isThere) return;',
    replace: 'if (key.length >= 0 || isThere) return;',
    killer: mariadb('without its key’s index'),
  },
  {
    name: 'MariaDB: INSERT IGNORE: what LOAD DATA warns of is not read',
    file: 'src/target/mysql/rows.ts',
    search: 'if (affected === rows.length && warnings === 0) return;',
    replace: 'if (affected <= rows.length && warnings >= 0) return;',
    killer: mariadb('rows refused first'),
  },
  {
    name: 'MariaDB: a duplicate without a look at its content',
    file: 'src/target/mysql/place.ts',
    search:
      "if (verdict === 'equal') this.#end(ord, rowEnd.duplicate);\n" +
      "    else if (verdict === 'older')",
    replace:
      "if (verdict !== 'newer') this.#end(ord, rowEnd.duplicate);\n" +
      "    else if (verdict === 'older')",
    killer: mariadb('other content under a key'),
  },
  {
    name: 'MariaDB: a suspect keeps its locks',
    file: 'src/target/mysql/lanes.ts',
    search: '    await terminate(connection, options);\n',
    replace: "    if (tries < 0) await terminate(connection, { suspect: '', own: '' });\n",
    killer: tests('test/mariadb-faults.test.ts', 'an old session that wakes up'),
  },
];

const sqliteMutants: readonly Mutant[] = [
  {
    name: 'SQLite: the fingerprint is not compared',
    file: 'src/target/sqlite/lanes.ts',
    search: 'if (known.of(connection, table.name) === table.fingerprint) return;',
    replace: "if (known.of(connection, table.name) !== '') return;",
    killer: sqlite('an altered table'),
  },
  {
    name: 'SQLite: what loses by the rules counts as a duplicate',
    file: 'src/target/sqlite/rows.ts',
    search: "if (policy === 'ignore') return rowEnd.superseded;",
    replace: "if (policy === 'ignore') return rowEnd.duplicate;",
    killer: sqlite('ignore: '),
  },
  {
    name: 'SQLite: a dead letter may be replayed and dropped again',
    file: 'src/target/sqlite/letters.ts',
    search: "if (letter?.state === 'dead') return;",
    replace: 'if (letter) return;',
    killer: sqlite('a replayed dead letter'),
  },
  {
    name: 'SQLite: a replay overwrites what came later',
    file: 'src/target/sqlite/letters.ts',
    search: "if (batch.rules.onConflict !== 'update') return batch;",
    replace: "if (batch.rules.onConflict !== 'ignore') return batch;",
    killer: sqlite('a replay never'),
  },
];

const coreMutants: readonly Mutant[] = [
  {
    name: 'a position of another history counts',
    file: 'src/confirm.ts',
    search: "open.identity !== identity || open.position === '';",
    replace: "open.position === '' || identity === '';",
    killer: tests('test/confirm.test.ts', 'a (record|history|position)'),
  },
  {
    name: 'confirmed although nothing was read after the position',
    file: 'src/confirm.ts',
    search: 'await covers(session, stream, due)',
    replace: 'await covers(session, stream, [])',
    killer: tests('test/confirm.test.ts', 'a (record|history|position)'),
  },
  {
    name: 'a gap before the oldest segment is waited at',
    file: 'src/merge/feed.ts',
    search: 'if (this.#options.serves(lane) && last > taken) throw',
    replace: 'if (this.#options.serves(lane) && last < 0) throw',
    killer: protocol('a target that went back behind'),
  },
  {
    name: 'a target that is ahead of the journal is believed',
    file: 'src/merge/stream-loading.ts',
    search: 'staged > (settings.last[lane] ?? 0));',
    replace: 'staged > (settings.last[lane] ?? 0) + 1_000_000);',
    killer: protocol('an older copy'),
  },
  {
    name: 'a journal that numbered on is believed',
    file: 'src/merge/age.ts',
    search: 'return block.last === row.last && sum.digest !== row.digest;',
    replace: 'return block.last === row.last && sum.digest < 0;',
    killer: protocol('an older copy'),
  },
  {
    name: 'streams wait for each other',
    file: 'src/merge/loading.ts',
    search: 'const running = loading.run();',
    replace: 'const running = Promise.resolve(this.#running.at(-1)).then(() => loading.run());',
    killer: protocol('a stream whose table is gone'),
  },
  {
    name: 'the ledger is never pruned',
    file: 'src/upkeep.ts',
    search: '    if (clock.monotonicMs() < pruneAt) continue;',
    replace: '    if (clock.monotonicMs() < pruneAt * 1_000) continue;',
    killer: protocol('the ledger is pruned'),
  },
  {
    name: 'the ledger is pruned further than the journal is',
    file: 'src/upkeep.ts',
    search: 'last: Math.min(last, stream.marks.confirmed[lane] ?? 0),',
    replace: 'last: Math.max(last, stream.marks.confirmed[lane] ?? 0),',
    killer: protocol('the ledger is pruned'),
  },
  {
    name: 'twins do not wait for each other',
    file: 'src/writing.ts',
    search: '    this.#inFlight.set(name, journaled);\n',
    replace: '',
    killer: protocol('twins with one key'),
  },
  {
    name: 'a chunk is written over while the socket has it',
    file: 'src/target/postgres/copy.ts',
    search: '    this.#chunk = this.#chunks.lend(bytes);\n',
    replace: '',
    killer: protocol('what is on its way'),
  },
  {
    name: 'a chunk is lent again before its COPY is answered',
    file: 'src/target/postgres/copy.ts',
    search: '    if (chunk) {\n      this.#lent.push(chunk);\n',
    replace: '    if (chunk) {\n      this.#free.unshift(chunk);\n',
    killer: protocol('what is on its way'),
  },
  {
    name: 'rows of a key go in one wave whatever their columns',
    file: 'src/merge/waves.ts',
    search: '    if (before.set !== set) before.wave++;\n',
    replace: '',
    killer: tests('test/waves.test.ts', ''),
  },
  {
    name: 'keys that are equal in other bytes are hashed apart',
    file: 'src/accept/lanes.ts',
    search: "  column.bytewiseEqual || column.type.kind === 'numeric';",
    replace: "  column.bytewiseEqual || column.type.kind !== 'numeric';",
    killer: protocol('keys that may be equal'),
  },
  {
    name: 'sequences are given before a group has its place',
    file: 'src/journal/journal.ts',
    search: '        this.#queue.putBack(taken);\n        this.#roll();',
    replace:
      '        const { formed } = this.#forming.group(taken, notes);\n' +
      '        for (const [stream, last] of formed.last) this.last.get(stream)?.set(last);\n' +
      '        this.#queue.putBack(taken);\n        this.#roll();',
    killer: tests('test/journal.test.ts', 'a full disk at the roll'),
  },
  {
    name: 'a held stream pins the segments of everybody',
    file: 'src/journal/retention.ts',
    search: 'if (!open.every(({ stream }) => this.isHeld(stream))) return true;',
    replace: 'if (open.length > 0) return true;',
    killer: tests('test/held.test.ts', 'a held stream pins'),
  },
];

export const protocolMutants: readonly Mutant[] = [
  ...postgresMutants,
  ...mariadbMutants,
  ...stagedMutants,
  ...sqliteMutants,
  ...coreMutants,
];
