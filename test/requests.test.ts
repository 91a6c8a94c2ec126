import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { HoldfastError } from '../src/errors.ts';
import { Requests } from '../src/journal/requests.ts';

const note = (id: number, more: object = {}) => ({
  id,
  stream: 1,
  rows: 2,
  ranges: [[0, id + 1, 2] as const],
  at: 1_000,
  ...more,
});
const counts = { merged: 2, duplicates: 0, superseded: 0, deadLetters: 0 };
const mark = (offset: number, isLast: boolean) => ({
  load: { load: 'l', offset, lines: offset, milliseconds: 1, isLast },
});

test('a request that was forgotten does not come back with the journal that still has it', () => {
  const database = new DatabaseSync(':memory:');
  const requests = new Requests(database, 100);
  requests.add(note(7, { key: 'k', digest: 'd' }));
  requests.settled(7, counts);
  requests.flush();
  requests.expire(5_000);
  assert.equal(requests.byKey(1, 'k'), undefined);
  const again = new Requests(database, 100);
  again.recover(note(7, { key: 'k', digest: 'd' }));
  again.recover(note(8, { key: 'm', digest: 'd' }));
  assert.equal(again.byKey(1, 'k'), undefined);
  assert.equal(again.byKey(1, 'm')?.id, 8);
});

test('times that were moved are what a request’s age is counted from', () => {
  const requests = new Requests(new DatabaseSync(':memory:'), 100);
  requests.add(note(7, { key: 'k', digest: 'd' }));
  requests.settled(7, counts);
  requests.flush();
  requests.moveTimes(10_000);
  requests.expire(11_000);
  assert.equal(requests.byKey(1, 'k')?.id, 7);
  requests.expire(11_001);
  assert.equal(requests.byKey(1, 'k'), undefined);
});

test('a reported load is new the next time, and an unreported one is not', () => {
  const database = new DatabaseSync(':memory:');
  const requests = new Requests(database, 100);
  requests.add(note(1, mark(10, false)));
  requests.add(note(2, mark(20, true)));
  assert.deepEqual(
    requests.ofLoad('l').map((part) => part.load?.offset),
    [10, 20],
  );
  requests.forgetLoad('l');
  const again = new Requests(database, 100);
  again.recover(note(1, mark(10, false)));
  assert.deepEqual(again.ofLoad('l'), []);
});

test('a load is forgotten whole, a day after its last part, and never while it is in hand', () => {
  const requests = new Requests(new DatabaseSync(':memory:'), 100);
  const offsets = () => requests.ofLoad('l').map((part) => part.load?.offset);
  requests.add(note(1, mark(10, false)));
  requests.add({ ...note(2, mark(20, false)), at: 5_000 });
  requests.settled(1, counts);
  requests.expire(6_000);
  assert.deepEqual(offsets(), [10, 20], 'the second part has no end yet');
  requests.settled(2, counts);
  requests.expire(5_000);
  assert.deepEqual(offsets(), [10, 20], 'the second part is not old yet');
  requests.loadsInHand.add('l');
  requests.expire(6_000);
  assert.deepEqual(offsets(), [10, 20], 'it is waited for');
  requests.loadsInHand.delete('l');
  requests.expire(6_000);
  assert.deepEqual(offsets(), []);
  assert.equal(requests.byId(2), undefined);
});

test('unsettled requests outlive their day, and are handed out in order', () => {
  const requests = new Requests(new DatabaseSync(':memory:'), 100);
  for (const id of [3, 1, 2]) requests.add(note(id));
  requests.settled(2, counts);
  requests.expire(5_000);
  assert.deepEqual(
    requests.open(1, 0, 10).map((request) => request.id),
    [1, 3],
  );
  assert.equal(requests.byId(2), undefined);
});

test('at the bound the oldest without a key go, and only keyed ones refuse a keyed one', () => {
  const requests = new Requests(new DatabaseSync(':memory:'), 2);
  for (const id of [1, 2, 3]) {
    requests.add(note(id));
    requests.settled(id, counts);
  }
  assert.equal(requests.isFull, false);
  requests.expire(0);
  assert.equal(requests.byId(1), undefined);
  assert.equal(requests.byId(3)?.id, 3);
  requests.add(note(4, { key: 'a' }));
  requests.flush();
  assert.equal(requests.isFull, false);
  requests.add(note(5, { key: 'b' }));
  assert.equal(requests.isFull, true);
});

test('a full disk keeps nobody from open requests, nor from closing', () => {
  const database = new DatabaseSync(':memory:');
  const requests = new Requests(database, 100);
  requests.add(note(1));
  requests.add(note(2));
  requests.flush();
  requests.settled(1, counts);
  // No page more than it has.
  const pages = database.prepare('PRAGMA page_count').get()?.['page_count'];
  database.exec(`PRAGMA max_page_count=${Number(pages)}`);
  for (let id = 3; id < 500; id++) requests.add(note(id, { key: `key ${id}`.padEnd(200) }));
  assert.throws(() => requests.flush(), /full/);
  // Parts of a load may be journaled: 'not written' would be a lie.
  assert.throws(
    () => requests.ofLoad('a load'),
    (error) =>
      error instanceof HoldfastError &&
      error.code === 'HF_JOURNAL_FULL' &&
      error.outcome === 'unknown',
  );
  assert.deepEqual(
    requests.open(1, 0, 3).map(({ id }) => id),
    [2, 3, 4],
  );
  requests.close();
});

test('who asks of a closed journal is told to ask the next one, and not how it is built', () => {
  const requests = new Requests(new DatabaseSync(':memory:'), 100);
  requests.close();
  const isTold = (error: unknown): boolean =>
    error instanceof HoldfastError && error.code === 'HF_DRAINING' && error.outcome === 'unknown';
  for (const ask of [
    () => requests.byId(1),
    () => requests.byKey(1, 'k'),
    () => requests.ofLoad('l'),
    () => requests.forgetLoad('l'),
  ]) {
    assert.throws(ask, isTold);
  }
});

test('where the database cannot be read, nobody knows whether a key was used', () => {
  const database = new DatabaseSync(':memory:');
  const requests = new Requests(database, 100);
  requests.add(note(1, { key: 'a' }));
  requests.flush();
  database.exec('DROP TABLE requests');
  // The request may be written: 'not written' would have its caller send it under a new key.
  assert.throws(
    () => requests.byKey(1, 'a'),
    (error) =>
      error instanceof HoldfastError &&
      error.code === 'HF_JOURNAL_FAILED' &&
      error.outcome === 'unknown',
  );
  requests.close();
});
