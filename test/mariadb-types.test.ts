// Every type of MariaDB's, every bound of its columns, and rows as large as a packet.
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { open } from '../src/index.ts';
import { NotDecoded } from './support/batches.ts';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { everyStored, everyType, everyWanted, everyRow as row } from './support/mariadb-types.ts';
import { readLines } from './support/rows.ts';
import { fails, rungs } from './support/target-stream.ts';

let server: MariadbServer;
let rig: Rig;
/** The same database on a server that takes no LOAD DATA LOCAL. */
let plain: MariadbServer;
let withoutLoad: Rig;
before(async () => {
  [server, plain] = await Promise.all([
    startMariadb(),
    startMariadb('MariaDB 10.11', ['--local-infile=0', '--max-allowed-packet=1M']),
  ]);
  rig = new Rig(await createMariadb(server, 'only'));
  withoutLoad = new Rig(await createMariadb(plain, 'only'));
});
after(async () => {
  await rig.close();
  await withoutLoad.close();
  await server.stop();
  await plain.stop();
});

test('every type keeps every value exactly, whichever way the rows go in', async () => {
  for (const own of [rig, withoutLoad]) {
    for (const rung of rungs) {
      const table = `every_${rung}`;
      await own.sql(`SET NAMES utf8mb4; CREATE TABLE ${table} ${everyType}`);
      const stream = await own.stream(table);
      assert.deepEqual(
        stream.table.columns.filter((column) => !column.writable).map(({ name }) => name),
        ['twice'],
      );
      assert.deepEqual(await stream.merge(rung, [row, { id: 1n }]), ['merged', 'merged']);
      const sql = `SET time_zone = '+00:00'; ${everyStored} FROM ${table} WHERE id > 1`;
      const [stored] = await own.sql(sql);
      assert.deepEqual(stored, everyWanted);
      assert.deepEqual(await stream.merge('merge', [row]), ['duplicate'], 'equal, compared there');
    }
  }
});

test('a text that its column has no letters for is refused, whichever way it goes in', async () => {
  await rig.sql(`CREATE TABLE letters (id int PRIMARY KEY, a varchar(9) CHARACTER SET ascii,
    u varchar(9) CHARACTER SET utf8mb3, l varchar(9) CHARACTER SET latin1)`);
  const stream = await rig.stream('letters');
  for (const row of [{ a: 'é' }, { u: '😀' }, { l: '€ ł' }]) {
    await assert.rejects(stream.merge('optimistic', [{ id: 1n, ...row }]), fails('row'));
    assert.deepEqual(await stream.merge('merge', [{ id: 1n, ...row }]), ['deadLetter']);
  }
  const fits = [{ id: 1n, a: 'e', u: 'é', l: '€' }];
  assert.deepEqual(await stream.merge('optimistic', fits), ['merged']);
  assert.deepEqual(await stream.merge('merge', fits), ['duplicate']);
});

test('labels of an enum are told as they are, and stored', async () => {
  await rig.sql(`CREATE TABLE labels (id int PRIMARY KEY, e enum('a\\\\b', 'c\\nd', 'e''f', '')) `);
  const stream = await rig.stream('labels');
  const labels = ['a\\b', 'c\nd', "e'f", ''];
  const rows = labels.map((e, id) => ({ id: BigInt(id), e }));
  assert.equal(new Set(await stream.merge('optimistic', rows)).size, 1);
  assert.deepEqual(
    (await rig.sql('SELECT e FROM labels ORDER BY id')).map((row) => row['e']),
    labels,
  );
  assert.deepEqual(new Set(await stream.merge('merge', rows)), new Set(['duplicate']));
});

