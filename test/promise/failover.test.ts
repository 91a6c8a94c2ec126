// An asynchronous standby is promoted without our last batches: what the database lost comes back
// from the journal, each row once.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../../src/holdfast.ts';
import type { StreamOptions } from '../../src/options.ts';
import type { Holdfast } from '../../src/types.ts';
import { temporaryFolder } from '../support/journals.ts';
import { type PostgresServer, query, startPostgres } from '../support/postgres.ts';

interface Pair {
  readonly primary: PostgresServer;
  readonly standby: PostgresServer;
  readonly holdfast: Holdfast;
}

/** Two tables on a primary with a standby, both hosts in the URL. */
async function openPair(
  t: TestContext,
  stream: Partial<StreamOptions>,
  beforeOpen: (standby: PostgresServer) => Promise<void> = async () => undefined,
): Promise<Pair> {
  const primary = await startPostgres();
  t.after(() => primary.stop());
  const standby = await primary.standby();
  t.after(() => standby.stop());
  await query(primary.url, 'CREATE TABLE keyed (id bigint PRIMARY KEY)');
  await query(primary.url, 'CREATE TABLE loose (id bigint)');
  await caughtUp({ primary, standby });
  await beforeOpen(standby);
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const holdfast = await open({
    journal: folder.path,
    target: `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`,
    streams: {
      keyed: { table: 'keyed', key: ['id'], ...stream },
      loose: { table: 'loose', ...stream },
    },
    limits: { segmentBytes: 4 * 1024 * 1024 },
  });
  t.after(() => holdfast.close({ drainMs: 0 }));
  return { primary, standby, holdfast };
}

const streams = ['keyed', 'loose'];

/** Both streams get the ids; each write is settled in the target of the moment. */
async function write(holdfast: Holdfast, from: number, count: number): Promise<void> {
  for (const stream of streams) {
    for (let id = from; id < from + count; id += 100) {
      const rows = Array.from({ length: Math.min(100, from + count - id) }, (_, i) => ({
        id: id + i,
      }));
      await holdfast.write(stream, rows, { level: 'settled' });
    }
  }
}

async function caughtUp({ primary, standby }: Omit<Pair, 'holdfast'>): Promise<void> {
  const rows = await query(primary.url, 'SELECT pg_current_wal_lsn() AS lsn');
  const reached = `SELECT pg_last_wal_replay_lsn() >= '${String(rows[0]?.['lsn'])}' AS reached`;
  while ((await query(standby.url, reached))[0]?.['reached'] !== true) await pause(10);
}

/** The primary is gone for good; the standby goes on with what it had when it was stopped. */
async function failOver({ primary, standby }: Pair): Promise<void> {
  await primary.kill();
  await standby.start();
  // Without waiting there: its snapshot would stand in the way of the replay that it waits for.
  await query(standby.url, 'SELECT pg_promote(false)');
  const isStandby = 'SELECT pg_is_in_recovery() AS "isIt"';
  while ((await query(standby.url, isStandby))[0]?.['isIt'] === true) await pause(10);
}

const idsOf = async (server: PostgresServer, table: string): Promise<number[]> =>
  (await query(server.url, `SELECT id FROM ${table} ORDER BY id`)).map(({ id }) => Number(id));

/** Waits until the rows are there, then finds each once and the books in order. */
async function check({ standby, holdfast }: Pair, count: number): Promise<void> {
  const expected = Array.from({ length: count }, (_, id) => id);
  for (const stream of streams) {
    while ((await idsOf(standby, stream)).length < count) await pause(50);
    assert.deepEqual(await idsOf(standby, stream), expected);
  }
  const { ok, differences } = await holdfast.verify();
  assert.deepEqual({ ok, differences }, { ok: true, differences: [] });
  for (;;) {
    const status = await holdfast.status();
    const books = streams.map((stream) => status.streams[stream]);
    assert.deepEqual(
      books.map((book) => book?.unaccounted),
      [0, 0],
    );
    if (books.every((book) => book?.inFlight === 0)) {
      assert.deepEqual(
        books.map((book) => book?.merged),
        [count, count],
      );
      return;
    }
    await pause(20);
  }
}

const ways: readonly (readonly [string, Partial<StreamOptions>])[] = [
  ['direct', {}],
  ['staged', { route: 'staged', mergeEveryMs: 50 }],
  // What an unlogged table held is not on the standby at all.
  ['staged, unlogged', { route: 'staged', staging: 'unlogged', mergeEveryMs: 50 }],
];

for (const [name, stream] of ways) {
  test(`${name}: rows that a failover lost come back from the journal, each once`, async (t) => {
    const pair = await openPair(t, stream);
    await write(pair.holdfast, 0, 500);
    await caughtUp(pair);
    await pair.standby.immediate();
    await write(pair.holdfast, 500, 300);
    await failOver(pair);
    assert.equal((await idsOf(pair.standby, 'loose')).length, 500, 'the last rows are lost');
    await write(pair.holdfast, 800, 200);
    await check(pair, 1000);
  });

  test(`${name}: an idle stream notices that its target went back`, async (t) => {
    const pair = await openPair(t, stream);
    await write(pair.holdfast, 0, 200);
    await caughtUp(pair);
    await pair.standby.immediate();
    await write(pair.holdfast, 200, 100);
    await failOver(pair);
    await check(pair, 300);
  });

  test(`${name}: a standby that never heard of the streams gets all of their rows`, async (t) => {
    const pair = await openPair(t, stream, (standby) => standby.immediate());
    await write(pair.holdfast, 0, 300);
    await failOver(pair);
    await check(pair, 300);
  });
}
