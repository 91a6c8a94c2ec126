// The contract's cases about `dedupe`: whatever it takes out, merges end with the rows, the dead
// letters and the books that they would have come to without it.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Row } from '../../src/accept/rows.ts';
import type { OnConflict } from '../../src/merge/batch.ts';
import { replayOf } from './batches.ts';
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

/** Merges what waits, one batch after another. */
async function mergeEach({ staged: stream, staging }: Stream): Promise<void> {
  const turn = { stream, rowsMax: 1, start: 0, share: 1, isOptimistic: false };
  while (await staging.merge(turn));
}

/** The note of the row that all rows want to be, when all of them are merged. */
async function noteAfter(ground: Ground, stream: Stream) {
  await mergeEach(stream);
  const rows = await ground.rows(stream.table.name);
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
  assert.deepEqual({ merged, duplicates, superseded }, { merged: 0, duplicates: 1, superseded: 2 });
  await first.audit();
  await second.audit();
}

/** By its note a row of key 1; `bad` is refused. A digit behind the note is its version. */
const rowOf = (mark: string): Row => {
  const [, note = '', version = ''] = /^(\D+)(\d*)$/.exec(mark) ?? [];
  return { id: 1n, note, version: BigInt(version || 0) };
};

interface Story {
  readonly onConflict: OnConflict;
  /** What the table has before, and then batches of rows, in words. */
  readonly before?: string;
  readonly batches: readonly string[];
  /** How many rows dedupe takes out. */
  readonly copies: number;
}

/** What becomes of its batches, merged one by one or all at once. */
async function ended(
  ground: Ground,
  story: Story,
  how: { readonly isWhole: boolean; readonly isCollapsed: boolean },
) {
  const { onConflict, before, batches, copies } = story;
  const stream = await newStream(ground, 'keyed', onConflict);
  if (before !== undefined) await stream.settle('merge', [rowOf(before)]);
  const staged = [];
  for (const marks of batches) staged.push(await stream.stage(marks.split(' ').map(rowOf)));
  if (how.isCollapsed) {
    const found = await stream.staging.duplicates(stream.staged, 9);
    const step = await stream.staging.dedupe(stream.staged, 0, 10);
    assert.deepEqual([found.duplicates, step?.collapsed], [copies, copies], 'copies');
  }
  if (how.isWhole) await stream.mergeAll('merge');
  else await mergeEach(stream);
  const ends = [];
  for (const batch of staged) {
    ends.push(...((await stream.endsOf(batch)) ?? new Uint8Array(batch.count)));
  }
  // A copy has the reason of its row; by itself it may have had another one.
  const letters = (await stream.letters())
    .map(({ lane, sequence, row }) => ({ lane, sequence, row }))
    .sort((a, b) => a.sequence - b.sequence);
  await stream.audit();
  return { ends, letters, rows: await ground.rows(stream.table.name) };
}

async function endsAsMerged(ground: Ground, story: Story): Promise<void> {
  for (const isWhole of [true, false]) {
    const alone = await ended(ground, story, { isWhole, isCollapsed: false });
    const collapsed = await ended(ground, story, { isWhole, isCollapsed: true });
    assert.deepEqual(collapsed, alone, isWhole ? 'merged at once' : 'merged one by one');
  }
}

const newest = { newest: 'version' };
const stories: readonly (readonly [name: string, story: Story])[] = [
  [
    'a row of another’s key (dead-letter)',
    { onConflict: 'dead-letter', batches: ['x y y', 'y x', 'y'], copies: 4 },
  ],
  [
    'a row that the table refuses (dead-letter)',
    { onConflict: 'dead-letter', batches: ['bad bad x', 'bad x'], copies: 3 },
  ],
  [
    'a row that is superseded (ignore)',
    { onConflict: 'ignore', before: 'z', batches: ['x y x z', 'y z'], copies: 3 },
  ],
  [
    'a row that the table refuses (ignore)',
    { onConflict: 'ignore', batches: ['bad', 'bad bad', 'x x'], copies: 3 },
  ],
  [
    'rows that others lie between (update)',
    { onConflict: 'update', batches: ['x', 'x', 'y', 'x', 'y', 'y', 'z'], copies: 2 },
  ],
  [
    'a row that the table refuses (update)',
    { onConflict: 'update', batches: ['x', 'bad', 'bad', 'bad', 'y'], copies: 2 },
  ],
  [
    'rows that others lie between (newest)',
    { onConflict: newest, batches: ['x1', 'x1', 'y2', 'x1', 'z2', 'z2', 'y3'], copies: 2 },
  ],
  [
    'a row that the table refuses (newest)',
    { onConflict: newest, before: 'x2', batches: ['y1 y1', 'bad3 bad3', 'bad3'], copies: 3 },
  ],
];