test('what a column would change is refused before it is journaled', async () => {
  await rig.sql(`CREATE TABLE narrow (t tinyint, u smallint unsigned, m mediumint unsigned,
    d decimal(5,2) unsigned, y year, ts timestamp NULL, tt tinytext, b binary(3), vb varbinary(2),
    bits bit(3), yes boolean, f float unsigned, single float(12,2), whole double(18,2))`);
  const { table } = await rig.stream('narrow');
  const refusals: readonly (readonly [string, string])[] = [
    ['"t":128', 'out-of-range'],
    ['"u":-1', 'out-of-range'],
    ['"m":16777216', 'out-of-range'],
    ['"d":-0.01', 'out-of-range'],
    ['"d":1.005', 'inexact'],
    ['"y":99', 'out-of-range'],
    ['"ts":"2038-01-19T03:14:08Z"', 'out-of-range'],
    ['"ts":"1970-01-01T00:00:00Z"', 'out-of-range'],
    ['"ts":"2020-01-01T00:00:00.5Z"', 'inexact'],
    [`"tt":"${'é'.repeat(128)}"`, 'too-long'],
    ['"b":"AAA="', 'inexact'],
    ['"b":"AAAAAA=="', 'too-long'],
    ['"vb":"AAAA"', 'too-long'],
    ['"bits":8', 'out-of-range'],
    ['"yes":"maybe"', 'wrong-type'],
    ['"f":-1', 'out-of-range'],
    // A float has 24 bits: it would be 1234567.88.
    ['"single":1234567.89', 'inexact'],
    ['"single":16777217', 'inexact'],
    ['"single":0.001', 'inexact'],
    ['"single":17179869184.00', 'out-of-range'],
    ['"whole":1234567890123456.78', 'inexact'],
  ];
  for (const [member, code] of refusals) {
    const { refused } = readLines(table, `{${member}}\n`);
    assert.equal(refused[0]?.split(' ')[2], code, member);
  }
  const taken = '{"yes":true,"bits":7,"y":1901,"d":999.99,"b":"AAAA"}\n{"yes":-128}\n';
  assert.deepEqual(readLines(table, taken).refused, []);
  const rounded = readLines(table, '{"b":"AQ=="}\n{"single":1234567.89}\n', { inexact: 'round' });
  assert.deepEqual(rounded.rows, ['{"b":"AQAA"}', '{"single":1234567.88}']);
  const kept = ['0.10', '131071.99', '-8388607.50', '1234567.00'].map(
    (text) => `{"single":${text}}`,
  );
  assert.deepEqual(readLines(table, kept.join('\n')).rows, kept);
});

test('a row that no packet could carry is refused at accept, and the largest goes in', async () => {
  await withoutLoad.sql('CREATE TABLE large (id int PRIMARY KEY, body longblob)');
  const stream = await withoutLoad.stream('large');
  const { rowBytesMax = 0 } = stream.table;
  assert.equal(rowBytesMax, 512 * 1024 - 65_536);
  const fits = Buffer.alloc(rowBytesMax - 100, 0xff);
  assert.deepEqual(await stream.merge('optimistic', [{ id: 1n, body: fits }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ id: 2n, body: fits }]), ['merged']);
  const body = Buffer.alloc(rowBytesMax).toString('base64');
  const { refused } = readLines(stream.table, `{"id":3,"body":"${body}"}\n`);
  assert.deepEqual(refused, ['1 - row-too-large']);
  // A LOAD takes them piece by piece.
  await rig.sql('CREATE TABLE large (id int PRIMARY KEY, body longblob)');
  const loaded = await rig.stream('large');
  const big = Buffer.alloc((loaded.table.rowBytesMax ?? 0) - 100, 0x5c);
  assert.deepEqual(await loaded.merge('optimistic', [{ id: 1n, body: big }]), ['merged']);
  assert.deepEqual(await loaded.merge('merge', [{ id: 1n, body: big }]), ['duplicate']);
  // Many such rows go in by as many statements as they need.
  const many = Array.from({ length: 20 }, (_, i) => ({ id: BigInt(10 + i), body: fits }));
  assert.equal(new Set(await stream.merge('merge', many)).size, 1);
});

test('a line that no packet carries as a dead letter is not taken, the largest is', async () => {
  await withoutLoad.sql('CREATE TABLE taken (id int PRIMARY KEY, body longblob)');
  const stream = await withoutLoad.stream('taken');
  const { rowBytesMax = 0 } = stream.table;
  const largest = new NotDecoded(Buffer.alloc(rowBytesMax, 0xff));
  await stream.merge('merge', [largest, { id: 1n }]);
  assert.deepEqual((await stream.letters())[0]?.raw, Buffer.from(largest.raw));
  const input = Buffer.from(`{"id":2}\n{"id":"${'x'.repeat(rowBytesMax)}"}\n{"id":3}\n`);
  const journal = await mkdtemp(join(tmpdir(), 'holdfast-lines-'));
  const target = withoutLoad.url;
  const holdfast = await open({ journal, target, streams: { lines: { table: 'taken' } } });
  try {
    const how = { format: 'ndjson', invalid: 'dead-letter' } as const;
    await assert.rejects(holdfast.writeBytes('lines', input, how), /1 of the rows .* line 2/);
    const load = await holdfast.load('lines', Readable.from([input]), how);
    assert.deepEqual([load.complete, load.accepted], [false, 1]);
    const short = Buffer.from(`{"id":"${'x'.repeat(rowBytesMax / 2)}"}\n`);
    const { settled } = await holdfast.writeBytes('lines', short, how);
    assert.equal((await settled).deadLetters, 1);
  } finally {
    await holdfast.close();
    await rm(journal, { recursive: true });
  }
});
