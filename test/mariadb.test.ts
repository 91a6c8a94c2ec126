// What only MariaDB and MySQL do: strict values, triggers, collations, keys, altered tables, ids.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { classify, errnoName, errnos, isRolledBack } from '../src/target/mysql/errnos.ts';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { readLines } from './support/rows.ts';
import { fails, rungs } from './support/target-stream.ts';

let server: MariadbServer;
let rig: Rig;
before(async () => {
  server = await startMariadb();
  rig = new Rig(await createMariadb(server, 'only'));
});
after(async () => {
  await rig.close();
  await server.stop();
});

test('a deliberate wrong value in a LOAD is never stored as another one', async () => {
  await rig.sql(`CREATE TABLE strict (id int PRIMARY KEY, s set('a','b'), e enum('x') NOT NULL);
    CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
    CREATE TABLE children (id int PRIMARY KEY, parent int, FOREIGN KEY (parent)
      REFERENCES parents (id))`);
  const sets = await rig.stream('strict');
  const rows = [
    { id: 1n, s: 'a', e: 'x' },
    { id: 2n, s: 'c', e: 'x' },
    { id: 3n, s: 'b', e: 'x' },
  ];
  await assert.rejects(sets.merge('optimistic', rows), fails('row'));
  assert.deepEqual(await rig.sql('SELECT * FROM strict'), []);
  assert.deepEqual(await sets.merge('merge', rows), ['merged', 'deadLetter', 'merged']);
  const children = await rig.stream('children');
  const family = [1n, 9n, null].map((parent, i) => ({ id: BigInt(i), parent }));
  await assert.rejects(children.merge('optimistic', family), fails('row'));
  assert.deepEqual(await children.merge('merge', family), ['merged', 'deadLetter', 'merged']);
  const [letter] = await children.letters();
  assert.equal(letter?.sqlState, 'ER_NO_REFERENCED_ROW_2');
});

test('a LOAD DATA that is switched off under a session gives way to INSERTs', async () => {
  await rig.sql('CREATE TABLE switched (id int PRIMARY KEY)');
  const stream = await rig.stream('switched');
  await rig.sql('SET GLOBAL local_infile = 0');
  try {
    await assert.rejects(stream.merge('optimistic', [{ id: 1n }]), fails('row'));
    assert.deepEqual(await stream.merge('merge', [{ id: 1n }]), ['merged']);
    stream.session = await rig.connect();
    assert.deepEqual(await stream.merge('optimistic', [{ id: 2n }]), ['merged']);
  } finally {
    await rig.sql('SET GLOBAL local_infile = 1');
  }
});

test('keys are compared as the table compares them, contents as bytes', async () => {
  await rig.sql(`CREATE TABLE folded (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n int);
    CREATE TABLE padded (k varchar(20) COLLATE utf8mb4_bin PRIMARY KEY, n int);
    CREATE TABLE fixed (k char(9) COLLATE utf8mb4_bin PRIMARY KEY, n int)`);
  const folded = await rig.stream('folded');
  assert.equal(folded.table.columns[0]?.bytewiseEqual, false);
  assert.match(folded.table.warnings.join(), /abc and ABC/);
  const rows = [
    { k: 'abc', n: 1n },
    { k: 'ABC', n: 1n },
    { k: 'Abd', n: 2n },
    { k: 'abc', n: 1n },
  ];
  const ends = ['merged', 'deadLetter', 'merged', 'duplicate'];
  assert.deepEqual(await folded.merge('merge', rows), ends);
  const padded = await rig.stream('padded');
  assert.equal(padded.table.columns[0]?.bytewiseEqual, false);
  assert.deepEqual(await padded.merge('merge', [{ k: 'a' }, { k: 'a ' }]), [
    'merged',
    'deadLetter',
  ]);
  assert.equal((await rig.stream('fixed')).table.columns[0]?.bytewiseEqual, true);
  const update = await rig.stream('folded', { onConflict: 'update' });
  assert.deepEqual(await update.merge('merge', [{ k: 'ABC', n: 5n }]), ['merged']);
  assert.deepEqual(await update.merge('merge', [{ k: 'ABC', n: 5n }]), ['duplicate']);
  assert.deepEqual(await rig.sql("SELECT * FROM folded WHERE k = 'abc'"), [{ k: 'ABC', n: 5 }]);
});

