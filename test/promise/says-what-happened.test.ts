// Targets that are away, closed to us or wrong: rows are kept, the reason is said, and once it is
// repaired everything goes on by itself.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { open } from '../../src/holdfast.ts';
import type { Holdfast } from '../../src/types.ts';
import {
  type Dialect,
  dialects,
  number,
  openStore,
  type Servers,
  type Store,
  startServers,
} from '../support/stores.ts';
import { reasonOfHold, streamOf, streamWhere } from '../support/waits.ts';

let servers: Servers;
before(async () => {
  servers = await startServers();
});
after(() => servers.stop());

const streams = { a: { table: 'a', key: ['id'] }, b: { table: 'b', key: ['id'] } };

async function storeWithTables(t: TestContext, dialect: Dialect): Promise<Store> {
  const store = await openStore(t, { dialect, servers, streams });
  for (const table of ['a', 'b']) {
    await store.sql(`CREATE TABLE ${table} (id bigint NOT NULL PRIMARY KEY)`);
  }
  return store;
}

/** Opened on the store; closed with the test at the latest. */
async function openOn(t: TestContext, { options }: Pick<Store, 'options'>): Promise<Holdfast> {
  const holdfast = await open(options);
  t.after(() => holdfast.close({ drainMs: 0 }));
  return holdfast;
}

const ids = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: from + i }));

const settle = (holdfast: Holdfast, from: number, count: number) =>
  holdfast.write('a', ids(from, count), { level: 'settled' });

/** Kills the server until `up` is called, or the test is over. */
async function takeDown(t: TestContext) {
  await servers.postgres.immediate();
  let isDown = true;
  const up = async () => {
    if (isDown) await servers.postgres.start();
    isDown = false;
  };
  t.after(up);
  return up;
}

/** Nothing is lost, doubled or given up. */
async function isWhole(holdfast: Holdfast, store: Store, count: number): Promise<void> {
  const { merged, deadLetters, unaccounted } = await streamWhere(
    holdfast,
    'a',
    ({ inFlight }) => inFlight === 0,
  );
  const books = { merged, deadLetters, unaccounted };
  assert.deepEqual(books, { merged: count, deadLetters: 0, unaccounted: 0 });
  assert.equal(await number(store, 'SELECT count(*) FROM a'), count);
  assert.deepEqual((await holdfast.verify()).differences, []);
}

test('a target that is away at the start is waited for, and rows are taken', async (t) => {
  const store = await storeWithTables(t, 'PostgreSQL');
  const first = await open(store.options);
  await settle(first, 0, 10);
  await first.close();
  const up = await takeDown(t);
  const holdfast = await openOn(t, store);
  const receipt = await holdfast.write('a', ids(10, 10));
  const { state, inFlight, unaccounted } = await streamOf(holdfast, 'a');
  assert.notEqual(state, 'running');
  assert.equal(unaccounted, 0);
  assert(inFlight >= 10, 'what is not known to be settled is in flight');
  assert.equal((await holdfast.status()).target.reachable, false);
  await reasonOfHold(holdfast, 'a');
  await up();
  assert.equal((await receipt.settled).merged, 10);
  await isWhole(holdfast, store, 20);
});

test('a target that goes away and comes back loses nothing', async (t) => {
  const store = await storeWithTables(t, 'PostgreSQL');
  const holdfast = await openOn(t, store);
  await settle(holdfast, 0, 10);
  const up = await takeDown(t);
  const receipt = await holdfast.write('a', ids(10, 10), { idempotencyKey: 'once' });
  const reason = await reasonOfHold(holdfast, 'a');
  assert.match(reason, /ECONN|connect/i);
  assert.equal((await streamOf(holdfast, 'a')).inFlight, 10);
  assert.equal((await holdfast.receipt(receipt.id))?.level, 'journaled');
  await up();
  await receipt.settled;
  assert.equal((await streamOf(holdfast, 'a')).state, 'running');
  await isWhole(holdfast, store, 20);
});

/** A role of its own, with a password that is asked for. */
async function storeOfWriter(t: TestContext): Promise<Store> {
  const store = await storeWithTables(t, 'PostgreSQL');
  const name = new URL(store.options.target).pathname.slice(1);
  await store.sql(`CREATE ROLE ${name} LOGIN PASSWORD 'right'`);
  await store.sql(`GRANT CREATE ON SCHEMA public TO ${name}`);
  await store.sql(`GRANT ALL ON a, b TO ${name}`);
  const rules = join(servers.postgres.dataFolder, 'pg_hba.conf');
  writeFileSync(
    rules,
    `host all ${name} 127.0.0.1/32 scram-sha-256\n${readFileSync(rules, 'utf8')}`,
  );
  await store.sql('SELECT pg_reload_conf()');
  const target = store.options.target.replace('postgres@', `${name}:right@`);
  return { ...store, options: { ...store.options, target } };
}

