// `holdfast dedupe` from outside: a child process beside a library that stages and merges.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { open } from '../src/holdfast.ts';
import type { VerifyResult } from '../src/types.ts';
import { jsonOf, openShop, type Shop } from './support/command-line.ts';
import {
  incidentOptions,
  incidentTables,
  MainWrites,
  mergeAll,
  storm,
} from './support/incident.ts';
import { createDatabase, type PostgresServer, query, startPostgres } from './support/postgres.ts';
import { confirmed, openStagedStore, staged, write } from './support/staged-store.ts';

let server: PostgresServer;
before(async () => {
  server = await startPostgres();
});
after(() => server.stop());

interface Deduped {
  readonly rows: number;
  readonly duplicates: number;
  readonly collapsed: number;
  readonly byKey: readonly { readonly key: string; readonly duplicates: number }[];
  readonly byTime: readonly { readonly rows: number; readonly duplicates: number }[];
  readonly dryRun: boolean;
  readonly after?: { readonly rows: number; readonly duplicates: number };
}

async function dedupe(shop: Shop, ...more: readonly string[]): Promise<Deduped> {
  const ended = await shop.run(['dedupe', '--stream', 'payments', '--json', ...more]);
  assert.equal(ended.exit, 0, ended.stderr);
  return jsonOf<Deduped>(ended);
}

test('dedupe reports, changes nothing when dry, and books what it collapses', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open({ mergers: 0 });
  await write(holdfast, 1, 1_000);
  await write(holdfast, 1, 1_000);
  for (let i = 0; i < 3; i++) await write(holdfast, 7, 1);
  await holdfast.write('payments', { tx_id: 7n, note: 'another' });
  await staged(holdfast);
  const dry = await dedupe(store, '--dry-run', '--keys', '2');
  assert.deepEqual(
    [dry.rows, dry.duplicates, dry.collapsed, dry.dryRun, dry.after],
    [2_004, 1_003, 0, true, undefined],
  );
  assert.equal(dry.byKey.length, 2);
  assert.deepEqual(
    [JSON.parse(dry.byKey[0]?.key ?? ''), dry.byKey[0]?.duplicates],
    [{ tx_id: 7 }, 4],
  );
  assert.equal(
    dry.byTime.reduce((sum, { rows }) => sum + rows, 0),
    2_004,
  );
  const done = await dedupe(store);
  assert.deepEqual(
    [done.rows, done.duplicates, done.collapsed, done.after],
    [2_004, 1_003, 1_003, { rows: 1_001, duplicates: 0 }],
  );
  await holdfast.close({ drainMs: 0 });
  const merging = await store.open();
  const { merged, duplicates, deadLetters, unaccounted } = await confirmed(merging);
  assert.deepEqual([merged, duplicates, deadLetters, unaccounted], [1_000, 1_003, 1, 0]);
  await merging.close();
  const verified = await store.run(['verify', '--stream', 'payments', '--json']);
  assert.equal(verified.exit, 0, verified.stdout);
  assert.equal(jsonOf<VerifyResult>(verified).ok, true);
});

/** The article's size is `npm run -s bench -- incident`. */
const stormRows = 200_000;

test(`${stormRows} staged rows, half of them double, are collapsed beside writes`, async (t) => {
  const shop = openShop(t, null);
  const url = await createDatabase(server, 'incident');
  await query(url, incidentTables);
  const options = incidentOptions(join(shop.folder, 'journal'), url, 0);
  shop.write('holdfast.config.json', JSON.stringify(options));
  const holdfast = await open(options);
  await storm(holdfast, stormRows);
  const writes = new MainWrites(holdfast, 5);
  const report = await dedupe(shop);
  const { orders, payments } = await writes.stop();
  await holdfast.close({ drainMs: 0 });
  assert(report.rows >= stormRows, 'all of the storm waited');
  assert.deepEqual([report.duplicates, report.collapsed], [stormRows / 2, stormRows / 2]);
  assert(orders > 0 && payments > 0, 'writes went on');
  const books = await mergeAll(incidentOptions(options.journal, url, 2));
  assert.deepEqual(
    [books.payments.merged, books.payments.duplicates, books.orders.merged],
    [stormRows / 2 + payments, stormRows / 2, orders],
  );
  const [counted] = await query(
    url,
    'SELECT (SELECT count(*) FROM payments)::int AS p, (SELECT count(*) FROM orders)::int AS o',
  );
  assert.deepEqual(counted, { p: stormRows / 2 + payments, o: orders });
});

test('dedupe beside mergers that run loses and doubles nothing', async (t) => {
  const store = await openStagedStore(t, server);
  const staging = await store.open({ mergers: 0 });
  for (let i = 0; i < 3; i++) await write(staging, 1, 20_000);
  await staged(staging);
  await staging.close({ drainMs: 0 });
  const holdfast = await store.open();
  const running = dedupe(store);
  const { merged, duplicates, unaccounted } = await confirmed(holdfast);
  await running;
  assert.deepEqual([merged, duplicates, unaccounted], [20_000, 40_000, 0]);
  assert.equal((await holdfast.verify()).ok, true);
});