test('rows of a batch that are there stand beside rows that are not', async () => {
  await rig.sql(
    `CREATE TABLE mixed (id int PRIMARY KEY, v int NOT NULL DEFAULT 0, note varchar(9))`,
  );
  const stream = await rig.stream('mixed');
  const row = (id: number, note = 'a') => ({ id: BigInt(id), note });
  await stream.merge('merge', [row(1), row(5), row(9)]);
  const mixed = [1, 2, 5, 6, 9].map((id) => row(id, id === 5 ? 'b' : 'a'));
  const ends = ['duplicate', 'merged', 'deadLetter', 'merged', 'duplicate'];
  assert.deepEqual(await stream.merge('merge', mixed), ends);
  // One key twice: now the server chooses.
  const twice = [row(1), row(3), row(6, 'b'), row(3), row(7)];
  assert.deepEqual(await stream.merge('merge', twice), [
    'duplicate',
    'merged',
    'deadLetter',
    'duplicate',
    'merged',
  ]);
  const newest = await rig.stream('mixed', { onConflict: { newest: 'v' } });
  assert.deepEqual(await newest.merge('merge', [row(1, 'c'), row(8), row(8, 'c')]), [
    'superseded',
    'merged',
    'superseded',
  ]);
});

test('another unique index refuses its row, and no other row is touched by it', async () => {
  await rig.sql(`CREATE TABLE twice (id int PRIMARY KEY, email varchar(20) UNIQUE);
    INSERT INTO twice VALUES (1, 'a')`);
  for (const onConflict of ['dead-letter', 'update'] as const) {
    const stream = await rig.stream('twice', { key: ['id'], onConflict });
    const rows = [
      { id: 2n, email: 'a' },
      { id: 3n, email: `b of ${onConflict}` },
    ];
    assert.equal((await stream.merge('merge', rows))[0], 'deadLetter');
    assert.equal((await stream.letters())[0]?.sqlState, 'ER_DUP_ENTRY');
  }
  assert.deepEqual(await rig.sql('SELECT id FROM twice WHERE email = "a"'), [{ id: 1 }]);
});

test('no id is used up for rows that are there already', async () => {
  await rig.sql(`CREATE TABLE counted (n int AUTO_INCREMENT PRIMARY KEY, id int NOT NULL UNIQUE)`);
  const stream = await rig.stream('counted', { key: ['id'] });
  const rows = Array.from({ length: 100 }, (_, i) => ({ id: BigInt(i) }));
  await stream.merge('merge', rows);
  const next = async () => {
    const [row] = await rig.sql(`SELECT auto_increment AS next FROM information_schema.tables
      WHERE table_schema = DATABASE() AND table_name = 'counted'`);
    return row?.['next'];
  };
  const before = await next();
  assert.equal(new Set(await stream.merge('merge', rows)).size, 1);
  assert.equal(await next(), before);
  // A counter that moves is no altered table.
  assert.equal((await stream.session.describe('counted')).fingerprint, stream.table.fingerprint);
  const zero = await rig.stream('counted', { key: ['id'] });
  assert.deepEqual(await zero.merge('merge', [{ n: 0n, id: 500n }]), ['merged']);
  assert.deepEqual(await rig.sql('SELECT n FROM counted WHERE id = 500'), [{ n: 0 }]);
});

test('a trigger that changes keys holds the stream: its rows cannot be told apart', async () => {
  await rig.sql(`CREATE TABLE shifted (id int PRIMARY KEY);
    CREATE TRIGGER shift BEFORE INSERT ON shifted FOR EACH ROW SET NEW.id = NEW.id + 100`);
  const stream = await rig.stream('shifted');
  await assert.rejects(stream.merge('merge', [{ id: 1n }]), fails('hold'));
  assert.deepEqual(await rig.sql('SELECT * FROM shifted'), []);
});

