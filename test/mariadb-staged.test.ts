// What the staged route of MariaDB and MySQL does beyond the contract: types by way of the staging
// table, what a crash leaves of its DDL, and mergers beside each other under duplicates.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Row } from '../src/accept/rows.ts';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { everyRow, everyStored, everyType, everyWanted } from './support/mariadb-types.ts';
import { fails, range, rungs, Stream, times } from './support/target-stream.ts';

let server: MariadbServer;
let rig: Rig;
/** The same database on a server that takes no LOAD DATA LOCAL. */
let plain: MariadbServer;
let withoutLoad: Rig;
before(async () => {
  [server, plain] = await Promise.all([
    startMariadb(),
    startMariadb('MariaDB 10.11', ['--local-infile=0']),
  ]);
  rig = new Rig(await createMariadb(server, 'staged'));
  withoutLoad = new Rig(await createMariadb(plain, 'staged'));
});
after(async () => {
  await rig.close();
  await withoutLoad.close();
  await server.stop();
  await plain.stop();
});

let made = 0;

async function streamOf(own: Rig, table: string, name = `s${++made}`): Promise<Stream> {
  const session = await own.connect();
  await session.prepare(true);
  const writer = `00000000-0000-4000-9000-${String(++made).padStart(12, '0')}`;
  const id = { writer, stream: name };
  const route = 'staged';
  const { epoch } = await session.claim({ ...id, lanes: 8, owner: 'test', route });
  const described = await session.describe(table);
  const { target } = own;
  const onConflict = 'dead-letter';
  return new Stream({ target, session, id, table: described, onConflict, route, epoch });
}

test('every type passes through the staging table exactly', async () => {
  for (const own of [rig, withoutLoad]) {
    for (const rung of rungs) {
      const table = `every_${rung}`;
      await own.sql(`SET NAMES utf8mb4; CREATE TABLE ${table} ${everyType}`);
      const stream = await streamOf(own, table);
      assert.deepEqual(await stream.settle(rung, [everyRow]), ['merged']);
      const sql = `SET time_zone = '+00:00'; ${everyStored} FROM ${table}`;
      assert.deepEqual(await own.sql(sql), [everyWanted]);
      assert.deepEqual(await stream.settle('merge', [everyRow]), ['duplicate'], 'compared there');
    }
  }
});

test('a staged row is told as JSON as a direct one is', async () => {
  await rig.sql(`SET NAMES utf8mb4; CREATE TABLE told ${everyType}`);
  const other = { ...everyRow, t: 1n };
  const stream = await streamOf(rig, 'told');
  assert.deepEqual(await stream.settle('merge', [everyRow, other]), ['merged', 'deadLetter']);
  const [letter] = await stream.letters();
  const direct = await rig.stream('told');
  assert.deepEqual(await direct.merge('merge', [other]), ['deadLetter']);
  const [directLetter] = await direct.letters();
  assert.equal(letter?.row, directLetter?.row);
});

test('a value that an altered column refuses is a dead letter alone', async () => {
  await rig.sql('CREATE TABLE narrowed (id bigint PRIMARY KEY, n int, x varchar(20))');
  const stream = await streamOf(rig, 'narrowed');
  const rows = range(200).map((id) => ({ id: BigInt(id), n: BigInt(id), x: `x${id}` }));
  await stream.stage(rows.slice(0, 100), rows.slice(100));
  await rig.sql('ALTER TABLE narrowed MODIFY n tinyint, MODIFY x varchar(30)');
  await assert.rejects(stream.mergeAll(), fails('altered'));
  await stream.reconnect();
  const table = await stream.session.describe('narrowed');
  const now = new Stream({ ...stream.parts, session: stream.session, table });
  await now.mergeAll();
  const letters = await now.letters();
  assert.equal(letters.length, 72);
  assert.deepEqual(
    [letters[0]?.row, letters[0]?.sqlState],
    ['{"id":128,"n":128,"x":"x128"}', 'ER_WARN_DATA_OUT_OF_RANGE'],
  );
  const [{ count } = {}] = await rig.sql('SELECT COUNT(*) AS count FROM narrowed');
  assert.equal(Number(count), 128);
  await now.audit();
});

test('what a crash has left of the staging table is made whole', async () => {
  await rig.sql('CREATE TABLE halves (id bigint PRIMARY KEY, n int, x varchar(20))');
  const stream = await streamOf(rig, 'halves', 'halves.A');
  await stream.settle('optimistic', [{ id: 1n }]);
  // The table has grown, and holdfast_stages was not told; of another type than will be needed.
  await rig.sql('ALTER TABLE `holdfast_stage_halves.A` ADD COLUMN x bigint, ADD COLUMN n bigint');
  await stream.reconnect();
  const row = { id: 2n, n: 5n, x: 'text' };
  assert.deepEqual(await stream.settle('optimistic', [row]), ['merged']);
  const [last] = await rig.sql('SELECT x FROM halves WHERE id = 2');
  assert.equal(last?.['x'], 'text');
});

