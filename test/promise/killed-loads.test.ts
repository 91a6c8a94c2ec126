// A load that is killed and started again, and again, and then let to its end.
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { LoadResult } from '../../src/types.ts';
import { Random } from '../simulation/random.ts';
import {
  berkaAmount,
  berkaLoad,
  berkaMissing,
  berkaRows,
  hundredths,
  transTable,
} from '../support/berka.ts';
import { type Ended, jsonOf } from '../support/command-line.ts';
import {
  type Dialect,
  dialects,
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

/** Ten to each dialect: a process costs the most of all this. */
const killsMin = 5;
const growthMax = 3_000;
const openingMs = 700;
/** Counting is work for the server, too. */
const lookMs = 100;

type Key = 'keyed' | 'loose';

/** Small batches, so that there are many moments to die at. */
async function storeWithTrans(t: TestContext, dialect: Dialect, key: Key): Promise<Store> {
  const trans = {
    table: 'trans',
    batchRowsMax: 200,
    ...(key === 'keyed' && { key: ['trans_id'] }),
  };
  const store = await openStore(t, { dialect, servers, streams: { trans } });
  await store.sql(transTable('trans', key));
  return store;
}

const rowsIn = (store: Store) => number(store, 'SELECT count(*) FROM trans');

/** Starts the load and kills it after a while, or once the table has grown by so many rows. */
async function runOnce(store: Store, random: Random): Promise<Ended & { isKilled: boolean }> {
  const rows = await rowsIn(store);
  const { child, ended } = store.start(berkaLoad('trans'));
  if (random.chance(0.4)) await pause(random.below(openingMs));
  else {
    const enough = rows + 1 + random.below(growthMax);
    while (child.exitCode === null && (await rowsIn(store)) < enough) await pause(lookMs);
  }
  child.kill('SIGKILL');
  const all = await ended;
  // Whoever was told the result has seen the load end: the next start is a new load of the file.
  const isTold = all.stdout.trim() !== '';
  return { ...all, isKilled: child.signalCode === 'SIGKILL' && !isTold };
}

/** Until it was killed `kills` times, or came to its end too soon; then without a kill. */
async function runToTheEnd(store: Store, random: Random, kills: number) {
  for (let killed = 0; killed < kills; killed++) {
    const ended = await runOnce(store, random);
    if (!ended.isKilled) return { killed, ended };
  }
  return { killed: kills, ended: await store.run(berkaLoad('trans')) };
}

async function check(store: Store, ended: Ended): Promise<void> {
  if (ended.stdout.trim() === '') assert.equal(ended.exit, 0, ended.stderr);
  const { accepted, merged, duplicates, superseded, deadLetters, rejected } =
    jsonOf<LoadResult>(ended);
  assert.deepEqual(
    { accepted, merged, duplicates, superseded, deadLetters },
    { accepted: berkaRows + 1, merged: berkaRows, duplicates: 0, superseded: 0, deadLetters: 1 },
  );
  assert.deepEqual(
    rejected.map(({ line }) => line),
    [49_104],
  );
  assert.equal(await rowsIn(store), berkaRows);
  assert.equal(await number(store, 'SELECT count(DISTINCT trans_id) FROM trans'), berkaRows);
  const amounts = await store.sql('SELECT concat(amount) AS amount FROM trans');
  const sum = amounts.reduce((total, { amount }) => total + hundredths(String(amount)), 0n);
  assert.equal(sum, berkaAmount());
  const verified = await store.run(['verify', '--json']);
  assert.equal(verified.exit, 0, verified.stdout + verified.stderr);
}

describe('a load', { concurrency: true, skip: berkaMissing }, () => {
  let seed = 0;
  for (const dialect of dialects) {
    for (const key of ['keyed', 'loose'] as const) {
      seed++;
      const random = new Random(seed);
      const table = `a ${key} table of ${dialect}`;
      test(`killed ${killsMin} times fills ${table} as if it never was`, async (t) => {
        for (let kills = 0; kills < killsMin; ) {
          const store = await storeWithTrans(t, dialect, key);
          const { killed, ended } = await runToTheEnd(store, random, killsMin - kills);
          await check(store, ended);
          kills += killed;
        }
      });
    }
  }
});
