// What PostgreSQL's locks and clock do to the staged route.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { systemClock } from '../src/clock.ts';
import { open } from '../src/holdfast.ts';
import { Connection } from '../src/target/postgres/connection.ts';
import { postgresTarget } from '../src/target/postgres/target.ts';
import type { Session } from '../src/target/target.ts';
import { batchOf, NotDecoded, replayOf } from './support/batches.ts';
import { temporaryFolder } from './support/journals.ts';
import { createDatabase, type PostgresServer, query, startPostgres } from './support/postgres.ts';
import { fails } from './support/target-stream.ts';
import { streamWhere } from './support/waits.ts';

let server: PostgresServer;
before(async () => {
  server = await startPostgres('15');
});
after(() => server.stop());

const writer = '00000000-0000-4000-8000-000000000001';
let made = 0;

async function openRows(t: TestContext, note = 'text') {
  made++;
  const url = await createDatabase(server, `staged_${made}`);
  await query(url, `CREATE TABLE rows (id bigint PRIMARY KEY, note ${note})`);
  const target = postgresTarget(url, { clock: systemClock, lockMsMax: 1_000 });
  t.after(() => target.close());
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  t.after(() => client.end());
  const session = await target.connect();
  await session.prepare(true);
  const table = await session.describe('rows');
  const id = { writer, stream: 'rows' };
  const rules = { stream: 'rows', key: ['id'], onConflict: 'dead-letter' } as const;
  const staged = { rules, table, isLogged: true };
  const { epoch } = await session.claim({ ...id, lanes: 3, owner: 'test', route: 'staged' });
  const options = { writer, epoch, rules, journaled: table };
  const batch = (first: number, records: Parameters<typeof batchOf>[1][number]['records']) =>
    batchOf(options, [{ lane: 0, first, records }]);
  const stage = (of: Session, ...args: Parameters<typeof batch>) =>
    of.staging?.stage(batch(...args), staged);
  const merge = (of: Session, rowsMax = 20_000) =>
    of.staging?.merge({
      stream: staged,
      rowsMax,
      start: 0,
      share: 1,
      isOptimistic: true,
    });
  return { url, target, client, session, id, rules, options, staged, stage, merge };
}

test('who opens a staging table, or makes its days, waits for no writer', async (t) => {
  const { url, target, client, session, staged, stage } = await openRows(t);
  await stage(session, 1, [{ id: 1n }]);
  const other = await target.connect();
  const { staging } = other;
  assert(staging, 'there is a staged route');
  for (const make of [() => staging.open(staged), () => staging.createAhead(staged)]) {
    const day = `holdfast_stage_rows_p${await tomorrow(url)}`;
    await query(url, `DROP TABLE ${day}`);
    await client.query('BEGIN; DELETE FROM holdfast_stage_rows');
    await make();
    await client.query('ROLLBACK');
    const [made] = await query(url, `SELECT to_regclass('${day}') IS NOT NULL AS "isThere"`);
    assert.equal(made?.['isThere'], true);
  }
});

const tomorrow = async (url: string): Promise<string> => {
  const [row] = await query(
    url,
    `SELECT to_char((now() AT TIME ZONE 'UTC')::date + 1, 'YYYYMMDD') AS day`,
  );
  return String(row?.['day']);
};

test('batches are merged in their order, though the clock went back between them', async (t) => {
  const { url, session, stage, merge } = await openRows(t);
  await stage(session, 1, [{ id: 1n, note: 'first' }]);
  await stage(session, 2, [{ id: 2n }]);
  await query(
    url,
    "UPDATE holdfast_ledger SET at = at - interval '1 hour' WHERE first_sequence = 2",
  );
  const merged = await merge(session);
  assert.deepEqual([merged?.records, merged?.lost], [2, 0]);
});

