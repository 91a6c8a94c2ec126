// Every type of MariaDB's, every bound of its columns, and rows as large as a packet.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { readLines } from './support/rows.ts';
import { rungs } from './support/target-stream.ts';

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

const everyType = `(id int unsigned PRIMARY KEY, t tinyint, tu tinyint unsigned, m mediumint,
  b bigint, bu bigint unsigned, yes tinyint(1), d decimal(65,30), f float, g double, bit1 bit(1),
  bit12 bit(12), bit64 bit(64), y year, da date, ti time(6), dt datetime(6), ts timestamp(6) NULL,
  e enum('new','it''s'), s set('a','b','c'), c char(5), v varchar(20), l1 varchar(20) CHARACTER SET
  latin1, u16 varchar(20) CHARACTER SET utf16, x text, j json, bin binary(3), vb varbinary(300),
  bl blob, ip inet6, twice bigint AS (id * 2) STORED)`;

const allBytes = Uint8Array.from({ length: 256 }, (_, i) => i);

const row = {
  id: 4_294_967_295n,
  t: -128n,
  tu: 255n,
  m: -8_388_608n,
  b: -9_223_372_036_854_775_808n,
  bu: 18_446_744_073_709_551_615n,
  yes: true,
  d: '-12345678901234567890123456789012345.123456789012345678901234567891',
  f: 1.1,
  g: 5e-324,
  bit1: 1n,
  bit12: 0xa09n,
  bit64: 18_446_744_073_709_551_615n,
  y: 2155n,
  da: '0001-01-01',
  ti: '23:59:59.000001',
  dt: '9999-12-31T23:59:59.999999',
  ts: '2038-01-19T03:14:07.999999Z',
  e: "it's",
  s: 'c,a',
  c: 'é ',
  v: 'a\tb\\n\n\'"`;--\u0001😀',
  l1: 'café\t',
  u16: 'é😀',
  x: '\\N',
  j: '{"b": 1.50, "a" : "\\\\\\t\\""}',
  bin: Uint8Array.of(0, 9, 92),
  vb: allBytes,
  bl: allBytes,
  ip: '::1',
};

const everyStored = `SELECT id, t, tu, m, CAST(b AS CHAR) AS b, CAST(bu AS CHAR) AS bu, yes,
  CAST(d AS CHAR) AS d, f = CAST(1.1 AS FLOAT) AS f, g = 5e-324 AS g,
  CAST(bit1 + 0 AS CHAR) AS bit1, CAST(bit12 + 0 AS CHAR) AS bit12, HEX(bit64) AS bit64, y, da, ti,
  dt, ts, e, s, HEX(c) AS c, HEX(v) AS v, HEX(l1) AS l1, HEX(u16) AS u16, x, HEX(j) AS j,
  HEX(bin) AS bin, HEX(vb) AS vb, HEX(bl) AS bl, ip, CAST(twice AS CHAR) AS twice`;

test('every type keeps every value exactly, whichever way the rows go in', async () => {
  const hex = (text: string, encoding: BufferEncoding = 'utf8') =>
    Buffer.from(text, encoding).toString('hex').toUpperCase();
  const all = Buffer.from(allBytes).toString('hex').toUpperCase();
  const wanted = {
    ...{ id: 4_294_967_295, t: -128, tu: 255, m: -8_388_608, b: String(row.b) },
    ...{ bu: String(row.bu), yes: 1, d: row.d, f: 1, g: 1, bit1: '1' },
    ...{ bit12: '2569', bit64: 'FFFFFFFFFFFFFFFF', y: 2155, da: '0001-01-01' },
    ...{ ti: '23:59:59.000001', dt: '9999-12-31 23:59:59.999999' },
    ...{ ts: '2038-01-19 03:14:07.999999', e: "it's", s: 'a,c', c: hex('é'), v: hex(row.v) },
    ...{ l1: hex('café\t', 'latin1'), u16: '00E9D83DDE00', x: '\\N', j: hex(row.j) },
    ...{ bin: '00095C', vb: all, bl: all, ip: '::1', twice: '8589934590' },
  };
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
      assert.deepEqual(stored, wanted);
      assert.deepEqual(await stream.merge('merge', [row]), ['duplicate'], 'equal, compared there');
    }
  }
});

test('what a column would change is refused before it is journaled', async () => {
  await rig.sql(`CREATE TABLE narrow (t tinyint, u smallint unsigned, m mediumint unsigned,
    d decimal(5,2) unsigned, y year, ts timestamp NULL, tt tinytext, b binary(3), vb varbinary(2),
    bits bit(3), yes boolean, f float unsigned)`);
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
  ];
  for (const [member, code] of refusals) {
    const { refused } = readLines(table, `{${member}}\n`);
    assert.equal(refused[0]?.split(' ')[2], code, member);
  }
  const taken = '{"yes":true,"bits":7,"y":1901,"d":999.99,"b":"AAAA"}\n{"yes":-128}\n';
  assert.deepEqual(readLines(table, taken).refused, []);
  const rounded = readLines(table, '{"b":"AQ=="}\n', { inexact: 'round' });
  assert.deepEqual(rounded.rows, ['{"b":"AQAA"}']);
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
