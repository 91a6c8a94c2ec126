// The target and the server die under clients that send again with the same key: each row is
// there once.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Status, VerifyResult } from '../../src/types.ts';
import { Random } from '../simulation/random.ts';
import { jsonOf } from '../support/command-line.ts';
import { runClients } from '../support/http-clients.ts';
import {
  type Dialect,
  dialects,
  isMariadb,
  number,
  openStore,
  type Servers,
  type Store,
  startServers,
} from '../support/stores.ts';

let servers: Servers;
before(async () => {
  servers = await startServers();
});
after(() => servers.stop());

const load = { streams: ['keyed', 'loose'], clients: 4, requests: 60, rows: 40 };
const all = load.clients * load.requests * load.rows;

async function storeWithBoth(t: TestContext, dialect: Dialect): Promise<Store> {
  const streams = { keyed: { table: 'keyed', key: ['id'] }, loose: { table: 'loose' } };
  const store = await openStore(t, { dialect, servers, streams });
  await store.sql('CREATE TABLE keyed (id bigint NOT NULL PRIMARY KEY, request integer)');
  await store.sql('CREATE TABLE loose (id bigint NOT NULL, request integer)');
  return store;
}

interface Serving {
  url: string;
  /** SIGKILL, and a new process on the same journal. */
  killAndStart(): Promise<void>;
}

async function serve(store: Store): Promise<Serving> {
  const start = async () => {
    const process = store.start(['serve']);
    const line = await process.line(/^Listening on /);
    return { process, url: line.replace('Listening on ', '') };
  };
  let own = await start();
  const serving: Serving = {
    url: own.url,
    killAndStart: async () => {
      own.process.child.kill('SIGKILL');
      await own.process.ended;
      own = await start();
      serving.url = own.url;
    },
  };
  return serving;
}

/** Waits for the last row; then both tables hold each id once, and the books say so. */
async function check(store: Store): Promise<void> {
  const total = async () =>
    (await number(store, 'SELECT count(*) FROM keyed')) +
    (await number(store, 'SELECT count(*) FROM loose'));
  while ((await total()) < all) await pause(100);
  const verified = jsonOf<VerifyResult>(await store.run(['verify', '--json']));
  assert.deepEqual(verified.differences, []);
  const ids = await store.sql('SELECT id FROM keyed UNION ALL SELECT id FROM loose');
  assert.equal(ids.length, all);
  assert.equal(new Set(ids.map(({ id }) => Number(id))).size, all);
  const { streams } = jsonOf<Status>(await store.run(['status', '--json']));
  for (const stream of load.streams) {
    const { accepted, merged, unaccounted } = streams[stream] ?? {};
    const expected = { accepted: all / 2, merged: all / 2, unaccounted: 0 };
    assert.deepEqual({ accepted, merged, unaccounted }, expected);
  }
}

/** Runs `disturb` when a share of the requests was answered, one disturbance at a time. */
function disturbing(shares: readonly number[], disturb: () => Promise<void>) {
  const requests = load.clients * load.requests;
  const left = shares.map((share) => Math.floor(share * requests));
  let last: Promise<void> = Promise.resolve();
  return {
    onDone: (done: number) => {
      if (done !== left[0]) return;
      left.shift();
      last = last.then(disturb);
    },
    over: () => last,
  };
}

for (const dialect of dialects.filter((own) => own !== 'SQLite')) {
  test(`a ${dialect} that dies twice under four clients has each row once`, async (t) => {
    const store = await storeWithBoth(t, dialect);
    const serving = await serve(store);
    const { postgres, mariadb } = servers;
    const deaths = disturbing([0.2, 0.6], async () => {
      await (isMariadb(dialect) ? mariadb.kill() : postgres.immediate());
      await pause(300);
      await (isMariadb(dialect) ? mariadb.start() : postgres.start());
    });
    const url = () => serving.url;
    await runClients({ ...load, url, onDone: deaths.onDone });
    await deaths.over();
    await check(store);
  });
}

for (const dialect of dialects) {
  test(`a server killed under four clients brings each row to ${dialect} once`, async (t) => {
    const store = await storeWithBoth(t, dialect);
    const serving = await serve(store);
    const random = new Random(11);
    const shares = Array.from({ length: 4 }, (_, i) => 0.2 * i + 0.2 * random.next());
    const kills = disturbing(shares, () => serving.killAndStart());
    const url = () => serving.url;
    const { retries } = await runClients({ ...load, url, onDone: kills.onDone });
    await kills.over();
    assert(retries >= shares.length, 'the kills were met');
    await check(store);
  });
}