test('writers that let one staging table grow at once all find their columns', async () => {
  const names = range(12).map((i) => `c${i}`);
  await rig.sql(`CREATE TABLE grown (id bigint PRIMARY KEY, ${names.join(' int, ')} int)`);
  const streams = await Promise.all(names.map(() => streamOf(rig, 'grown', 'grown')));
  await Promise.all(
    streams.map((stream, i) => stream.stage([{ id: BigInt(i), [`c${i}`]: BigInt(i) } as Row])),
  );
  await streams[0]?.mergeAll();
  const sum = names.map((name) => `COALESCE(${name}, 0)`).join(' + ');
  const [row] = await rig.sql(`SELECT COUNT(*) AS count, SUM(${sum}) AS sum FROM grown`);
  assert.deepEqual([Number(row?.['count']), Number(row?.['sum'])], [12, 66]);
});

test('rows of columns that came since the layout was read are not judged by others', async () => {
  await rig.sql('CREATE TABLE since (id bigint PRIMARY KEY, c int)');
  const stream = await streamOf(rig, 'since', 'since');
  await stream.stage([{ id: 1n }]);
  const before = await rig.sql("SELECT fields, sets FROM holdfast_stages WHERE stream = 'since'");
  await stream.stage([{ id: 2n, c: 1n }]);
  const after = await rig.sql("SELECT fields, sets FROM holdfast_stages WHERE stream = 'since'");
  const know = (layout: typeof before) =>
    rig.sql(`UPDATE holdfast_stages SET fields = '${String(layout[0]?.['fields'])}',
      sets = '${String(layout[0]?.['sets'])}' WHERE stream = 'since'`);
  // As a session knows it that has looked before the others came.
  await know(before);
  await assert.rejects(stream.mergeAll(), fails('hold'));
  await stream.reconnect();
  await know(after);
  await stream.stage([{ id: 2n, c: 2n }]);
  await know(before);
  assert.equal((await stream.staging.dedupe(stream.staged, 0, 100))?.collapsed, 0);
  await know(after);
  await stream.mergeAll();
  assert.deepEqual(await rig.sql('SELECT * FROM since'), [
    { id: 1, c: null },
    { id: 2, c: 1 },
  ]);
  assert.equal((await stream.totals()).deadLetters, 1);
});

test('a clock that went back between two batches sends no lane back', async () => {
  await rig.sql('CREATE TABLE clocks (id bigint PRIMARY KEY)');
  const stream = await streamOf(rig, 'clocks', 'clocks');
  for (const id of [1n, 2n, 3n]) await stream.stage([{ id }]);
  await rig.sql(`UPDATE holdfast_ledger SET at = at - INTERVAL first_sequence MINUTE
    WHERE stream = 'clocks'`);
  const merged = await stream.mergeAll();
  assert.deepEqual(
    merged.map(({ records, lost }) => [records, lost]),
    [[3, 0]],
  );
  await stream.audit();
});

test('rows larger than a packet are not taken for duplicates', async () => {
  await rig.sql('CREATE TABLE wide (id bigint PRIMARY KEY, a longtext, b longtext)');
  const stream = await streamOf(rig, 'wide');
  const long = 'x'.repeat(900_000);
  const row = (id: number, end: string) => ({ id: BigInt(id), a: long, b: long + end });
  await stream.stage([row(1, 'a'), row(2, 'b'), row(3, 'c')]);
  await rig.sql('SET GLOBAL max_allowed_packet = 1048576');
  try {
    stream.session = await rig.connect();
    assert.equal((await stream.staging.dedupe(stream.staged, 0, 50_000))?.collapsed, 0);
  } finally {
    await rig.sql('SET GLOBAL max_allowed_packet = DEFAULT');
  }
  await stream.reconnect();
  await stream.mergeAll();
  assert.equal((await stream.totals()).merged, 3);
});

test('refused rows of many megabytes are read and kept in parts', async () => {
  await rig.sql(
    'CREATE TABLE large (id bigint PRIMARY KEY, note longtext CHECK (length(note) < 9))',
  );
  const stream = await streamOf(rig, 'large');
  const note = 'x'.repeat(900_000);
  await stream.stage([...range(10).map((id) => ({ id: BigInt(id), note })), { id: 10n }]);
  await rig.sql("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1");
  try {
    await stream.mergeAll();
  } finally {
    await rig.sql('SET GLOBAL general_log = 0');
  }
  const logged = async (text: string): Promise<unknown> => {
    const [row] = await rig.sql(
      `SELECT COUNT(*) AS times FROM mysql.general_log WHERE argument LIKE '${text}%'`,
    );
    return row?.['times'];
  };
  assert.equal((await stream.totals()).deadLetters, 10);
  const reads = await logged('SELECT s.holdfast_source, s.holdfast_sequence, s.*');
  assert.deepEqual([reads, await logged('INSERT INTO holdfast_dead_letters')], [3, 10]);
});

