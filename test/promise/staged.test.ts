// What only the staged route promises: a staging table that a crash empties is filled again, and
// mergers of several processes on one database lose and double nothing.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../../src/holdfast.ts';
import type { StreamOptions } from '../../src/options.ts';
import type { Holdfast, Status, VerifyResult } from '../../src/types.ts';
import { jsonOf } from '../support/command-line.ts';
import { temporaryFolder } from '../support/journals.ts';
import { createDatabase, query, startPostgres } from '../support/postgres.ts';
import { dialects, number, openStore, type Servers, startServers } from '../support/stores.ts';

let servers: Servers;
before(async () => {
  servers = await startServers();
});
after(() => servers.stop());

const idsFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: first + i }));

async function reached(
  holdfast: Holdfast,
  isThere: (stream: Status['streams'][string]) => boolean,
): Promise<void> {
  for (;;) {
    const stream = (await holdfast.status()).streams['rows'];
    assert(stream, 'the stream is open');
    if (isThere(stream)) return;
    await pause(20);
  }
}

/** A stream of its own server, whose staging a crash empties. */
async function openUnlogged(t: TestContext) {
  const server = await startPostgres();
  t.after(() => server.stop());
  const url = await createDatabase(server, 'shop');
  await query(url, 'CREATE TABLE rows (id bigint PRIMARY KEY)');
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const start = (stream: Partial<StreamOptions>) =>
    open({
      journal: folder.path,
      target: url,
      streams: {
        rows: { table: 'rows', key: ['id'], route: 'staged', staging: 'unlogged', ...stream },
      },
      limits: { segmentBytes: 4 * 1024 * 1024 },
    });
  return { server, url, start };
}

const rowsOf = async (url: string): Promise<number[]> =>
  (await query(url, 'SELECT id FROM rows ORDER BY id')).map(({ id }) => Number(id));

test('an unlogged staging table that a crash emptied is filled again', async (t) => {
  const { server, url, start } = await openUnlogged(t);
  const staging = await start({ mergers: 0 });
  await staging.write('rows', idsFrom(0, 3_000));
  await reached(staging, ({ watermarks }) => watermarks.staged === 3_000);
  assert.equal((await query(url, 'SELECT 1 FROM holdfast_stage_rows')).length, 3_000);
  await server.kill();
  await server.start();
  assert.deepEqual(await query(url, 'SELECT 1 FROM holdfast_stage_rows'), [], 'the crash took all');
  await staging.write('rows', idsFrom(3_000, 500));
  await reached(staging, ({ watermarks }) => watermarks.staged === 3_500);
  await staging.close({ drainMs: 0 });
  assert.deepEqual(await rowsOf(url), []);
  const holdfast = await start({ mergeEveryMs: 50 });
  t.after(() => holdfast.close({ drainMs: 0 }));
  await reached(holdfast, ({ watermarks }) => watermarks.settled === 3_500);
  assert.deepEqual(
    await rowsOf(url),
    Array.from({ length: 3_500 }, (_, id) => id),
  );
  assert((holdfast.metrics.retries.get('restaged') ?? 0) > 0, 'the loss was noticed');
  const { ok, differences } = await holdfast.verify();
  assert.deepEqual({ ok, differences }, { ok: true, differences: [] });
  const [lane] = await query(
    url,
    'SELECT sum(merged) AS merged, sum(settled) AS settled FROM holdfast_merges',
  );
  assert.deepEqual([Number(lane?.['merged']), Number(lane?.['settled'])], [3_500, 3_500]);
});

test('rows that are staged when a process closes are merged by the next', async (t) => {
  const { url, start } = await openUnlogged(t);
  const first = await start({ mergeEveryMs: 60_000 });
  await first.write('rows', idsFrom(0, 100));
  await first.close({ drainMs: 60_000 });
  assert.equal((await rowsOf(url)).length, 100, 'a drain does not wait for the schedule');
  const second = await start({ mergers: 0 });
  await second.write('rows', idsFrom(100, 100));
  await second.close({ drainMs: 60_000 });
  assert.equal((await rowsOf(url)).length, 100, 'nobody merges here');
  const third = await start({ mergeEveryMs: 50 });
  t.after(() => third.close({ drainMs: 0 }));
  await reached(third, ({ watermarks }) => watermarks.settled === 200);
  assert.equal((await rowsOf(url)).length, 200);
});

