import assert from 'node:assert/strict';
import test from 'node:test';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { SpareRows } from '../src/accept/spare-rows.ts';

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
