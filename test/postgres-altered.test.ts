// Tables of PostgreSQL that are altered while rows wait (P5): what they take, and what holds.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createDatabase, type PostgresServer, startPostgres } from './support/postgres.ts';
import { Rig } from './support/postgres-rig.ts';
import { fails } from './support/target-stream.ts';

let server: PostgresServer;
let rig: Rig;
before(async () => {
  server = await startPostgres();
  rig = new Rig(await createDatabase(server, 'altered'));
});
after(async () => {
  await rig.close();
  await server.stop();
});

test('a key whose index is gone, invalid or deferrable is another table (P5, P6)', async () => {
  await rig.sql(`CREATE TABLE indexed (id bigint NOT NULL, a int);
    CREATE UNIQUE INDEX own ON indexed (id); CREATE INDEX other ON indexed (a)`);
  const stream = await rig.stream('indexed');
  let id = 0n;
  const merge = () => stream.merge('optimistic', [{ id: ++id }]);
  const same = [
    'REINDEX INDEX CONCURRENTLY own',
    'CREATE UNIQUE INDEX CONCURRENTLY twin ON indexed (id)',
    'DROP INDEX own; ALTER INDEX twin RENAME TO own; DROP INDEX other',
    'CREATE UNIQUE INDEX partial ON indexed (a) WHERE a > 0',
  ];
  for (const change of same) {
    await rig.sql(change);
    assert.deepEqual(await merge(), ['merged'], change);
  }
  const others = [
    ["UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'own'::regclass", 'SELECT 1'],
    ['DROP INDEX own', 'CREATE UNIQUE INDEX own ON indexed (id)'],
    [
      'DROP INDEX own; ALTER TABLE indexed ADD CONSTRAINT own UNIQUE (id) DEFERRABLE',
      'ALTER TABLE indexed DROP CONSTRAINT own; CREATE UNIQUE INDEX own ON indexed (id)',
    ],
    ['DROP INDEX own; CREATE UNIQUE INDEX own ON indexed (id, a)', 'SELECT 1'],
  ] as const;
  for (const [change, back] of others) {
    await rig.sql(change);
    await assert.rejects(merge(), fails('altered'), change);
    assert.deepEqual((await stream.session.describe('indexed')).keys, []);
    await rig.sql(back);
  }
});

test('an altered column never reads old bytes as something else (P5)', async () => {
  await rig.sql(`CREATE TABLE turned (id int8 PRIMARY KEY, a int8, t timestamptz, s varchar(20),
    gone int)`);
  const alter = async (text: string) => {
    await rig.sql(`ALTER TABLE turned ${text}`);
    return stream.session.describe('turned');
  };
  const stream = await rig.stream('turned');
  const time = await alter(`ALTER a TYPE timestamptz USING NULL`);
  await assert.rejects(
    stream.merge('optimistic', [{ id: 1n, a: 1_700_000_000n }], time),
    fails('row'),
  );
  await assert.rejects(stream.merge('merge', [{ id: 1n, a: 1_700_000_000n }], time), fails('hold'));
  const back = await alter(`ALTER a TYPE int4 USING NULL, ALTER t TYPE int8 USING NULL`);
  const noon = { id: 1n, t: '2024-01-01T12:00:00Z' };
  await assert.rejects(stream.merge('merge', [noon], back), fails('hold'));
  const narrow = [
    { id: 1n, a: 5n },
    { id: 2n, a: 5_000_000_000n },
  ];
  assert.deepEqual(await stream.merge('merge', narrow, back), ['merged', 'deadLetter']);
  const short = await alter('ALTER s TYPE varchar(3)');
  const texts = [
    { id: 3n, s: 'abc' },
    { id: 4n, s: 'abcd' },
  ];
  assert.deepEqual(await stream.merge('merge', texts, short), ['merged', 'deadLetter']);
  const without = await alter('DROP gone');
  await assert.rejects(stream.merge('merge', [{ id: 5n, gone: 1n }], without), fails('hold'));
  assert.deepEqual(await stream.merge('merge', [{ id: 5n }], without), ['merged']);
  assert.deepEqual(
    (await stream.letters()).map((letter) => letter.sqlState),
    ['22003', '22001'],
  );
});

test('an altered column that rounds values without a word holds the stream (P5)', async () => {
  await rig.sql(`CREATE TABLE rounds (id int PRIMARY KEY, d numeric(12,4), n numeric, i int8,
    f float8, t timestamptz, s text, kept numeric(12,2), small int4, at timestamp(3))`);
  const stream = await rig.stream('rounds');
  const alter = async (text: string) => {
    await rig.sql(`ALTER TABLE rounds ${text}`);
    return stream.session.describe('rounds');
  };
  const rows = [
    ['ALTER d TYPE numeric(12,2)', { d: '1.2345' }],
    ['ALTER d TYPE int4', { d: '1.2345' }],
    ['ALTER n TYPE numeric(12,2)', { n: '1.005' }],
    ['ALTER i TYPE float8', { i: 9_007_199_254_740_993n }],
    ['ALTER i TYPE bool USING true', { i: 5n }],
    ['ALTER f TYPE float4', { f: 1.23456789 }],
    ['ALTER t TYPE timestamptz(0)', { t: '2024-01-01T00:00:00.6Z' }],
    ['ALTER t TYPE date', { t: '2024-01-01T12:00:00Z' }],
    ['ALTER t TYPE time USING NULL', { t: '2024-01-01T12:00:00Z' }],
    ['ALTER s TYPE numeric(12,2) USING NULL', { s: '1.005' }],
  ] as const;
  for (const [how, row] of rows) {
    const now = await alter(how);
    await assert.rejects(stream.merge('merge', [{ id: 1n, ...row }], now), fails('hold'), how);
  }
  const wider = await alter(`ALTER kept TYPE numeric(14,4), ALTER small TYPE float8,
    ALTER at TYPE timestamptz`);
  const row = { id: 1n, kept: '1.25', small: 7n, at: '2024-01-01T00:00:00.5' };
  assert.deepEqual(await stream.merge('merge', [row], wider), ['merged']);
  assert.deepEqual(await rig.sql('SELECT kept::text, small FROM rounds'), [
    { kept: '1.2500', small: 7 },
  ]);
});

test('what a column asks of a row is part of what a batch compares (P5)', async () => {
  await rig.sql('CREATE TABLE asks (id int PRIMARY KEY, n int)');
  const changes = [
    'ALTER n SET DEFAULT 1',
    'ALTER n SET NOT NULL',
    'ALTER n DROP DEFAULT',
    'ALTER n ADD GENERATED ALWAYS AS IDENTITY',
  ];
  for (const change of changes) {
    const stream = await rig.stream('asks');
    await rig.sql(`ALTER TABLE asks ${change}`);
    const row = { id: 1n, n: 1n };
    await assert.rejects(stream.merge('optimistic', [row]), fails('altered'), change);
  }
});