test('a trigger that was made without a strict sql_mode is told', async () => {
  await rig.sql(`CREATE TABLE lax (id int PRIMARY KEY, note varchar(3));
    CREATE TRIGGER strict_one BEFORE INSERT ON lax FOR EACH ROW SET NEW.note = NEW.note;
    SET sql_mode = '';
    CREATE TRIGGER lax_one BEFORE UPDATE ON lax FOR EACH ROW SET NEW.note = 'ab'`);
  const { table } = await rig.stream('lax');
  assert.deepEqual(
    table.warnings.map((text) => text.split(' was')[0]),
    ['Trigger lax_one'],
  );
});

test('an update that a trigger undoes is a dead letter', async () => {
  await rig.sql(`CREATE TABLE frozen (id int PRIMARY KEY, note varchar(9));
    CREATE TRIGGER freeze BEFORE UPDATE ON frozen FOR EACH ROW SET NEW.note = OLD.note`);
  const stream = await rig.stream('frozen', { onConflict: 'update' });
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: 'a' }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: 'b' }]), ['deadLetter']);
  assert.equal((await stream.letters())[0]?.code, 'swallowed');
});

test('an update that a trigger changes is merged', async () => {
  await rig.sql(`CREATE TABLE trimmed (id int PRIMARY KEY, note varchar(9));
    CREATE TRIGGER trim_it BEFORE UPDATE ON trimmed FOR EACH ROW SET NEW.note = TRIM(NEW.note)`);
  const stream = await rig.stream('trimmed', { onConflict: 'update' });
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: 'a' }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: ' b ' }]), ['merged']);
  assert.deepEqual(await rig.sql('SELECT note FROM trimmed'), [{ note: 'b' }]);
});

test('of rows that exclude each other the earlier goes in, a row after its parent', async () => {
  await rig.sql(`CREATE TABLE ordered (id int PRIMARY KEY, code int UNIQUE, parent int,
    FOREIGN KEY (parent) REFERENCES ordered (id))`);
  const stream = await rig.stream('ordered');
  const rows = [
    { id: 9n, code: 1n },
    { id: 3n, code: 1n },
    { id: 8n, parent: 9n },
    { id: 2n, parent: 8n },
    { id: 1n, parent: 7n },
  ];
  const ends = await stream.merge('merge', rows);
  assert.deepEqual(ends, ['merged', 'deadLetter', 'merged', 'merged', 'deadLetter']);
});

test('a storm of one bad row ends, and a good row of its key goes in', async () => {
  await rig.sql(`CREATE TABLE stormy (id int PRIMARY KEY, note varchar(9) CHECK (note <> 'bad'))`);
  const stream = await rig.stream('stormy');
  const bad = Array.from({ length: 3 }, () => ({ id: 1n, note: 'bad' }));
  const ends = await stream.merge('merge', [...bad, { id: 1n, note: 'good' }]);
  assert.deepEqual(ends, ['deadLetter', 'deadLetter', 'deadLetter', 'merged']);
  const many = Array.from({ length: 500 }, () => ({ id: 2n, note: 'bad' }));
  assert.deepEqual([...new Set(await stream.merge('merge', many))], ['deadLetter']);
  assert.equal((await stream.letters()).length, 503);
});

test('a table of another engine, a view, and columns that cannot be written are told', async () => {
  await rig.sql(`CREATE TABLE memory (id int) ENGINE = MEMORY; CREATE TABLE isam (id int) ENGINE =
    MyISAM; CREATE VIEW seen AS SELECT 1 AS one; CREATE TABLE points (id int PRIMARY KEY, p point);
    CREATE TABLE placed (id int PRIMARY KEY, p point NOT NULL)`);
  const session = await rig.connect();
  for (const table of ['memory', 'isam']) {
    await assert.rejects(session.describe(table), /ENGINE = InnoDB/);
  }
  for (const table of ['seen', 'placed', 'none']) {
    await assert.rejects(session.describe(table), fails('hold'), table);
  }
  const { table } = await rig.stream('points');
  assert.match(table.warnings.join(), /Column p.*point/);
  assert.match(readLines(table, '{"id":1,"p":"x"}\n').refused.join(), /unknown-column/);
});