const storm = { requests: 120, rows: 200 };
const stormRows = storm.requests * storm.rows;

/** Each request goes to both servers: every row comes twice, at nearly the same time. */
async function sendStorm(urls: readonly string[]): Promise<void> {
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < storm.requests) {
      const first = next++ * storm.rows;
      const body = idsFrom(first, storm.rows)
        .map(({ id }) => `{"id":${id},"note":"n${id % 7}"}\n`)
        .join('');
      await Promise.all(
        urls.map(async (url) => {
          const answer = await fetch(`${url}/v1/streams/rows/records`, {
            method: 'POST',
            headers: { 'content-type': 'application/x-ndjson' },
            body,
          });
          assert.equal(answer.status, 202, await answer.text());
        }),
      );
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
}

const deadlocks: { readonly [dialect: string]: string } = {
  'PostgreSQL, staged': 'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  'MariaDB, staged':
    'SELECT variable_value FROM information_schema.global_status WHERE variable_name = ' +
    "'Innodb_deadlocks'",
};

for (const dialect of dialects.filter((own) => own.endsWith('staged'))) {
  test(`two servers, four mergers each: a storm comes to ${dialect} once`, async (t) => {
    const streams = { rows: { table: 'storm', key: ['id'], mergers: 4, batchRowsMax: 1_000 } };
    const one = await openStore(t, { dialect, servers, streams });
    const other = await openStore(t, { dialect, servers, streams });
    const config = { ...other.options, target: one.options.target };
    other.write('holdfast.config.json', JSON.stringify(config));
    await one.sql('CREATE TABLE storm (id bigint NOT NULL PRIMARY KEY, note varchar(20))');
    const before = await number(one, deadlocks[dialect] ?? '');
    const serving = [one, other].map((store) => store.start(['serve']));
    const urls = await Promise.all(
      serving.map(async (own) => (await own.line(/^Listening on /)).replace('Listening on ', '')),
    );
    await sendStorm(urls);
    const books = async (url: string) => {
      const { streams: all } = (await (await fetch(`${url}/v1/status`)).json()) as Status;
      const stream = all['rows'];
      assert(stream, 'the stream is open');
      return stream;
    };
    for (const url of urls) while ((await books(url)).inFlight > 0) await pause(50);
    const [a, b] = await Promise.all(urls.map(books));
    assert.deepEqual([a?.accepted, b?.accepted], [stormRows, stormRows]);
    assert.deepEqual([a?.unaccounted, b?.unaccounted], [0, 0]);
    assert.equal((a?.merged ?? 0) + (b?.merged ?? 0), stormRows, 'each row once');
    assert.equal((a?.duplicates ?? 0) + (b?.duplicates ?? 0), stormRows, 'and once as a duplicate');
    assert.equal(await number(one, 'SELECT count(*) FROM storm'), stormRows);
    assert.equal(await number(one, 'SELECT count(DISTINCT id) FROM storm'), stormRows);
    for (const [i, own] of serving.entries()) {
      own.child.kill('SIGTERM');
      const { exit, stdout, stderr } = await own.ended;
      assert.equal(exit, 0, stderr);
      assert.doesNotMatch(stdout + stderr, /deadlock/i, `server ${i}`);
    }
    assert.equal(await number(one, deadlocks[dialect] ?? ''), before, 'nobody met a deadlock');
    for (const store of [one, other]) {
      const verified = await store.run(['verify', '--json']);
      assert.equal(verified.exit, 0, verified.stdout);
      assert.deepEqual(jsonOf<VerifyResult>(verified).differences, []);
    }
  });
}
