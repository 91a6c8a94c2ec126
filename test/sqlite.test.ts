// What is SQLite's own: types, keys, files, codes. What merging meets there is in
// test/sqlite-merge.test.ts; what it shares with the other targets in test/target.test.ts.
import assert from 'node:assert/strict';
import { existsSync, renameSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import type { ColumnType } from '../src/accept/columns.ts';
import type { Row } from '../src/accept/rows.ts';
import { systemClock } from '../src/clock.ts';
import { classify, sqliteCodes } from '../src/target/sqlite/codes.ts';
import { sqlitePath, sqliteTarget } from '../src/target/sqlite/target.ts';
import { affinityOf, columnType } from '../src/target/sqlite/types.ts';
import { all, newGround } from './support/sqlite.ts';
import { fails, joinTable, range, times } from './support/target-stream.ts';

const declared: readonly (readonly [string, ColumnType])[] = [
  ['INTEGER', { kind: 'int', bytes: 8 }],
  ['smallint', { kind: 'int', bytes: 8 }],
  ['UNSIGNED BIG INT', { kind: 'int', bytes: 8 }],
  ['INT8', { kind: 'int', bytes: 8 }],
  ['POINT', { kind: 'cast' }],
  ['DOUBLE PRECISION', { kind: 'float', bytes: 8 }],
  ['FLOAT', { kind: 'float', bytes: 8 }],
  ['TEXT', { kind: 'text' }],
  ['VARCHAR(20)', { kind: 'text', charactersMax: 20 }],
  ['NATIONAL CHARACTER ( 7 )', { kind: 'text', charactersMax: 7 }],
  ['BLOB', { kind: 'bytea' }],
  ['NUMERIC', { kind: 'numeric', viaDouble: true }],
  ['decimal(18,2)', { kind: 'numeric', precision: 18, scale: 2, viaDouble: true }],
  ['DECIMAL(10)', { kind: 'numeric', precision: 10, scale: 0, viaDouble: true }],
  ['BOOLEAN', { kind: 'bool' }],
  ['DATE', { kind: 'date' }],
  ['datetime', { kind: 'timestamp', fraction: 6 }],
  ['TIMESTAMP(6)', { kind: 'timestamp', fraction: 6 }],
  ['TIMESTAMP WITH TIME ZONE', { kind: 'timestamptz', fraction: 6 }],
  ['timestamptz', { kind: 'timestamptz', fraction: 6 }],
  ['TIME', { kind: 'time', fraction: 6 }],
  ['UUID', { kind: 'uuid' }],
  ['JSON', { kind: 'json' }],
  ['', { kind: 'cast' }],
  ['STRING', { kind: 'cast' }],
];

test('a declared type means what its name says', () => {
  for (const [name, type] of declared) {
    assert.deepEqual(columnType(name, affinityOf(name, false)), type, name);
  }
});

test('keys are the unique indexes that can arbitrate, the primary key first', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT NOT NULL UNIQUE, b TEXT UNIQUE,
       c TEXT NOT NULL COLLATE NOCASE, d INT NOT NULL, g AS (d + 1), UNIQUE (c, d));
     CREATE UNIQUE INDEX part ON t (d) WHERE d > 0;
     CREATE UNIQUE INDEX expr ON t (d + 1);
     CREATE UNIQUE INDEX other_collation ON t (c COLLATE BINARY)`,
  );
  const { table } = await joinTable(ground, 't');
  assert.deepEqual(table.keys, [['id'], ['a'], ['c', 'd']]);
  const byName = new Map(table.columns.map((column) => [column.name, column]));
  assert.equal(byName.get('id')?.nullable, false);
  assert.equal(byName.get('id')?.hasDefault, true);
  assert.equal(byName.get('g')?.writable, false);
  assert.equal(byName.get('a')?.bytewiseEqual, true);
  assert.equal(byName.get('c')?.bytewiseEqual, false);
  const told = table.warnings.join('\n');
  for (const part of [/partial/, /expression/, /may be null/, /collation is not/, /abc and ABC/]) {
    assert.match(told, part);
  }
});

test('strict tables and tables without rowid are described and written', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE s (id TEXT PRIMARY KEY, v ANY, n INT) STRICT;
     CREATE TABLE w (a TEXT, b INT, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID`,
  );
  const strict = await joinTable(ground, 's');
  assert.deepEqual(strict.table.keys, [['id']]);
  assert.deepEqual(await strict.settle('optimistic', [{ id: 'x', v: '012', n: 1n }]), ['merged']);
  assert.deepEqual(all(ground, 'SELECT v FROM s'), [{ v: '012' }]);
  const without = await joinTable(ground, 'w');
  assert.deepEqual(without.table.keys, [['a', 'b']]);
  const rows = [
    { a: 'x', b: 1n },
    { a: 'x', b: 1n },
    { a: 'x', b: 2n },
  ];
  assert.deepEqual(await without.settle('merge', rows), ['merged', 'duplicate', 'merged']);
});

