// What becomes of rows that dedupe took out, when what they are copies of is merged.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rowEnd } from '../src/merge/batch.ts';
import { endCopies, keptCopies, unlikeRanges } from '../src/target/copies.ts';

const { merged, duplicate, superseded, deadLetter } = rowEnd;

const batch = (first: number, ends: readonly number[], source = 1) => {
  return { source, lane: 7, first, last: first + ends.length - 1, ends: Uint8Array.from(ends) };
};

test('copies are kept some hundred to a row, by what they are copies of', () => {
  const copies = Array.from({ length: 1_500 }, (_, i) => {
    return { source: 1 + (i % 2), copyOf: 10 + (i >> 1), sequence: 3_000 - i };
  });
  copies.push(...copies.map((copy) => ({ ...copy, sequence: copy.sequence + 5_000 })));
  const kept = keptCopies(copies);
  assert.deepEqual(
    kept.map(({ source, firstOf, lastOf, sequence }) => [source, firstOf, lastOf, sequence]),
    [
      [1, 10, 509, 7_002],
      [1, 510, 759, 6_502],
      [2, 10, 509, 7_001],
      [2, 510, 759, 6_501],
    ],
  );
  const pairs = kept.flatMap((row) => JSON.parse(row.copies) as [number, number][]);
  assert.equal(new Set(pairs.map(([, sequence]) => sequence)).size, copies.length);
});

test('only rows that are no duplicates are asked for, in one range of each source', () => {
  const batches = [
    batch(4, [merged, deadLetter, merged, duplicate]),
    batch(8, [superseded, merged]),
    batch(3, [merged, duplicate], 2),
  ];
  assert.deepEqual(unlikeRanges(batches), [{ source: 1, first: 5, last: 8 }]);
});

test('a copy ends as its row where that is no duplicate', () => {
  const batches = [
    batch(4, [merged, deadLetter, duplicate, duplicate]),
    batch(8, [superseded, duplicate]),
    batch(4, [deadLetter], 2),
  ];
  const pairs = [
    [2, 20],
    [4, 6],
    [5, 7],
    [5, 10],
    [8, 9],
    [8, 11],
    [99, 100],
  ];
  const { later, dead } = endCopies(batches, [{ source: 1, copies: JSON.stringify(pairs) }]);
  assert.deepEqual(
    [...later],
    [
      [
        7,
        [
          { source: 1, sequence: 10, end: deadLetter },
          { source: 1, sequence: 11, end: superseded },
        ],
      ],
    ],
  );
  assert.deepEqual(
    dead.map(({ sequence }) => sequence),
    [7, 10],
  );
  assert.deepEqual(
    batches.map(({ ends }) => [...ends]),
    [[merged, deadLetter, duplicate, deadLetter], [superseded, superseded], [deadLetter]],
  );
});