test('a refused row of hundreds of columns is read back', async () => {
  const names = range(800).map((i) => `d${i}`);
  const columns = names.map((name) => `${name} date`).join();
  await rig.sql(`CREATE TABLE hundreds (id bigint PRIMARY KEY CHECK (id <> 2), ${columns})`);
  const stream = await streamOf(rig, 'hundreds');
  const wide = Object.fromEntries(names.map((name) => [name, '2024-01-01']));
  await stream.stage([1n, 2n, 3n].map((id) => ({ id, ...wide })));
  await stream.mergeAll();
  const { merged, deadLetters } = await stream.totals();
  assert.deepEqual([merged, deadLetters], [2, 1]);
});

test('copies are remembered until what they are copies of is merged', async () => {
  await rig.sql('CREATE TABLE copied (id bigint PRIMARY KEY)');
  const stream = await streamOf(rig, 'copied');
  const remembered = () => rig.sql('SELECT copies FROM holdfast_copies ORDER BY source');
  await stream.stage([{ id: 1n }, { id: 2n }]);
  await stream.stage([{ id: 1n }, { id: 2n }], [{ id: 3n }, { id: 3n }]);
  for (const lane of [0, 1]) await stream.staging.dedupe(stream.staged, lane, 10);
  assert.deepEqual(await remembered(), [{ copies: '[[1,3],[2,4]]' }, { copies: '[[1,2]]' }]);
  const turn = { stream: stream.staged, rowsMax: 1, start: 0, share: 1, isOptimistic: true };
  await stream.staging.merge(turn);
  assert.deepEqual(await remembered(), [{ copies: '[[1,2]]' }], 'of lane 1');
  await stream.mergeAll();
  assert.deepEqual(await remembered(), []);
  await stream.audit();
});

test('nor does a clock that went back for more batches than one merge looks at', async () => {
  await rig.sql('CREATE TABLE hours (id bigint PRIMARY KEY)');
  const stream = await streamOf(rig, 'hours', 'hours');
  const inLane = (i: number, lane: number) => [{ id: BigInt(3 * i + lane) }];
  for (const i of range(400)) await stream.stage(inLane(i, 0), inLane(i, 1), inLane(i, 2));
  await rig.sql(`UPDATE holdfast_ledger SET at = at - INTERVAL 1 HOUR
    WHERE stream = 'hours' AND first_sequence > 20`);
  const merged = await stream.mergeAll();
  assert.deepEqual([...new Set(merged.map(({ lost }) => lost))], [0]);
  assert.equal((await stream.totals()).merged, 1_200);
  await stream.audit();
});

test('mergers beside each other under a storm of duplicates meet no deadlock', async () => {
  await rig.sql(`CREATE TABLE storm (id bigint PRIMARY KEY, note varchar(40), other int,
    KEY (note))`);
  const lanes = 8;
  const streams = await Promise.all(range(2).map(() => streamOf(rig, 'storm', 'storm')));
  const deadlocks = async () => {
    const [row] = await rig.sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    return Number(row?.['Value']);
  };
  const before = await deadlocks();
  const rowsOf = (lane: number, step: number) =>
    range(100).map((i) => {
      const id = ((i * 37) % 60) * lanes + lane + step * 5 * lanes;
      return { id: BigInt(id), note: `note ${id % 13}` };
    });
  let isStaged = false;
  const staging = Promise.all(
    streams.map(async (stream) => {
      for (const step of range(15)) await stream.stage(...range(lanes).map((l) => rowsOf(l, step)));
    }),
  ).finally(() => {
    isStaged = true;
  });
  const mergers = range(4).map(async (i) => {
    const [of] = streams;
    assert(of);
    const session = await rig.connect();
    const turn = { stream: of.staged, rowsMax: 1_500, start: i / 4, share: 0.25 };
    for (;;) {
      const isLast = isStaged;
      const done = await session.staging?.merge({ ...turn, isOptimistic: i % 2 === 0 });
      if (!done && isLast) return;
    }
  });
  await Promise.all([staging, ...mergers]);
  await streams[0]?.mergeAll();
  const ids = new Set(
    range(15)
      .flatMap((s) => range(lanes).flatMap((l) => rowsOf(l, s)))
      .map(({ id }) => id),
  );
  const [row] = await rig.sql('SELECT COUNT(*) AS count FROM storm');
  assert.equal(Number(row?.['count']), ids.size);
  for (const stream of streams) await stream.audit();
  const totals = await Promise.all(streams.map((stream) => stream.totals()));
  const sum = (end: 'merged' | 'duplicates') => totals.reduce((all, own) => all + own[end], 0);
  assert.deepEqual([sum('merged'), sum('duplicates')], [ids.size, 2 * 15 * 100 * lanes - ids.size]);
  assert.equal(await deadlocks(), before);
});

test('a staged table without a key takes every row', async () => {
  await rig.sql('CREATE TABLE loose (id bigint, note varchar(20))');
  const stream = await streamOf(rig, 'loose');
  const rows = range(300).map((id) => ({ id: BigInt(id % 7), ...(id % 2 === 0 && { note: 'x' }) }));
  assert.deepEqual(await stream.settle('merge', rows), times('merged', 300));
});
