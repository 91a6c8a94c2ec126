// What merging meets in SQLite alone: triggers, deferred keys, clauses of the table, a changed
// table. What it shares with the other targets is in test/target.test.ts.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Connection } from '../src/target/sqlite/connection.ts';
import { Fingerprints } from '../src/target/sqlite/lanes.ts';
import { merge } from '../src/target/sqlite/merge.ts';
import { all, newGround } from './support/sqlite.ts';
import { fails, joinTable, range } from './support/target-stream.ts';

test('the table’s own ON CONFLICT clauses do not decide', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (id INTEGER PRIMARY KEY ON CONFLICT REPLACE,
       v TEXT NOT NULL ON CONFLICT IGNORE, u TEXT UNIQUE ON CONFLICT REPLACE)`,
  );
  const stream = await joinTable(ground, 't');
  const rows = [
    { id: 1n, v: 'a', u: 'x' },
    { id: 1n, v: 'b' },
    { id: 2n, v: 'c', u: 'x' },
  ];
  const ends = await stream.settle('optimistic', rows);
  assert.deepEqual(ends, ['merged', 'deadLetter', 'deadLetter']);
  assert.deepEqual(all(ground, 'SELECT * FROM t'), [{ id: 1, v: 'a', u: 'x' }]);
  assert.deepEqual(
    (await stream.letters()).map(({ code, sqlState }) => [code, sqlState]),
    [
      ['key-conflict', null],
      ['refused', 'SQLITE_CONSTRAINT_UNIQUE'],
    ],
  );
});

test('rows whose books cannot be written are not in the table', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const stream = await joinTable(ground, 't');
  ground.database.exec(`CREATE TRIGGER no_books BEFORE INSERT ON holdfast_ledger
    BEGIN SELECT RAISE(ABORT, 'no books today'); END`);
  const batch = stream.batch([{ id: 1n }, { id: 2n }]);
  await assert.rejects(stream.session.merge(batch, 'optimistic'));
  await stream.reconnect();
  assert.deepEqual(all(ground, 'SELECT * FROM t'), []);
  ground.database.exec('DROP TRIGGER no_books');
  await stream.session.merge(batch, 'optimistic');
  assert.equal(all(ground, 'SELECT * FROM t').length, 2);
});

const parents = `CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1)`;

test('a deferred foreign key refuses its own row and no other', async (t) => {
  const ground = await newGround(
    t,
    `${parents}; CREATE TABLE t (id INT NOT NULL PRIMARY KEY,
       p INT REFERENCES p DEFERRABLE INITIALLY DEFERRED,
       up INT REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED)`,
  );
  const stream = await joinTable(ground, 't');
  const rows = [
    { id: 1n, p: 1n, up: 2n },
    { id: 2n, p: 1n },
    { id: 3n, p: 9n },
    // Falls with its parent.
    { id: 4n, up: 3n },
    { id: 5n, p: null, up: 5n },
  ];
  const ends = ['merged', 'merged', 'deadLetter', 'deadLetter', 'merged'];
  assert.deepEqual(await stream.settle('optimistic', rows), ends);
  assert.deepEqual(
    (await stream.letters()).map(({ sequence, sqlState }) => [sequence, sqlState]),
    [
      [3, 'SQLITE_CONSTRAINT_FOREIGNKEY'],
      [4, 'SQLITE_CONSTRAINT_FOREIGNKEY'],
    ],
  );
});

test('an immediate foreign key refuses its own row and no other', async (t) => {
  const ground = await newGround(
    t,
    `${parents}; CREATE TABLE t (id INTEGER PRIMARY KEY, p INT REFERENCES p)`,
  );
  const stream = await joinTable(ground, 't');
  const rows = [{ id: 1n, p: 1n }, { id: 2n, p: 2n }, { id: 3n }];
  assert.deepEqual(await stream.settle('optimistic', rows), ['merged', 'deadLetter', 'merged']);
});

for (const action of ['ABORT', 'FAIL', 'ROLLBACK']) {
  test(`a trigger that raises ${action} takes its own row and nothing else`, async (t) => {
    const ground = await newGround(
      t,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE log (id INT);
       CREATE TRIGGER trap AFTER INSERT ON t BEGIN
         INSERT INTO log VALUES (new.id);
         SELECT RAISE(${action}, 'trapped') WHERE new.v = 'bad';
       END`,
    );
    const stream = await joinTable(ground, 't');
    const rows = range(20).map((id) => ({ id: BigInt(id), v: id % 6 === 5 ? 'bad' : 'good' }));
    const ends = rows.map(({ v }) => (v === 'bad' ? 'deadLetter' : 'merged'));
    assert.deepEqual(await stream.settle('optimistic', rows), ends);
    const good = rows.filter(({ v }) => v === 'good').map(({ id }) => ({ id: Number(id) }));
    assert.deepEqual(all(ground, 'SELECT id FROM t'), good);
    assert.deepEqual(all(ground, 'SELECT id FROM log'), good);
    assert.deepEqual(
      (await stream.letters()).map(({ code, message }) => [code, message]),
      range(3).map(() => ['refused', 'trapped']),
    );
  });
}

