// Tables of MariaDB that are altered while rows wait (P5): what they take, and what holds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { fails, rungs } from './support/target-stream.ts';

let server: MariadbServer;
let rig: Rig;
before(async () => {
  server = await startMariadb();
  rig = new Rig(await createMariadb(server, 'altered'));
});
after(async () => {
  await rig.close();
  await server.stop();
});

test('an altered column never reads old values as something else (P5)', async () => {
  await rig.sql('CREATE TABLE turned (id int PRIMARY KEY, a bigint, s varchar(20), gone int)');
  const stream = await rig.stream('turned');
  const alter = async (text: string) => {
    await rig.sql(`ALTER TABLE turned ${text}`);
    return stream.session.describe('turned');
  };
  const time = await alter('MODIFY a datetime');
  // As text it would be a day of 2023.
  const number = [{ id: 1n, a: 20_230_101n }];
  for (const rung of rungs) {
    await assert.rejects(stream.merge(rung, number, time), fails('hold'));
  }
  const narrow = await alter('MODIFY a smallint, MODIFY s varchar(3)');
  const rows = [
    { id: 1n, a: 5n, s: 'abc' },
    { id: 2n, a: 70_000n },
    { id: 3n, s: 'abcd' },
  ];
  await assert.rejects(stream.merge('optimistic', rows, narrow), fails('row'));
  const ends = await stream.merge('merge', rows, narrow);
  assert.deepEqual(ends, ['merged', 'deadLetter', 'deadLetter']);
  const without = await alter('DROP gone');
  await assert.rejects(stream.merge('merge', [{ id: 5n, gone: 1n }], without), fails('hold'));
  assert.deepEqual(await stream.merge('merge', [{ id: 5n }], without), ['merged']);
  const keyless = await alter('DROP PRIMARY KEY');
  await assert.rejects(stream.merge('merge', [{ id: 6n }], keyless), fails('hold'));
});

test('digits and spaces that an altered column cuts are refused, notes or not (P5)', async () => {
  await rig.sql("SET GLOBAL sql_notes = 0, GLOBAL note_verbosity = ''");
  try {
    await rig.sql('CREATE TABLE cut (id int PRIMARY KEY, d decimal(10, 4), v varchar(9))');
    const stream = await rig.stream('cut');
    await rig.sql('ALTER TABLE cut MODIFY d decimal(10, 2), MODIFY v varchar(3)');
    const now = await stream.session.describe('cut');
    const rows = [
      { id: 1n, d: '1.2345' },
      { id: 2n, v: 'abc ' },
      { id: 3n, d: '1.23', v: 'abc' },
    ];
    await assert.rejects(stream.merge('optimistic', rows, now), fails('row'));
    assert.deepEqual(await stream.merge('merge', rows, now), [
      'deadLetter',
      'deadLetter',
      'merged',
    ]);
    assert.equal((await stream.letters())[0]?.sqlState, 'WARN_DATA_TRUNCATED');
  } finally {
    await rig.sql('SET GLOBAL sql_notes = 1, GLOBAL note_verbosity = DEFAULT');
  }
});

test('an altered column that changes values without a word holds the stream (P5)', async () => {
  await rig.sql(`CREATE TABLE turns (id int PRIMARY KEY, i smallint, w bit(12), n bit(3), y int,
    x double, t datetime(6), b varbinary(5), e varchar(5), d decimal(20, 10), f float,
    p double(10, 4), l enum('1', '2'), at timestamp NULL, c int)`);
  const stream = await rig.stream('turns');
  const alter = async (text: string) => {
    await rig.sql(`ALTER TABLE turns ${text}`);
    return stream.session.describe('turns');
  };
  const turns = [
    ['MODIFY i bit(20)', { i: 5n }],
    ['MODIFY w bit(3)', { w: 257n }],
    ['MODIFY y year', { y: 5n }],
    ['MODIFY x float', { x: 1.23456789 }],
    ['MODIFY t datetime', { t: '2024-01-01T00:00:00.6' }],
    ['MODIFY b binary(5)', { b: Uint8Array.of(1) }],
    ["MODIFY e enum('a', 'b')", { e: '2' }],
    ['MODIFY d double', { d: '1234567890.0123456789' }],
    ['MODIFY d float(20, 10)', { d: '1234567.89' }],
    ['MODIFY p double(10, 2)', { p: '1.2345' }],
    ['MODIFY p float(10, 4)', { p: '1234.5678' }],
    ["MODIFY l enum('paid', 'refused')", { l: '2' }],
    ['MODIFY at timestamp NOT NULL', { at: null }],
    ['MODIFY c int NOT NULL UNIQUE AUTO_INCREMENT', { c: null }],
  ] as const;
  for (const [how, row] of turns) {
    const now = await alter(how);
    for (const rung of rungs) {
      await assert.rejects(stream.merge(rung, [{ id: 1n, ...row }], now), fails('hold'), how);
    }
  }
  const wider = await alter('MODIFY n bit(20), MODIFY f double, DROP at, DROP c');
  assert.deepEqual(await stream.merge('optimistic', [{ id: 1n, n: 5n, f: 1.5 }], wider), [
    'merged',
  ]);
  assert.deepEqual(await rig.sql('SELECT n + 0 AS n, f FROM turns'), [{ n: 5, f: 1.5 }]);
});

test('a table of another character set or collation is an altered one (P5)', async () => {
  await rig.sql('CREATE TABLE recoded (id int PRIMARY KEY, s varchar(20)) CHARSET utf8mb4');
  for (const charset of ['latin1 COLLATE latin1_bin', 'latin1 COLLATE latin1_german1_ci']) {
    const stream = await rig.stream('recoded');
    const row = { id: 1n, s: 'é' };
    await rig.sql(`ALTER TABLE recoded CONVERT TO CHARACTER SET ${charset}`);
    for (const rung of rungs) await assert.rejects(stream.merge(rung, [row]), fails('altered'));
    const now = await stream.session.describe('recoded');
    assert.deepEqual(await stream.merge('optimistic', [row], now), ['merged']);
    assert.deepEqual(await rig.sql('SELECT HEX(s) AS s FROM recoded'), [{ s: 'E9' }]);
    await rig.sql('DELETE FROM recoded');
  }
});
