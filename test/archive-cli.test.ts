// `holdfast archive` from outside: a child process beside a library that stages and merges.
import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { type Ended, jsonOf } from './support/command-line.ts';
import { type PostgresServer, startPostgres } from './support/postgres.ts';
import { confirmed, openStagedStore, type Store, staged, write } from './support/staged-store.ts';

let server: PostgresServer;
before(async () => {
  server = await startPostgres();
});
after(() => server.stop());

const dayBefore = (days: number): string =>
  new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10);

/** Makes what is staged now some days older, and the owner's word of it as good as its upkeep's. */
async function age(store: Store, days: number): Promise<string> {
  const day = dayBefore(days);
  const [first, next] = [day, dayBefore(days - 1)];
  await store.sql(`
    CREATE TABLE holdfast_stage_payments_p${day.replaceAll('-', '')}
      PARTITION OF holdfast_stage_payments FOR VALUES FROM ('${first}') TO ('${next}');
    UPDATE holdfast_stage_payments SET holdfast_day = '${first}'
      WHERE holdfast_day = (now() AT TIME ZONE 'UTC')::date`);
  return day;
}

/** What the owner's upkeep says once a minute. */
const tellConfirmed = (store: Store) =>
  store.sql(`UPDATE holdfast_lanes l SET confirmed = m.settled FROM holdfast_merges m
    WHERE m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane`);

interface Archived {
  readonly stream: string;
  readonly days: readonly {
    readonly day: string;
    readonly rows: number;
    readonly file: string | null;
    readonly bytes: number;
    readonly dropped: boolean;
  }[];
  readonly waiting: readonly { readonly day: string; readonly reason: string }[];
}

const archiveArgs = ['archive', '--stream', 'payments', '--into', 'old', '--json'];

async function archive(store: Store, ...more: readonly string[]): Promise<Archived> {
  const ended = await store.run([...archiveArgs, ...more]);
  assert.equal(ended.exit, 0, ended.stderr);
  return jsonOf<Archived>(ended);
}

const linesOf = (path: string): string[] =>
  gunzipSync(readFileSync(path)).toString().split('\n').slice(0, -1);

const idsOf = (path: string): number[] =>
  linesOf(path).map((line) => {
    const { row }: { readonly row: { readonly tx_id: number } } = JSON.parse(line);
    return row.tx_id;
  });

const range = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => first + i);

const failed = (ended: Ended, exit: number, message: RegExp): void => {
  assert.equal(ended.exit, exit, ended.stderr);
  assert.match(jsonOf<{ readonly message: string }>(ended).message, message);
};

test('wrong calls of archive and dedupe leave with 2 and say why', async (t) => {
  const store = await openStagedStore(t, server);
  store.write('a-file', '');
  const stream = ['--stream', 'payments', '--json'];
  const calls: readonly (readonly [readonly string[], RegExp])[] = [
    [['archive', ...stream], /Name a folder with --into/],
    [['archive', '--into', 'old', '--stream', 'paymets', '--json'], /did you mean "payments"/],
    [['archive', '--into', 'old', '--stream', 'plain', '--json'], /its route is not 'staged'/],
    [['archive', '--into', 'old', '--before', '2026-13-01', ...stream], /is not a day/],
    [['dedupe', '--stream', 'plain', '--json'], /its route is not 'staged'/],
    [['dedupe', '--keys', 'many', ...stream], /is not a whole number/],
  ];
  for (const [args, message] of calls) failed(await store.run(args), 2, message);
  // Holdfast's own tables are not there yet.
  assert.equal((await store.run(['dedupe', ...stream])).exit, 4);
  const holdfast = await store.open();
  await confirmed(holdfast);
  failed(await store.run(['archive', '--into', 'a-file', ...stream]), 2, /cannot be written to/);
  assert.deepEqual(await archive(store), { stream: 'payments', days: [], waiting: [] });
});

