import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test from 'node:test';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { SpareRows } from '../src/accept/spare-rows.ts';
import { open } from '../src/holdfast.ts';
import { temporaryFolder } from './support/journals.ts';

test('a buffer is lent again, empty, once it was given back', () => {
  const spares = new SpareRows();
  const first = spares.take(1_000, 10);
  first.push(8, first.setIndex([0, 2]), 3);
  assert.notEqual(spares.take(1_000, 10), first);
  spares.give(first);
  const again = spares.take(5_000, 10);
  assert.equal(again, first);
  assert(again.bytes.length >= 5_000);
  assert.deepEqual([again.count, again.length, again.columnSets], [0, 0, []]);
  assert.equal(again.setIndex([1]), 0, 'the sets of the rows before are forgotten');
});

test('a buffer is never lent to two: given back twice, or by who has it from elsewhere', () => {
  const spares = new SpareRows();
  const own = spares.take(100, 1);
  spares.give(own);
  spares.give(own);
  spares.give(new RowBuffer());
  const lent = [1, 2, 3].map(() => spares.take(100, 1));
  assert.equal(new Set(lent).size, 3);
  assert.equal(lent[0], own);
});

test('a buffer that grew large is let go', () => {
  const spares = new SpareRows();
  const large = spares.take(1_000_000, 1);
  spares.give(large);
  assert.notEqual(spares.take(100, 1), large);
});

test('rows of requests that are journaled together stay their own', async (t) => {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const path = join(folder.path, 'shop.db');
  const database = new DatabaseSync(path);
  t.after(() => database.close());
  database.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, body TEXT NOT NULL)');
  const holdfast = await open({
    journal: join(folder.path, 'journal'),
    target: `sqlite:${path}`,
    streams: { orders: { table: 'orders', key: ['id'] } },
    limits: { segmentBytes: 1024 * 1024 },
  });
  t.after(() => holdfast.close());
  const rowOf = (id: number) => ({ id, body: `row ${id} `.repeat(1 + (id % 7)) });
  const bodyOf = (first: number, rows: number): Buffer =>
    Buffer.from(
      Array.from({ length: rows }, (_, i) => JSON.stringify(rowOf(first + i))).join('\n'),
    );
  for (let round = 0; round < 5; round++) {
    const receipts = Array.from({ length: 8 }, (_, i) => {
      const body = bodyOf(1_000 * round + 100 * i, 10 * (8 - i));
      return holdfast.writeBytes('orders', body, { format: 'ndjson', level: 'settled' });
    });
    await Promise.all(receipts);
  }
  const rows = database.prepare('SELECT id, body FROM orders').all();
  assert.equal(rows.length, 5 * 10 * (8 + 7 + 6 + 5 + 4 + 3 + 2 + 1));
  for (const { id, body } of rows) assert.equal(body, rowOf(Number(id)).body);
});