test('copies are remembered until what they are copies of is merged', async (t) => {
  const { url, session, staged, stage, merge } = await openRows(t);
  const remembered = () => query(url, 'SELECT copies FROM holdfast_copies');
  await stage(session, 1, [{ id: 1n }, { id: 2n }]);
  await stage(session, 3, [{ id: 1n }, { id: 3n }, { id: 3n }]);
  await session.staging?.dedupe(staged, 0, 10);
  const whole = [{ copies: '[[1,3],[4,5]]' }];
  assert.deepEqual(await remembered(), whole);
  await merge(session, 1);
  assert.deepEqual(await remembered(), whole, 'until all are');
  await merge(session);
  assert.deepEqual(await remembered(), []);
});

test('a replay waits for its lane’s merger, and holds nothing that one needs', async (t) => {
  const { target, client, session, id, options, stage, merge } = await openRows(t);
  await stage(session, 1, [new NotDecoded('{')]);
  await merge(session);
  await client.query('BEGIN');
  await client.query('SELECT 1 FROM holdfast_claims WHERE lane = 0 FOR UPDATE');
  const other = await target.connect();
  const letter = { ...id, lane: 0, sequence: 1 };
  const replayed = other.replay(letter, replayOf(options, { id: 1n }));
  const waits = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`;
  while ((await client.query(waits)).rowCount === 0) await pause(10);
  await client.query('SELECT 1 FROM holdfast_merges FOR UPDATE NOWAIT');
  await client.query('COMMIT');
  await replayed;
});

test('rows are not staged under rules that are not theirs', async (t) => {
  const { session, target, staged, stage } = await openRows(t);
  await stage(session, 1, [{ id: 1n }]);
  assert(session.staging);
  const merged = await session.staging.merge({
    stream: staged,
    rowsMax: 20_000,
    start: 0,
    share: 1,
    isOptimistic: true,
  });
  assert.equal(merged?.records, 1);
  const other = await target.connect();
  const rules = { ...staged.rules, onConflict: 'update' } as const;
  await other.staging?.open({ ...staged, rules });
  await assert.rejects(async () => stage(session, 2, [{ id: 2n }]), fails('hold'));
});

/** The whole path on one lane, merging as it comes. */
async function openWhole(t: TestContext) {
  const { url } = await openRows(t);
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const streams = { whole: { table: 'rows', key: ['id'], route: 'staged', lanes: 1 } } as const;
  const start = async (mergeEveryMs: number) => {
    const whole = { ...streams.whole, loaders: 1, mergers: 1, mergeEveryMs };
    const options = { journal: folder.path, target: url, streams: { whole } };
    const holdfast = await open(options);
    t.after(() => holdfast.close({ drainMs: 0 }));
    return holdfast;
  };
  return { url, start };
}

const idsFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: first + i }));

const confirmedOf = async (url: string): Promise<number> => {
  const [row] = await query(
    url,
    "SELECT confirmed FROM holdfast_lanes WHERE stream = 'whole' AND lane = 0",
  );
  return Number(row?.['confirmed']);
};

test('a process that lived short, or was killed, leaves its days confirmed', async (t) => {
  const { url, start } = await openWhole(t);
  const first = await start(20);
  await (await first.write('whole', idsFrom(0, 10))).settled;
  await first.close();
  assert.equal(await confirmedOf(url), 10);
  await query(url, 'UPDATE holdfast_lanes SET confirmed = 0');
  await start(20);
  while ((await confirmedOf(url)) < 10) await pause(20);
});

test('a history that has come past what was told holds nobody up', async (t) => {
  const { url, start } = await openWhole(t);
  const holdfast = await start(500);
  await (await holdfast.write('whole', idsFrom(0, 100))).settled;
  const receipt = await holdfast.write('whole', idsFrom(100, 20));
  await streamWhere(holdfast, 'whole', ({ watermarks }) => watermarks.staged === 120);
  // As after a failover that forgot half of the first merge.
  await query(
    url,
    `BEGIN; SELECT 1 FROM holdfast_claims FOR UPDATE;
     DELETE FROM holdfast_ledger WHERE stream = 'whole';
     INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
         merged, duplicates, superseded, dead_letters, digest, route)
       SELECT writer, stream, lane, first, last, last - first + 1, last - first + 1, 0, 0, 0, 0,
         'staged'
       FROM holdfast_merges, (VALUES (1, 50), (51, 120)) AS b (first, last)
       WHERE stream = 'whole' AND lane = 0;
     INSERT INTO rows SELECT n FROM generate_series(100, 119) AS n;
     UPDATE holdfast_merges SET settled = 120, merged = 120 WHERE stream = 'whole' AND lane = 0;
     COMMIT`,
  );
  const counts = await receipt.settled;
  assert.equal(counts.merged, 20);
  await streamWhere(holdfast, 'whole', ({ watermarks }) => watermarks.confirmed === 120);
});

test('a day whose detaching hangs does not fail the next one', async (t) => {
  const { url, client, session, stage, merge, id } = await openRows(t);
  const days: string[] = [];
  for (const back of [3, 2]) {
    await stage(session, 4 - back, [{ id: BigInt(back) }]);
    const [row = {}] = await query(
      url,
      `SELECT to_char(day, 'YYYYMMDD') AS suffix, day::text AS first, (day + 1)::text AS next
       FROM (SELECT (now() AT TIME ZONE 'UTC')::date - ${back} AS day) d`,
    );
    const [suffix, first, next] = ['suffix', 'first', 'next'].map((name) => String(row[name]));
    const name = `holdfast_stage_rows_p${suffix}`;
    days.push(name);
    await query(
      url,
      `CREATE TABLE ${name} PARTITION OF holdfast_stage_rows
         FOR VALUES FROM ('${first}') TO ('${next}');
       UPDATE holdfast_stage_rows SET holdfast_day = '${first}' WHERE id = ${back}`,
    );
  }
  await merge(session);
  const { staging } = session;
  assert(staging);
  await staging.confirm(id, [{ lane: 0, last: 2 }]);
  await client.query('BEGIN; SELECT 1 FROM holdfast_stage_rows');
  for (const day of days) assert.equal(await staging.dropPartition('rows', day), false, day);
  await client.query('COMMIT');
  for (const day of days) assert.equal(await staging.dropPartition('rows', day), true, day);
});

test('a stream may be named as if it were the index of another one', async (t) => {
  const { session, staged } = await openRows(t);
  const rules = { ...staged.rules, stream: 'rows_place' };
  await session.staging?.open(staged);
  await session.staging?.open({ ...staged, rules });
  assert.notEqual(await session.staging?.partitions('rows_place'), []);
});

test('refused rows of many megabytes are read and kept in parts, in one transaction', async (t) => {
  const { url, session, stage, merge } = await openRows(t);
  const note = '\u0001'.repeat(300_000);
  const rows = Array.from({ length: 30 }, (_, i) => ({ id: BigInt(i), note }));
  await stage(session, 1, [...rows, { id: 30n }]);
  await query(url, "ALTER TABLE rows ADD CHECK (note = 'short')");
  assert.equal((await merge(session))?.records, 31);
  const [kept] = await query(
    url,
    `SELECT count(*)::int AS letters, min(length(row_json)) AS characters,
       count(DISTINCT xmin::text)::int AS transactions, count(DISTINCT cmin::text)::int AS parts
     FROM holdfast_dead_letters`,
  );
  const characters = '{"id":0,"note":""}'.length + 6 * 300_000;
  assert.deepEqual(kept, { letters: 30, characters, transactions: 1, parts: 15 });
});

test('refused rows of long numbers are read in parts, however they lie in the table', async (t) => {
  const { url, session, stage, merge } = await openRows(t, 'numeric');
  const note = '1'.repeat(131_072);
  await stage(
    session,
    1,
    Array.from({ length: 150 }, (_, i) => ({ id: BigInt(i), note })),
  );
  await query(url, 'ALTER TABLE rows ADD CHECK (note = 1)');
  const reads = t.mock.method(Connection.prototype, 'copyOut');
  assert.equal((await merge(session))?.records, 150);
  const read = await Promise.all(reads.mock.calls.map(async ({ result }) => result));
  const lengths = read.map((bytes) => bytes?.length ?? 0);
  assert(lengths.length > 1 && Math.max(...lengths) < 5 * 1024 * 1024, lengths.join());
});