const writerOf = ({ options }: Store): string => new URL(options.target).username;

const endSessions = (store: Store) =>
  store.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${writerOf(store)}'`,
  );

test('a wrong password holds the stream and says so, until it is right again', async (t) => {
  const store = await storeOfWriter(t);
  const holdfast = await openOn(t, store);
  await settle(holdfast, 0, 10);
  await store.sql(`ALTER ROLE ${writerOf(store)} PASSWORD 'wrong'`);
  await endSessions(store);
  const receipt = await holdfast.write('a', ids(10, 10));
  const { reason = '' } = await streamWhere(holdfast, 'a', (own) => /28P01/.test(own.reason ?? ''));
  assert.match(reason, /password/);
  assert.doesNotMatch(JSON.stringify(await holdfast.status()), /right/);
  await store.sql(`ALTER ROLE ${writerOf(store)} PASSWORD 'right'`);
  await receipt.settled;
  await isWhole(holdfast, store, 20);
});

test('no permission holds the stream and says so, until it is granted', async (t) => {
  const store = await storeOfWriter(t);
  const holdfast = await openOn(t, store);
  await settle(holdfast, 0, 10);
  await store.sql(`REVOKE INSERT ON a FROM ${writerOf(store)}`);
  const receipt = await holdfast.write('a', ids(10, 10));
  assert.match(await reasonOfHold(holdfast, 'a'), /permission.*42501/);
  const { inFlight, deadLetters } = await streamOf(holdfast, 'a');
  assert.deepEqual({ inFlight, deadLetters }, { inFlight: 10, deadLetters: 0 });
  await store.sql(`GRANT INSERT ON a TO ${writerOf(store)}`);
  await receipt.settled;
  await isWhole(holdfast, store, 20);
});

for (const dialect of dialects) {
  test(`in ${dialect} a stream without its table disturbs no other (P12)`, async (t) => {
    const store = await storeWithTables(t, dialect);
    const holdfast = await openOn(t, store);
    await settle(holdfast, 0, 10);
    await store.sql('DROP TABLE b');
    const kept = await holdfast.write('b', ids(0, 10));
    await reasonOfHold(holdfast, 'b');
    await settle(holdfast, 10, 10);
    const { state, reason = '', inFlight, deadLetters } = await streamOf(holdfast, 'b');
    assert.deepEqual(
      { state, inFlight, deadLetters },
      { state: 'held', inFlight: 10, deadLetters: 0 },
    );
    assert.match(reason, /\bb\b/);
    await store.sql('CREATE TABLE b (id bigint NOT NULL PRIMARY KEY)');
    assert.equal((await kept.settled).merged, 10);
    await isWhole(holdfast, store, 20);
  });

  test(`a journal older than ${dialect} has it passes nothing over (P4)`, async (t) => {
    const store = await storeWithTables(t, dialect);
    const { journal } = store.options;
    const run = async (from: number) => {
      const holdfast = await open(store.options);
      await settle(holdfast, from, 10);
      await holdfast.close();
    };
    await run(0);
    cpSync(journal, `${journal}.copy`, { recursive: true });
    await run(10);
    rmSync(journal, { recursive: true });
    cpSync(`${journal}.copy`, journal, { recursive: true });
    const holdfast = await openOn(t, store);
    await holdfast.write('a', ids(20, 5));
    assert.match(await reasonOfHold(holdfast, 'a'), /older than its target/);
    assert.equal(await number(store, 'SELECT count(*) FROM a'), 20);
    const { inFlight, unaccounted } = await streamOf(holdfast, 'a');
    assert(inFlight >= 0 && unaccounted !== 0, 'the books do not pretend to balance');
  });
}

test('an older journal that numbered on while its target was away is found too (P4)', async (t) => {
  const store = await storeWithTables(t, 'PostgreSQL');
  const { journal } = store.options;
  const first = await open(store.options);
  await settle(first, 0, 10);
  await first.close();
  cpSync(journal, `${journal}.copy`, { recursive: true });
  const second = await open(store.options);
  await settle(second, 10, 10);
  await second.close();
  rmSync(journal, { recursive: true });
  cpSync(`${journal}.copy`, journal, { recursive: true });
  const up = await takeDown(t);
  const holdfast = await openOn(t, store);
  // More than the target has of this writer: by their numbers alone they would pass as new.
  for (let from = 100; from < 400; from += 100) await holdfast.write('a', ids(from, 100));
  await up();
  await streamWhere(holdfast, 'a', ({ reason = '' }) => /older than its target/.test(reason));
  assert.equal(await number(store, 'SELECT count(*) FROM a'), 20);
});