test('a row that a trigger swallows is a dead letter of that name', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE TABLE l (v TEXT);
     CREATE TRIGGER a BEFORE INSERT ON t WHEN new.v = 'no' BEGIN SELECT RAISE(IGNORE); END;
     CREATE TRIGGER b BEFORE INSERT ON l WHEN new.v = 'no' BEGIN SELECT RAISE(IGNORE); END`,
  );
  const keyed = await joinTable(ground, 't');
  const ends = await keyed.settle('optimistic', [{ id: 1n }, { id: 2n, v: 'no' }, { id: 3n }]);
  assert.deepEqual(ends, ['merged', 'deadLetter', 'merged']);
  const loose = await joinTable(ground, 'l');
  assert.deepEqual(await loose.settle('optimistic', [{ v: 'no' }, { v: 'x' }]), [
    'deadLetter',
    'merged',
  ]);
  const codes = [...(await keyed.letters()), ...(await loose.letters())].map(({ code }) => code);
  assert.deepEqual(codes, ['swallowed', 'swallowed']);
});

test('an error that one value raises is its row’s, a broken trigger holds', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (id INTEGER PRIMARY KEY, j TEXT CHECK (json_extract(j, '$.a') <> 0));
     CREATE TABLE b (id INTEGER PRIMARY KEY); CREATE TABLE log (id INT);
     CREATE TRIGGER tr AFTER INSERT ON b BEGIN INSERT INTO log VALUES (new.id); END;
     DROP TABLE log`,
  );
  const stream = await joinTable(ground, 't');
  const rows = [
    { id: 1n, j: '{"a":1}' },
    { id: 2n, j: 'no json' },
  ];
  assert.deepEqual(await stream.settle('optimistic', rows), ['merged', 'deadLetter']);
  const broken = await joinTable(ground, 'b');
  for (const rung of ['optimistic', 'merge'] as const) {
    await assert.rejects(broken.session.merge(broken.batch([{ id: 1n }]), rung), fails('hold'));
  }
  ground.database.exec('CREATE TABLE log (id INT)');
  assert.deepEqual(await broken.settle('optimistic', [{ id: 1n }]), ['merged']);
});

test('a table that no longer takes the rows holds them', async (t) => {
  const first = 'CREATE TABLE t (id INTEGER NOT NULL, v TEXT, PRIMARY KEY (id))';
  const later: readonly (readonly [string, boolean])[] = [
    ['CREATE TABLE t (id INTEGER NOT NULL, v TEXT)', false],
    ['CREATE TABLE t (id INTEGER PRIMARY KEY, w TEXT)', false],
    ['CREATE TABLE t (id INTEGER PRIMARY KEY, v TIMESTAMP)', false],
    ["CREATE TABLE t (id INTEGER PRIMARY KEY, v AS ('x'))", false],
    ['CREATE TABLE t (v VARCHAR(3), id INTEGER PRIMARY KEY, x INT NOT NULL DEFAULT 1)', true],
  ];
  for (const [sql, isTaken] of later) {
    const ground = await newGround(t, first);
    const stream = await joinTable(ground, 't');
    const batch = stream.batch([{ id: 1n, v: 'text' }]);
    ground.database.exec(`DROP TABLE t; ${sql}`);
    await assert.rejects(stream.session.merge(batch, 'optimistic'), fails('altered'), sql);
    const now = { ...batch, table: await stream.session.describe('t') };
    if (isTaken) await stream.session.merge(now, 'optimistic');
    else await assert.rejects(stream.session.merge(now, 'optimistic'), fails('hold'), sql);
    await stream.audit();
  }
});

test('a full disk holds the batch whole, and takes it when there is room', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)');
  const stream = await joinTable(ground, 't');
  const v = 'x'.repeat(1000);
  const batch = stream.batch(range(200).map((id) => ({ id: BigInt(id), v })));
  const connection = new Connection(ground.path);
  t.after(() => connection.close());
  const merging = { connection, known: new Fingerprints() };
  connection.exec('PRAGMA max_page_count=40');
  for (const rung of ['optimistic', 'merge'] as const) {
    assert.throws(() => merge(merging, batch, rung), fails('hold'));
    assert.deepEqual(all(ground, 'SELECT count(*) AS n FROM t'), [{ n: 0 }]);
    await stream.audit();
  }
  connection.exec('PRAGMA max_page_count=4000');
  merge(merging, batch, 'optimistic');
  await stream.audit();
  assert.deepEqual(all(ground, 'SELECT count(*) AS n FROM t'), [{ n: 200 }]);
});