async function told(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage([rowOf('x'), rowOf('bad')]);
  await stream.stage([rowOf('bad'), rowOf('x')]);
  await stream.staging.dedupe(stream.staged, 0, 10);
  const turn = { stream: stream.staged, rowsMax: 1, start: 0, share: 1, isOptimistic: true };
  assert.equal((await stream.staging.merge(turn))?.records, 2);
  const before = await stream.letters();
  assert.equal(before.length, 2, 'as soon as what it is a copy of is one');
  const [first, second] = before.map(({ row, code, sqlState, message }) => {
    return { row, code, sqlState, message };
  });
  assert.deepEqual(second, first, 'the same row, the same reason');
  const whole = { lane: 0, first: 1, last: 9, isStagedToo: true };
  const [, waiting] = await stream.session.ledger(stream.id, whole);
  assert.deepEqual([waiting?.duplicates, waiting?.deadLetters], [1, 1]);
  assert.equal((await stream.staging.duplicates(stream.staged, 1)).rows, 0);
  await mergeEach(stream);
  await stream.audit();
}

async function replayed(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  await stream.stage(['x', 'y', 'y', 'y'].map(rowOf));
  await stream.staging.dedupe(stream.staged, 0, 10);
  await mergeEach(stream);
  await ground.remove(stream.table.name, 1);
  const id = (sequence: number) => ({ ...stream.id, lane: 0, sequence });
  const replay = (sequence: number) =>
    stream.session.replay(id(sequence), replayOf(stream.options, rowOf('y')));
  assert.equal(await replay(3), 0);
  assert.equal(await replay(2), 1);
  await stream.session.drop(id(4));
  const { merged, duplicates, deadLetters } = await stream.totals();
  assert.deepEqual(
    { merged, duplicates, deadLetters },
    { merged: 2, duplicates: 1, deadLetters: 1 },
  );
  await stream.audit();
}

async function sentBack(ground: Ground): Promise<void> {
  const stream = await newStream(ground, 'keyed');
  const batches = [['x'], ['bad', 'x'], ['bad', 'y']].map((marks) => marks.map(rowOf));
  for (const rows of batches) await stream.stage(rows);
  await stream.staging.dedupe(stream.staged, 0, 10);
  const turn = { stream: stream.staged, rowsMax: 1, start: 0, share: 1, isOptimistic: true };
  await stream.staging.merge(turn);
  await ground.staged?.wipe(stream.id.stream);
  assert.equal((await stream.staging.merge(turn))?.records, 0);
  stream.next[0] = 2;
  for (const rows of batches.slice(1)) await stream.stage(rows);
  await mergeEach(stream);
  const { merged, duplicates, deadLetters } = await stream.totals();
  assert.deepEqual(
    { merged, duplicates, deadLetters },
    { merged: 1, duplicates: 1, deadLetters: 3 },
  );
  assert.equal((await stream.letters()).length, 3);
  await stream.audit();
}

export const dedupeCases: readonly Case[] = [
  ['of two writers’ equal rows the last one in time stays (update)', lastStays],
  ['of two writers’ equal rows the first one in time stays (ignore)', firstStays],
  ...stories.map(
    ([name, story]): Case => [
      `copies end as without dedupe: ${name}`,
      (ground) => endsAsMerged(ground, story),
    ],
  ),
  ['a copy that waits becomes a dead letter with its row', told],
  ['copies that became dead letters are replayed and dropped one by one', replayed],
  ['what was copies is forgotten where a lane is sent back', sentBack],
];
