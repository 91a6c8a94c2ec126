// The contract's cases about `dedupe` where several writers have equal rows in one staging table:
// whatever it takes out, merges end with the row that they would have kept without it.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Case, type Ground, joinTable, newStream, type Stream } from './target-stream.ts';

/** Rows of one key in the order of their times; writer 0 is the first that the target knew. */
async function staged(
  ground: Ground,
  onConflict: 'update' | 'ignore' | 'dead-letter',
  rows: readonly (readonly [writer: 0 | 1, note: string])[],
) {
  const first = await newStream(ground, 'keyed', onConflict);
  const { stream: name } = first.id;
  const second = await joinTable(ground, first.table.name, { stream: name, onConflict });
  for (const [writer, note] of rows) {
    await (writer === 0 ? first : second).stage([{ id: 1n, note }]);
    // Merges go by time: of these none is as old as another one.
    await sleep(3);
  }
  return { first, second };
}

/** Merges what waits, one batch after another; the note of the row that all of them want to be. */
async function noteAfter(ground: Ground, { staged: stream, staging, table }: Stream) {
  const turn = { stream, rowsMax: 1, start: 0, share: 1, isOptimistic: false };
  while (await staging.merge(turn));
  const rows = await ground.rows(table.name);
  assert.equal(rows.length, 1);
  return rows[0]?.['note'];
}

async function lastStays(ground: Ground): Promise<void> {
  // Equal rows of two writers, and between them another one.
  const { first, second } = await staged(ground, 'update', [
    [1, 'mine'],
    [1, 'theirs'],
    [0, 'mine'],
  ]);
  await first.staging.dedupe(first.staged, 0, 10);
  assert.equal(await noteAfter(ground, first), 'mine');
  await first.audit();
  await second.audit();
}

async function firstStays(ground: Ground): Promise<void> {
  const { first, second } = await staged(ground, 'ignore', [
    [1, 'mine'],
    [0, 'theirs'],
    [0, 'mine'],
    [0, 'theirs'],
  ]);
  const step = await first.staging.dedupe(first.staged, 0, 10);
  assert.equal(step?.collapsed, 1, 'equal rows of one writer');
  assert.equal(await noteAfter(ground, first), 'mine');
  const { merged, duplicates, superseded } = await first.totals();
  assert.deepEqual({ merged, duplicates, superseded }, { merged: 0, duplicates: 2, superseded: 1 });
  await first.audit();
  await second.audit();
}

export const dedupeCases: readonly Case[] = [
  ['of two writers’ equal rows the last one in time stays (update)', lastStays],
  ['of two writers’ equal rows the first one in time stays (ignore)', firstStays],
];
