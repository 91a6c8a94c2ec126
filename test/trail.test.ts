// Ages of what waits, and the window over a server's counters.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ContentionHistory } from '../src/contention.ts';
import { Trail } from '../src/trail.ts';

test('the oldest record behind a place has the age of its acceptance', () => {
  const trail = new Trail();
  trail.note(10, 1_000);
  trail.note(20, 2_000);
  trail.note(25, 2_005);
  trail.note(30, 3_000);
  const ages = [0, 9, 10, 24, 25, 29, 30].map((count) => trail.ageAfter(count, 5_000));
  assert.deepEqual(ages, [4_000, 4_000, 3_000, 3_000, 2_000, 2_000, 0]);
  trail.forget(20);
  assert.equal(trail.ageAfter(20, 5_000), 3_000);
});

test('a trail that is thinned never makes a record younger', () => {
  const trail = new Trail();
  for (let count = 1; count <= 100_001; count++) trail.note(count, count * 100);
  for (const count of [0, 5_000, 50_000, 99_999]) {
    const age = trail.ageAfter(count, 10_000_200);
    assert(age >= 10_000_200 - (count + 1) * 100, `record ${count + 1} is ${age} ms old`);
  }
  assert.equal(trail.ageAfter(100_001, 10_000_200), 0);
  assert.equal(trail.ageAfter(0, 10_000_200), 10_000_100, 'the first is as old as ever');
});

test('what was refused after all has no age', () => {
  const trail = new Trail();
  trail.note(10, 1_000);
  trail.note(25, 2_000);
  trail.note(30, 3_000);
  trail.takeBack(20);
  assert.deepEqual([trail.ageAfter(19, 5_000), trail.ageAfter(20, 5_000)], [3_000, 0]);
  trail.takeBack(10);
  assert.deepEqual([trail.ageAfter(9, 5_000), trail.ageAfter(10, 5_000)], [4_000, 0]);
});

const counted = (lockWaits: number, lockTimeMs: number, deadlocks = 0) => ({
  lockWaits,
  lockTimeMs,
  deadlocks,
  isSampled: false,
});
const sampled = (...seen: Parameters<typeof counted>) => ({ ...counted(...seen), isSampled: true });

test('counters are told as differences over the last minute', () => {
  const history = new ContentionHistory();
  history.add(counted(1_000, 850_000, 3), 0);
  assert.equal(history.window, undefined);
  history.add(counted(1_010, 850_200, 4), 30_000);
  assert.deepEqual(history.window, { windowMs: 30_000, ...counted(10, 200, 1) });
  for (let at = 31; at <= 150; at++) history.add(counted(1_010, 850_200, 4), at * 1_000);
  assert.deepEqual(
    history.window,
    { windowMs: 60_000, ...counted(0, 0) },
    'old waits are forgotten',
  );
  history.add(counted(2, 5), 151_000);
  assert.equal(history.window, undefined, 'a server that started again counts from zero');
});

test('waits that a server does not count are added up as they are seen', () => {
  const history = new ContentionHistory();
  const looks = [sampled(7, 9, 1), sampled(2, 30, 1), sampled(0, 0, 1), sampled(1, 5, 2)];
  for (const [i, look] of looks.entries()) history.add(look, i * 1_000);
  const added = { lockWaits: 3, lockTimeMs: 35, deadlocks: 1, isSampled: true };
  assert.deepEqual(history.window, { windowMs: 3_000, ...added });
});