test('views, virtual tables and absent tables hold', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (id INTEGER PRIMARY KEY);
     CREATE VIEW v AS SELECT * FROM t; CREATE VIRTUAL TABLE f USING fts5 (x)`,
  );
  const { session } = await joinTable(ground, 't');
  for (const name of ['v', 'f', 'nothing', 'temp.t']) {
    await assert.rejects(session.describe(name), fails('hold'), name);
  }
  assert.deepEqual((await session.describe('main.T')).keys, [['id']]);
});

test('values are stored as their types say, and found equal again', async (t) => {
  const ground = await newGround(
    t,
    `CREATE TABLE t (i INTEGER NOT NULL PRIMARY KEY, n NUMERIC, m DECIMAL(20,2), f REAL, b BOOLEAN,
       x BLOB, d DATE, at TIMESTAMP, z TIMESTAMPTZ, u UUID, j JSON, c)`,
  );
  const stream = await joinTable(ground, 't');
  const rows: Row[] = [
    {
      i: 9007199254740993n,
      n: '90071992547409920',
      m: '12.50',
      f: 0.1,
      b: true,
      x: Buffer.alloc(0),
      d: '2026-01-31',
      at: '2026-01-31T10:00:00.5',
      z: '2026-01-31T10:00:00+02:00',
      u: 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
      j: '{"a": 1.50}',
      c: '012',
    },
  ];
  const [first] = rows;
  assert(first);
  assert.deepEqual(await stream.settle('optimistic', [first]), ['merged']);
  const columns = ['i', 'n', 'm', 'f', 'b', 'x', 'd', 'at', 'z', 'u', 'j', 'c'];
  const shown = columns.map((name) => `typeof(${name}) || ' ' || ${name} AS ${name}`);
  assert.deepEqual(all(ground, `SELECT ${shown.join()} FROM t`), [
    {
      i: 'integer 9007199254740993',
      n: 'integer 90071992547409920',
      m: 'real 12.5',
      f: 'real 0.1',
      b: 'integer 1',
      x: 'blob ',
      d: 'text 2026-01-31',
      at: 'text 2026-01-31 10:00:00.500000',
      z: 'text 2026-01-31 08:00:00+00:00',
      u: 'text a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
      j: 'text {"a": 1.50}',
      c: 'text 012',
    },
  ]);
  assert.deepEqual(await stream.settle('optimistic', [first]), ['duplicate']);
  assert.deepEqual(await stream.settle('optimistic', [{ ...first, i: 9007199254740992n }]), [
    'merged',
  ]);
  assert.deepEqual(await stream.settle('merge', [{ ...first, x: null }]), ['deadLetter']);
});

test('a text that the column would turn into another number is a dead letter', async (t) => {
  const ground = await newGround(
    t,
    'CREATE TABLE t (id INT PRIMARY KEY NOT NULL, j JSON, s STRING)',
  );
  const stream = await joinTable(ground, 't');
  assert(stream.table.warnings.some((text) => text.includes('STRING')));
  const rows = [
    { id: 1n, j: '1.50' },
    { id: 2n, j: '15' },
    { id: 3n, s: '007' },
    { id: 4n, s: 'x' },
  ];
  const ends = ['deadLetter', 'merged', 'deadLetter', 'merged'];
  assert.deepEqual(await stream.settle('optimistic', rows), ends);
  assert.deepEqual(
    (await stream.letters()).map(({ code, row }) => [code, row]),
    [
      ['inexact', '{"id":1,"j":1.50}'],
      ['inexact', '{"id":3,"s":"007"}'],
    ],
  );
});

test('NaN is refused, because it would be stored as NULL', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INT NOT NULL PRIMARY KEY, f REAL)');
  const stream = await joinTable(ground, 't');
  const batch = stream.batch([{ id: 1n, f: 1.5 }]);
  const end = batch.tupleEnds[0] ?? 0;
  new DataView(batch.bytes.buffer, batch.bytes.byteOffset).setFloat64(end - 8, Number.NaN);
  await assert.rejects(stream.session.merge(batch, 'optimistic'), fails('row'));
  const { ends } = await stream.session.merge(batch, 'merge');
  assert.deepEqual(ends, Uint8Array.of(3));
});

test('under NOCASE other letters of one key are a conflict, never a duplicate', async (t) => {
  const ground = await newGround(
    t,
    'CREATE TABLE t (k TEXT COLLATE NOCASE NOT NULL UNIQUE, v TEXT)',
  );
  const stream = await joinTable(ground, 't');
  const rows = [
    { k: 'abc', v: '1' },
    { k: 'abc', v: '1' },
    { k: 'ABC', v: '1' },
  ];
  assert.deepEqual(await stream.settle('optimistic', rows), ['merged', 'duplicate', 'deadLetter']);
  const update = await joinTable(ground, 't', { onConflict: 'update' });
  assert.deepEqual(await update.settle('merge', [{ k: 'Abc' }, { k: 'Abc' }]), [
    'merged',
    'duplicate',
  ]);
  assert.deepEqual(all(ground, 'SELECT * FROM t'), [{ k: 'Abc', v: '1' }]);
});

test('wide rows stay below the number of parameters that SQLite takes', async (t) => {
  const names = range(1000).map((i) => `c${i}`);
  const ground = await newGround(t, `CREATE TABLE t (${names.join(' INT, ')} INT)`);
  const stream = await joinTable(ground, 't');
  const row = Object.fromEntries(names.map((name, i) => [name, BigInt(i)]));
  assert.deepEqual(
    await stream.settle(
      'optimistic',
      range(70).map(() => row),
    ),
    times('merged', 70),
  );
  assert.deepEqual(all(ground, 'SELECT count(*) AS n, sum(c999) AS s FROM t'), [
    { n: 70, s: 69_930 },
  ]);
});

test('another writer’s lock is transient, and nothing is written', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const stream = await joinTable(ground, 't');
  ground.database.exec('BEGIN IMMEDIATE');
  const batch = stream.batch([{ id: 1n }]);
  await assert.rejects(stream.session.merge(batch, 'optimistic'), fails('transient'));
  ground.database.exec('ROLLBACK');
  assert.deepEqual(await stream.settle('optimistic', [{ id: 1n }]), ['merged']);
});

test('a file that was swapped is not written to, and the new one is another target', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const stream = await joinTable(ground, 't');
  const { identity } = stream.session;
  assert.notEqual(identity, '');
  renameSync(ground.path, `${ground.path}.old`);
  const batch = stream.batch([{ id: 1n }]);
  await assert.rejects(stream.session.merge(batch, 'optimistic'), fails('lost'));
  await assert.rejects(ground.target.connect(), fails('hold'));
  assert.equal(existsSync(ground.path), false, 'connecting makes no file');
  const other = new DatabaseSync(ground.path);
  other.exec('CREATE TABLE t (id INTEGER PRIMARY KEY)');
  other.close();
  const session = await ground.target.connect();
  assert.equal(session.identity, '');
  await session.prepare(true);
  assert.notEqual(session.identity, identity);
  const again = await ground.target.connect();
  assert.equal(again.identity, session.identity);
});

test('our tables are made only where that is allowed, and newer ones hold', async (t) => {
  const ground = await newGround(t, '');
  const session = await ground.target.connect();
  await assert.rejects(session.prepare(false), fails('hold'));
  await session.prepare(true);
  await session.prepare(false);
  ground.database.exec('UPDATE holdfast_version SET version = 99');
  await assert.rejects(session.prepare(true), fails('hold'));
});

test('what is no database holds', async (t) => {
  const ground = await newGround(t, '');
  const target = sqliteTarget(`sqlite:${import.meta.filename}`, { clock: systemClock });
  await assert.rejects(target.connect(), fails('hold'));
  const none = sqliteTarget(`sqlite:${ground.path}.none`, { clock: systemClock });
  await assert.rejects(none.connect(), fails('hold'));
});

test('a closed session says that it is lost', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const { session, id } = await joinTable(ground, 't');
  session.destroy();
  session.destroy();
  await assert.rejects(session.lanes(id), fails('lost'));
});

test('the URL gives a path, relative to the working folder', () => {
  assert.equal(sqlitePath('sqlite:/data/shop.db'), '/data/shop.db');
  assert.equal(sqlitePath('sqlite:///data/shop%20two.db?mode=ro'), '/data/shop two.db');
  assert.equal(sqlitePath('sqlite:./shop.db'), `${process.cwd()}/shop.db`);
});

test('result codes are told apart, extended ones count as their primary, unknown ones hold', () => {
  assert.equal(new Set(sqliteCodes.map(({ code }) => code)).size, sqliteCodes.length);
  assert.equal(new Set(sqliteCodes.map(({ name }) => name)).size, sqliteCodes.length);
  assert.equal(classify(5 | (9 << 8)), 'transient');
  assert.equal(classify(13), 'hold');
  assert.equal(classify(10 | (4 << 8)), 'hold');
  assert.equal(classify(2067), 'conflict');
  assert.equal(classify(275), 'row');
  assert.equal(classify(200), 'hold');
});
