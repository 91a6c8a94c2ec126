// What a database's user must be allowed, as README has it.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { open } from '../src/holdfast.ts';
import type { OpenOptions } from '../src/options.ts';
import {
  type Dialect,
  isMariadb,
  openStore,
  type Servers,
  type Store,
  startServers,
} from './support/stores.ts';

let servers: Servers;
before(async () => {
  servers = await startServers();
});
after(() => servers.stop());

const streams = {
  a: { table: 'a', key: ['id'] },
  b: { table: 'b', key: ['id'], onConflict: 'update' },
} as const;

/** A store, and a user of its database who has these rights alone. */
async function storeWith(t: TestContext, dialect: Dialect, rights: string): Promise<Store> {
  const store = await openStore(t, { dialect, servers, streams });
  for (const table of ['a', 'b']) {
    await store.sql(`CREATE TABLE ${table} (id bigint NOT NULL PRIMARY KEY, note text)`);
  }
  const url = new URL(store.options.target);
  const database = url.pathname.slice(1);
  const name = `writer_of_${database}`;
  if (isMariadb(dialect)) {
    await store.sql(`CREATE USER ${name} IDENTIFIED BY 'right'`);
    await store.sql(`GRANT ${rights} ON ${database}.* TO ${name}`);
  } else {
    await store.sql(`CREATE ROLE ${name} LOGIN`);
    await store.sql(`GRANT ${rights} ON a, b TO ${name}`);
    await store.sql(`GRANT CREATE ON SCHEMA public TO ${name}`);
  }
  url.username = name;
  url.password = 'right';
  return { ...store, options: { ...store.options, target: url.href } };
}

const rows = (last: string) => [
  { id: 1, note: 'same' },
  { id: 2, note: last },
];

/** New rows, a duplicate, a conflict and an update come to their ends, and are verified. */
async function isServed(options: OpenOptions): Promise<void> {
  const holdfast = await open(options);
  try {
    for (const stream of Object.keys(streams)) {
      await holdfast.write(stream, rows('first'), { level: 'settled' });
      await holdfast.write(stream, rows('second'), { level: 'settled' });
    }
    const letters = await holdfast.deadLetters.list();
    assert.deepEqual(
      letters.map(({ stream, code }) => [stream, code]),
      [['a', 'key-conflict']],
    );
    assert.deepEqual((await holdfast.verify()).differences, []);
  } finally {
    await holdfast.close();
  }
}

const atLeast = 'SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES';
const enough: readonly (readonly [Dialect, string])[] = [
  ['MariaDB', `${atLeast}, CREATE, ALTER`],
  ['MariaDB, staged', `${atLeast}, CREATE, ALTER, DROP`],
  ['PostgreSQL', 'SELECT, INSERT, UPDATE'],
  ['PostgreSQL, staged', 'SELECT, INSERT, UPDATE'],
];
for (const [dialect, rights] of enough) {
  test(`${dialect}: the rights that README names are enough`, async (t) => {
    const { options } = await storeWith(t, dialect, rights);
    await isServed(options);
  });
}

test('MariaDB: where the tables are there, the right to make some is not needed', async (t) => {
  const store = await storeWith(t, 'MariaDB', atLeast);
  const { options } = store;
  await assert.rejects(open(options), /CREATE command denied/);
  const target = new URL(options.target);
  target.username = 'root';
  target.password = '';
  const made = await open({
    ...options,
    journal: `${options.journal}-of-root`,
    target: target.href,
  });
  await made.close();
  await isServed({ ...options, createTables: false });
});
