// Tables that change under a running stream, between the journal and the merge: nothing arrives as
// something else, nothing is dropped, and what cannot go on says why and waits.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import type { Row } from '../../src/accept/rows.ts';
import { HoldfastError } from '../../src/errors.ts';
import { open } from '../../src/holdfast.ts';
import type { Holdfast, Receipt } from '../../src/types.ts';
import { connect as connectMariadb } from '../support/mariadb.ts';
import {
  type Dialect,
  dialects,
  isMariadb,
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

const table = 'CREATE TABLE t (id bigint NOT NULL PRIMARY KEY, n bigint, note text)';

interface Open {
  readonly store: Store;
  readonly holdfast: Holdfast;
}

async function openTable(t: TestContext, dialect: Dialect): Promise<Open> {
  const streams = { t: { table: 't', key: ['id'] } };
  const store = await openStore(t, { dialect, servers, streams });
  await store.sql(table);
  const holdfast = await open(store.options);
  t.after(() => holdfast.close({ drainMs: 0 }));
  return { store, holdfast };
}

/** One transaction of somebody else that keeps merges away, lets `during` write, and alters. */
async function alter({ store }: Open, change: string, during: () => Promise<Receipt>) {
  const { target } = store.options;
  if (target.startsWith('mysql')) {
    // A transaction would end before the change.
    const other = await connectMariadb(target);
    await other.query('LOCK TABLES t WRITE');
    const receipt = await during();
    await other.query(change);
    await other.query('UNLOCK TABLES');
    await other.end();
    return receipt;
  }
  if (!target.startsWith('postgres')) {
    await store.sql('BEGIN IMMEDIATE');
    const receipt = await during();
    for (const statement of change.split(';')) await store.sql(statement);
    await store.sql('COMMIT');
    return receipt;
  }
  const other = new pg.Client({ connectionString: target });
  await other.connect();
  await other.query('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
  const receipt = await during();
  await other.query(change);
  await other.query('COMMIT');
  await other.end();
  return receipt;
}

const rowsOf = async ({ store }: Open): Promise<Record<string, unknown>[]> => {
  const rows = await store.sql('SELECT * FROM t ORDER BY id');
  return rows.map((row) => ({ ...row, id: Number(row['id']) }));
};

async function isBalanced({ holdfast }: Open): Promise<void> {
  const { inFlight, unaccounted } = await streamOf(holdfast, 't');
  assert.deepEqual({ inFlight, unaccounted }, { inFlight: 0, unaccounted: 0 });
}

/** Tries until the row is taken: the stream has to see the new column first. */
async function writeOnceTaken(holdfast: Holdfast, row: Row): Promise<Receipt> {
  for (;;) {
    try {
      return await holdfast.write('t', row, { level: 'settled' });
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'HF_ROWS_REFUSED') throw error;
      assert.equal(error.rejected?.[0]?.code, 'unknown-column');
      await pause(50);
    }
  }
}

for (const dialect of dialects) {
  test(`a table of ${dialect} dropped and made again is written again`, async (t) => {
    const own = await openTable(t, dialect);
    const { store, holdfast } = own;
    await holdfast.write('t', { id: 1, n: 1 }, { level: 'settled' });
    await store.sql('DROP TABLE t');
    const receipt = await holdfast.write('t', { id: 2, n: 2 });
    await reasonOfHold(holdfast, 't');
    await store.sql(table);
    assert.equal((await receipt.settled).merged, 1);
    await holdfast.write('t', { id: 3, n: 3 }, { level: 'settled' });
    assert.deepEqual(
      (await rowsOf(own)).map(({ id }) => id),
      [2, 3],
    );
    assert.equal((await streamOf(holdfast, 't')).state, 'running');
    await isBalanced(own);
  });

  test(`a column added in ${dialect} is a default in old rows and taken in new`, async (t) => {
    const own = await openTable(t, dialect);
    const { holdfast } = own;
    const change = "ALTER TABLE t ADD COLUMN kind text DEFAULT 'old'";
    const receipt = await alter(own, change, () => holdfast.write('t', { id: 1, note: 'a' }));
    assert.equal((await receipt.settled).merged, 1);
    await writeOnceTaken(holdfast, { id: 2, note: 'b', kind: 'new' });
    assert.deepEqual(await rowsOf(own), [
      { id: 1, n: null, note: 'a', kind: 'old' },
      { id: 2, n: null, note: 'b', kind: 'new' },
    ]);
    await isBalanced(own);
  });

  test(`a column dropped in ${dialect} holds the rows that have it until it is back`, async (t) => {
    const own = await openTable(t, dialect);
    const { store, holdfast } = own;
    const receipt = await alter(own, 'ALTER TABLE t DROP COLUMN note', () =>
      holdfast.write('t', { id: 1, note: 'must not vanish' }),
    );
    assert.match(await reasonOfHold(holdfast, 't'), /note/);
    const { inFlight, deadLetters, merged } = await streamOf(holdfast, 't');
    const books = { inFlight, deadLetters, merged };
    assert.deepEqual(books, { inFlight: 1, deadLetters: 0, merged: 0 });
    await store.sql('ALTER TABLE t ADD COLUMN note text');
    assert.equal((await receipt.settled).merged, 1);
    assert.deepEqual(await rowsOf(own), [{ id: 1, n: null, note: 'must not vanish' }]);
    await isBalanced(own);
  });
}

const required = (dialect: Dialect): string => {
  if (isMariadb(dialect)) return 'ALTER TABLE t ADD COLUMN region int NOT NULL';
  if (dialect === 'SQLite') return `DROP TABLE t; ${table.replace(')', ', region int NOT NULL)')}`;
  return `ALTER TABLE t ADD COLUMN region int NOT NULL DEFAULT 0;
    ALTER TABLE t ALTER region DROP DEFAULT`;
};

for (const dialect of dialects) {
  test(`a column required in ${dialect} holds the rows that lack it`, async (t) => {
    const own = await openTable(t, dialect);
    const { store, holdfast } = own;
    const receipt = await alter(own, required(dialect), () => holdfast.write('t', { id: 1 }));
    assert.match(await reasonOfHold(holdfast, 't'), /region is required/);
    const { inFlight, deadLetters } = await streamOf(holdfast, 't');
    assert.deepEqual({ inFlight, deadLetters }, { inFlight: 1, deadLetters: 0 });
    const isLater = isMariadb(dialect) || dialect === 'SQLite';
    const change = isLater ? 'DROP COLUMN region' : 'ALTER region SET DEFAULT 7';
    await store.sql(`ALTER TABLE t ${change}`);
    assert.equal((await receipt.settled).merged, 1);
    await isBalanced(own);
  });
}

for (const dialect of dialects) {
  test(`${dialect}: a row sent again while its key has no index waits for it`, async (t) => {
    const streams = { t: { table: 't', key: ['id'] } };
    const store = await openStore(t, { dialect, servers, streams });
    await store.sql('CREATE TABLE t (id bigint NOT NULL)');
    const index = 'CREATE UNIQUE INDEX t_id ON t (id)';
    await store.sql(index);
    const first = await open(store.options);
    t.after(() => first.close({ drainMs: 0 }));
    await first.write('t', { id: 1 }, { level: 'settled' });
    await store.sql(isMariadb(dialect) ? 'DROP INDEX t_id ON t' : 'DROP INDEX t_id');
    await first.write('t', { id: 1 });
    assert.match(await reasonOfHold(first, 't'), /unique index/);
    await first.close({ drainMs: 0 });
    // The journal knows the table as it was; a new process asks the target nevertheless.
    const holdfast = await open(store.options);
    t.after(() => holdfast.close({ drainMs: 0 }));
    assert.match(await reasonOfHold(holdfast, 't'), /unique index/);
    const own = { store, holdfast };
    assert.deepEqual(await rowsOf(own), [{ id: 1 }]);
    await store.sql(index);
    const { merged, duplicates } = await streamWhere(holdfast, 't', (s) => s.inFlight === 0);
    assert.deepEqual({ merged, duplicates }, { merged: 1, duplicates: 1 });
    assert.deepEqual(await rowsOf(own), [{ id: 1 }]);
    await isBalanced(own);
  });
}

test('a narrowed column takes what fits; what does not is a dead letter', async (t) => {
  const own = await openTable(t, 'PostgreSQL');
  const { holdfast } = own;
  const rows = [
    { id: 1, n: 7n },
    { id: 2, n: 3_000_000_000n },
    { id: 3, n: 9n },
  ];
  const receipt = await alter(own, 'ALTER TABLE t ALTER n TYPE int', () =>
    holdfast.write('t', rows),
  );
  const ends = { merged: 2, duplicates: 0, superseded: 0, deadLetters: 1 };
  assert.deepEqual(await receipt.settled, ends);
  assert.deepEqual(await rowsOf(own), [
    { id: 1, n: 7, note: null },
    { id: 3, n: 9, note: null },
  ]);
  const [letter] = await holdfast.deadLetters.list();
  assert.equal(letter?.sqlState, '22003');
  assert.deepEqual(JSON.parse(letter.row ?? ''), { id: 2, n: 3_000_000_000 });
  await isBalanced(own);
});

test('a number journaled for a bigint never becomes a time (P5)', async (t) => {
  const own = await openTable(t, 'PostgreSQL');
  const { store, holdfast } = own;
  // As eight bytes of a timestamptz this would be a day of 2023.
  const n = 736_000_000_000_000n;
  const change = 'ALTER TABLE t ALTER n TYPE timestamptz USING to_timestamp(n)';
  const receipt = await alter(own, change, () => holdfast.write('t', { id: 1, n }));
  await reasonOfHold(holdfast, 't');
  assert.deepEqual(await rowsOf(own), []);
  const { inFlight, deadLetters } = await streamOf(holdfast, 't');
  assert.deepEqual({ inFlight, deadLetters }, { inFlight: 1, deadLetters: 0 });
  await store.sql('ALTER TABLE t ALTER n TYPE bigint USING 0');
  assert.equal((await receipt.settled).merged, 1);
  assert.deepEqual(await rowsOf(own), [{ id: 1, n: String(n), note: null }]);
  await isBalanced(own);
});
