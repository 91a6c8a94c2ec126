import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isolate } from '../src/merge/isolate.ts';

async function run(count: number, bad: ReadonlySet<number>) {
  const refused: number[] = [];
  const taken: number[] = [];
  let attempts = 0;
  await isolate(
    count,
    async (first, last) => {
      attempts++;
      const rows = Array.from({ length: last - first + 1 }, (_, i) => first + i);
      if (rows.some((row) => bad.has(row))) return `${first}-${last}`;
      taken.push(...rows);
      return undefined;
    },
    (row, refusal) => {
      assert.equal(refusal, `${row}-${row}`, 'the reason is that of the row alone');
      refused.push(row);
    },
  );
  return { refused, taken, attempts };
}

test('exactly the bad rows are refused, in order, in the promised number of attempts', async () => {
  const cases = fc.tuple(
    fc.integer({ min: 0, max: 300 }),
    fc.array(fc.integer({ min: 0, max: 299 }), { maxLength: 60 }),
  );
  await fc.assert(
    fc.asyncProperty(cases, async ([count, places]) => {
      const bad = new Set(places.filter((place) => place < count));
      const { refused, taken, attempts } = await run(count, bad);
      const all = Array.from({ length: count }, (_, i) => i);
      assert.deepEqual(
        refused,
        all.filter((row) => bad.has(row)),
      );
      assert.deepEqual(
        taken,
        all.filter((row) => !bad.has(row)),
      );
      const log = Math.log2(Math.max(count, 1));
      assert(attempts <= (bad.size + 1) * (2 * log + 2), `${attempts} for ${bad.size} of ${count}`);
      assert(attempts <= 2 * count, `${attempts} for ${count} rows`);
    }),
  );
});

test('rows that are all good take one attempt, and no rows none', async () => {
  assert.equal((await run(10_000, new Set())).attempts, 1);
  assert.equal((await run(0, new Set())).attempts, 0);
});

test('rows that are all refused take one attempt each, after the first is found', async () => {
  const bad = new Set(Array.from({ length: 1024 }, (_, i) => i));
  assert.equal((await run(1024, bad)).attempts, 1024 + 10);
});

test('an error of an attempt ends the isolation', async () => {
  const failed = isolate(
    5,
    async () => {
      throw new Error('the connection is gone');
    },
    () => assert.fail('no row is at fault'),
  );
  await assert.rejects(failed, /connection is gone/);
});
