// Rows of one key in the order of their writing, over lanes, loaders, batches and column sets.
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import type { Row } from '../../src/accept/rows.ts';
import { open } from '../../src/holdfast.ts';
import type { EndCounts } from '../../src/merge/ledger.ts';
import type { StreamOptions } from '../../src/options.ts';
import type { Holdfast } from '../../src/types.ts';
import { Random } from '../simulation/random.ts';
import {
  type Dialect,
  dialects,
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

interface Shelf {
  readonly store: Store;
  readonly holdfast: Holdfast;
  /** Row by row, each its own write, as fast as they go; resolves with all of their ends. */
  writeAll(rows: readonly Row[]): Promise<EndCounts>;
}

/** A table of `id`, `n` and a `note` that stands at 'none', and a stream into it. */
async function openShelf(
  t: TestContext,
  dialect: Dialect,
  rules: Partial<StreamOptions>,
): Promise<Shelf> {
  const shelf = { table: 'shelf', key: ['id'], ...rules };
  const store = await openStore(t, { dialect, servers, streams: { shelf } });
  await store.sql(`CREATE TABLE shelf (
    id bigint NOT NULL PRIMARY KEY, n int NOT NULL DEFAULT 0, note text DEFAULT 'none')`);
  const holdfast = await open(store.options);
  t.after(() => holdfast.close({ drainMs: 0 }));
  const writeAll = async (rows: readonly Row[]): Promise<EndCounts> => {
    const receipts = await Promise.all(rows.map((row) => holdfast.write('shelf', row)));
    const ends = await Promise.all(receipts.map(({ settled }) => settled));
    const sum = (end: keyof EndCounts) => ends.reduce((total, counts) => total + counts[end], 0);
    return {
      merged: sum('merged'),
      duplicates: sum('duplicates'),
      superseded: sum('superseded'),
      deadLetters: sum('deadLetters'),
    };
  };
  return { store, holdfast, writeAll };
}

async function shelved(store: Store): Promise<Record<string, unknown>[]> {
  const rows = await store.sql('SELECT id, n, note FROM shelf ORDER BY id');
  return rows.map(({ id, n, note }) => ({ id: Number(id), n: Number(n), note }));
}

async function isBalanced({ holdfast }: Shelf, accepted: number): Promise<void> {
  const { streams } = await holdfast.status();
  const { unaccounted, accepted: told } = streams['shelf'] ?? {};
  assert.deepEqual({ unaccounted, told }, { unaccounted: 0, told: accepted });
  const { differences } = await holdfast.verify();
  assert.deepEqual(differences, []);
}

/** What a row is after the writes, one after the other. */
function played(rows: readonly Row[]): Record<string, unknown>[] {
  const byId = new Map<number, Record<string, unknown>>();
  for (const row of rows) {
    const id = Number(row['id']);
    byId.set(id, { ...(byId.get(id) ?? { id, n: 0, note: 'none' }), ...row });
  }
  return [...byId.values()].sort((a, b) => Number(a['id']) - Number(b['id']));
}

const columnSets = [['n'], ['note'], ['n', 'note']];

/** The i-th write to a key; which columns it has goes in turn. */
function writeTo(id: number, i: number): Row {
  const all: Row = { n: i, note: i % 7 === 0 ? null : `write ${i}` };
  const names = columnSets[(i + id) % columnSets.length] ?? [];
  return { id, ...Object.fromEntries(names.map((name) => [name, all[name] ?? null])) };
}

for (const dialect of dialects) {
  for (const batchRowsMax of [7, 20_000]) {
    test(`${dialect}, update: the last of 50 stays, ${batchRowsMax} a batch`, async (t) => {
      const shelf = await openShelf(t, dialect, { onConflict: 'update', batchRowsMax });
      const rows = Array.from({ length: 50 }, (_, i) => writeTo(1, i));
      const ends = await shelf.writeAll(rows);
      assert.deepEqual(await shelved(shelf.store), played(rows));
      assert.equal(ends.deadLetters, 0);
      await isBalanced(shelf, 50);
    });
  }

  test(`update in ${dialect}: many keys over many lanes each keep their order`, async (t) => {
    const shelf = await openShelf(t, dialect, { onConflict: 'update', batchRowsMax: 50 });
    const random = new Random(3);
    const rows = Array.from({ length: 1000 }, (_, i) => writeTo(random.below(40), i));
    await shelf.writeAll(rows);
    assert.deepEqual(await shelved(shelf.store), played(rows));
    await isBalanced(shelf, 1000);
  });

  test(`newest in ${dialect}: the highest version stays, whenever it came`, async (t) => {
    const shelf = await openShelf(t, dialect, { onConflict: { newest: 'n' }, batchRowsMax: 7 });
    const random = new Random(5);
    const versions = Array.from({ length: 50 }, (_, i) => i).sort(() => random.next() - 0.5);
    const rows = versions.map((n) => ({ id: 1, n, note: `version ${n}` }));
    const ends = await shelf.writeAll(rows);
    assert.deepEqual(await shelved(shelf.store), [{ id: 1, n: 49, note: 'version 49' }]);
    assert.equal(ends.merged + ends.superseded, 50);
    const again = await shelf.writeAll([{ id: 1, n: 49, note: 'version 49' }]);
    assert.deepEqual(again, { merged: 0, duplicates: 1, superseded: 0, deadLetters: 0 });
    const other = await shelf.writeAll([{ id: 1, n: 49, note: 'another 49' }]);
    assert.deepEqual(other, { merged: 0, duplicates: 0, superseded: 0, deadLetters: 1 });
    await isBalanced(shelf, 52);
  });

  test(`ignore in ${dialect}: the first stays, the others are superseded`, async (t) => {
    const shelf = await openShelf(t, dialect, { onConflict: 'ignore', batchRowsMax: 7 });
    const ends = await shelf.writeAll(Array.from({ length: 50 }, (_, n) => ({ id: 1, n })));
    assert.deepEqual(await shelved(shelf.store), [{ id: 1, n: 0, note: 'none' }]);
    assert.deepEqual(ends, { merged: 1, duplicates: 0, superseded: 49, deadLetters: 0 });
    await isBalanced(shelf, 50);
  });
}