test('a day that still merges, or is not confirmed, is left alone and told', async (t) => {
  const store = await openStagedStore(t, server);
  const staging = await store.open({ mergers: 0 });
  await write(staging, 1, 100);
  await staged(staging);
  const day = await age(store, 3);
  await store.sql(`UPDATE holdfast_ledger SET at = at - interval '3 days'`);
  const merging = await archive(store);
  assert.deepEqual([merging.days, merging.waiting[0]?.day], [[], day]);
  assert.match(merging.waiting[0]?.reason ?? '', /wait for their merge/);
  await staging.close({ drainMs: 0 });
  const holdfast = await store.open();
  await confirmed(holdfast);
  await store.sql('UPDATE holdfast_lanes SET confirmed = 0');
  const { days, waiting } = await archive(store);
  assert.deepEqual([days, waiting.length], [[], 1]);
  assert.match(waiting[0]?.reason ?? '', /not confirmed/);
});

test('an archive has every row once, its manifest is true, and the day goes', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open();
  await write(holdfast, 1, 12_000);
  const json = '[{"tx_id":9007199254740993,"extra":{"a":\n1}},{"tx_id":20000,"note":"a\\nb"}]';
  await holdfast.writeBytes('payments', Buffer.from(json), { format: 'json' });
  await confirmed(holdfast);
  const day = await age(store, 2);
  await tellConfirmed(store);
  const none = await archive(store, '--before', day);
  assert.deepEqual(none.days, []);
  const kept = await archive(store, '--keep');
  const file = join(store.folder, 'old', `payments-${day}.ndjson.gz`);
  const size = readFileSync(file).length;
  assert.deepEqual(kept.days, [{ day, rows: 12_002, file, bytes: size, dropped: false }]);
  const lines = linesOf(file);
  assert.equal(lines.length, 12_002, 'a newline within a value does not cut its line');
  assert(lines.some((line) => line.includes('"row":{"tx_id":9007199254740993,')));
  const manifest = JSON.parse(
    readFileSync(join(store.folder, 'old', `payments-${day}.manifest.json`), 'utf8'),
  );
  assert.deepEqual(
    [manifest.stream, manifest.day, manifest.rows, manifest.bytes],
    ['payments', day, 12_002, size],
  );
  const counted = manifest.lanes.reduce(
    (sum: number, lane: { rows: number }) => sum + lane.rows,
    0,
  );
  assert.equal(counted, 12_002);
  // What stands there is whole, so it is not written again.
  const dropped = await archive(store);
  assert.deepEqual(dropped.days, [{ day, rows: 12_002, file, bytes: size, dropped: true }]);
  assert.equal(readdirSync(join(store.folder, 'old')).length, 2);
  assert.deepEqual(await archive(store), { stream: 'payments', days: [], waiting: [] });
  assert.equal((await holdfast.verify()).ok, true);
});

test('an archive that was damaged is not trusted, and not written over', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open();
  await write(holdfast, 1, 3_000);
  await confirmed(holdfast);
  const day = await age(store, 2);
  await tellConfirmed(store);
  const kept = await archive(store, '--keep');
  const file = kept.days[0]?.file ?? '';
  const damaged = readFileSync(file);
  damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 0xff;
  writeFileSync(file, damaged);
  const again = await archive(store);
  const second = join(store.folder, 'old', `payments-${day}.2.ndjson.gz`);
  assert.deepEqual([again.days[0]?.file, again.days[0]?.dropped], [second, true]);
  assert.deepEqual(
    idsOf(second).sort((a, b) => a - b),
    range(1, 3_000),
  );
  assert.deepEqual(readFileSync(file), damaged);
});

test('what cannot be written leaves with HF_ARCHIVE and drops nothing', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open();
  await write(holdfast, 1, 100);
  await confirmed(holdfast);
  const day = await age(store, 2);
  await tellConfirmed(store);
  const inTheWay = join(store.folder, 'old', `payments-${day}.manifest.json`);
  mkdirSync(inTheWay, { recursive: true });
  const ended = await store.run(archiveArgs);
  assert.equal(ended.exit, 4);
  assert.equal(jsonOf<{ readonly code: string }>(ended).code, 'HF_ARCHIVE', ended.stderr);
  rmdirSync(inTheWay);
  const { days } = await archive(store);
  assert.deepEqual([days[0]?.rows, days[0]?.dropped], [100, true]);
  assert.equal(readdirSync(join(store.folder, 'old')).length, 2);
});