test('a prefix, nullable or hashed index is no key', async () => {
  await rig.sql(`CREATE TABLE unfit (a varchar(200) NOT NULL, b int, c text NOT NULL,
    d int NOT NULL, UNIQUE KEY prefix (a(10)), UNIQUE KEY nullable (b), UNIQUE KEY hashed (c),
    UNIQUE KEY fit (d, a))`);
  const { table } = await rig.stream('unfit');
  assert.deepEqual(table.keys, [['d', 'a']]);
  assert.equal(table.warnings.filter((text) => text.includes('cannot be a key')).length, 3);
});

test('names that need quoting, and a table of another database', async () => {
  await rig.sql(
    'CREATE DATABASE other; CREATE TABLE other.`odd``name` (`a b` int PRIMARY KEY, `c``d` text)',
  );
  const stream = await rig.stream('other.odd`name');
  for (const rung of rungs) {
    const row = { 'a b': BigInt(rung.length), 'c`d': "'; DROP TABLE x; --" };
    assert.deepEqual(await stream.merge(rung, [row]), ['merged']);
  }
});

test('a session is strict and in UTC, whatever the server says', async () => {
  await rig.sql("SET GLOBAL sql_mode = '', GLOBAL time_zone = '+05:00'");
  try {
    await rig.sql('CREATE TABLE sober (id int PRIMARY KEY, at timestamp NULL)');
    const stream = await rig.stream('sober');
    await stream.merge('optimistic', [{ id: 1n, at: '2024-01-01T00:00:00Z' }]);
    const [row] = await rig.sql('SELECT UNIX_TIMESTAMP(at) AS seconds FROM sober');
    assert.equal(Number(row?.['seconds']), 1_704_067_200);
  } finally {
    await rig.sql("SET GLOBAL sql_mode = DEFAULT, GLOBAL time_zone = 'SYSTEM'");
  }
});

test('a server that is set up for careful people takes batches as any other', async () => {
  await rig.sql(`CREATE TABLE careful (id int PRIMARY KEY);
    SET GLOBAL sql_safe_updates = 1, GLOBAL sql_select_limit = 1, GLOBAL max_join_size = 1`);
  try {
    const stream = await rig.stream('careful');
    const rows = [1n, 1n, 2n, 3n].map((id) => ({ id }));
    assert.deepEqual(await stream.merge('merge', rows), [
      'merged',
      'duplicate',
      'merged',
      'merged',
    ]);
    assert.deepEqual(
      await stream.merge('merge', rows),
      rows.map(() => 'duplicate'),
    );
  } finally {
    await rig.sql(`SET GLOBAL sql_safe_updates = DEFAULT, GLOBAL sql_select_limit = DEFAULT,
      GLOBAL max_join_size = DEFAULT`);
  }
});

test('books that refuse a batch hold the stream: no row is to blame', async () => {
  await rig.sql('CREATE TABLE blameless (id int PRIMARY KEY)');
  const stream = await rig.stream('blameless');
  const { writer, stream: name } = stream.id;
  await rig.sql(`INSERT INTO holdfast_ledger VALUES
    ('${writer}', '${name}', 0, 1, 1, 1, 1, 0, 0, 0, 0, NULL, 'direct', NOW(), NOW())`);
  await assert.rejects(stream.merge('merge', [{ id: 1n }]), fails('hold'));
  assert.deepEqual(await rig.sql('SELECT * FROM blameless'), []);
});

test('an error number is read by its vendor, and an unknown one holds', () => {
  assert.equal(classify('MySQL', 4031), 'lost');
  assert.equal(classify('MariaDB', 4031), 'hold');
  assert.equal(classify('MariaDB', 4025), 'row');
  assert.equal(errnoName('MariaDB', 1213), 'ER_LOCK_DEADLOCK');
  // In answer to COMMIT: a deadlock and a key were rolled back; of others nobody knows.
  const open = [1180, 1317, 1598, 1969, 1026, 1030, 9999, 0];
  assert.deepEqual(
    [1213, 1205, 1062, ...open].filter((errno) => isRolledBack('MariaDB', errno)),
    [1213, 1205, 1062],
  );
  const marks = errnos.map(({ errno, vendor }) => `${errno} ${vendor}`);
  assert.equal(new Set(marks).size, marks.length, 'no number stands there twice');
});