const namesIn = (store: Store): string[] =>
  existsSync(join(store.folder, 'old')) ? readdirSync(join(store.folder, 'old')) : [];

test('an archive killed at any moment goes on, beside a load, and loses no row', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open();
  const days: string[] = [];
  for (const [i, ago] of [5, 4, 3].entries()) {
    await write(holdfast, i * 20_000 + 1, 20_000);
    await confirmed(holdfast);
    days.push(await age(store, ago));
  }
  await tellConfirmed(store);
  let isLoading = true;
  let loaded = 0;
  const loading = (async () => {
    for (; isLoading; loaded += 500) {
      await write(holdfast, 1_000_000 + loaded, 500);
      await pause(50);
    }
  })();
  // While it writes, between manifest and rows, between rows and drop, in the day behind.
  const moments = [
    (names: readonly string[]) => names.some((name) => name.endsWith('.gz.part')),
    (names: readonly string[]) => names.some((name) => name.endsWith('.json')),
    (names: readonly string[]) => names.some((name) => name.endsWith('.gz')),
    (names: readonly string[]) => names.filter((name) => name.endsWith('.gz')).length === 2,
  ];
  for (const isNow of moments) {
    const running = store.start(archiveArgs);
    while (running.child.exitCode === null && !isNow(namesIn(store))) await pause(1);
    running.child.kill('SIGKILL');
    const ended = await running.ended;
    assert.equal(running.child.signalCode, 'SIGKILL', `it ended by itself: ${ended.stderr}`);
  }
  const { days: left } = await archive(store);
  assert(
    left.every(({ dropped }) => dropped),
    'the last run comes to an end',
  );
  isLoading = false;
  await loading;
  const folder = join(store.folder, 'old');
  const files = readdirSync(folder).filter((name) => name.endsWith('.gz'));
  assert.deepEqual(
    files,
    days.map((day) => `payments-${day}.ndjson.gz`),
  );
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith('.part')),
    [],
  );
  const ids = files.flatMap((name) => idsOf(join(folder, name))).sort((a, b) => a - b);
  assert.deepEqual(ids, range(1, 60_000));
  const staying = await store.sql(`SELECT count(*)::int AS n FROM holdfast_stage_payments
    WHERE holdfast_day < (now() AT TIME ZONE 'UTC')::date`);
  assert.deepEqual(staying, [{ n: 0 }]);
  const { merged, unaccounted } = await confirmed(holdfast);
  assert.deepEqual([merged, unaccounted], [60_000 + loaded, 0]);
});

test('a day that somebody reads stays, with its archive whole, and goes later', async (t) => {
  const store = await openStagedStore(t, server);
  const holdfast = await store.open();
  await write(holdfast, 1, 100);
  await confirmed(holdfast);
  const day = await age(store, 2);
  await tellConfirmed(store);
  const reading = assert.rejects(
    store.sql(`BEGIN; SELECT count(*) FROM holdfast_stage_payments;
      SELECT pg_sleep(60); COMMIT`),
  );
  const reader = await untilAny(() =>
    store.sql(`SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'`),
  );
  const ended = await store.run(archiveArgs);
  await store.sql(`SELECT pg_terminate_backend(${Number(reader['pid'])})`);
  await reading;
  assert.equal(ended.exit, 4, ended.stderr);
  const { days } = jsonOf<Archived>(ended);
  assert.deepEqual([days[0]?.day, days[0]?.rows, days[0]?.dropped], [day, 100, false]);
  const again = await archive(store);
  assert.deepEqual([again.days[0]?.rows, again.days[0]?.dropped], [100, true]);
  assert.equal(readdirSync(join(store.folder, 'old')).length, 2);
});

async function untilAny<T>(ask: () => Promise<T[]>): Promise<T> {
  for (;;) {
    const [found] = await ask();
    if (found !== undefined) return found;
  }
}
