// Who waits for the ends of records that an earlier process brought there, or that were not told.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import type { Range } from '../src/journal/notes.ts';
import { Requests } from '../src/journal/requests.ts';
import { rowEnd } from '../src/merge/batch.ts';
import { noCounts } from '../src/merge/ledger.ts';
import { Pending } from '../src/pending.ts';
import { Watermarks } from '../src/watermarks.ts';
import { temporaryFolder } from './support/journals.ts';

const asLedgerSays = { ...noCounts, duplicates: 7 };

/** One lane of 100 journaled records; the ledger has the same answer for all that it is asked. */
function openPending(t: TestContext, ledgerSays = async () => asLedgerSays) {
  const folder = temporaryFolder();
  const requests = new Requests(systemDisk.database(join(folder.path, 'requests.db')), 1000);
  t.after(() => {
    requests.close();
    folder.remove();
  });
  const marks = new Watermarks(Float64Array.of(100), Float64Array.of(0));
  const pending = new Pending(1, marks, { requests, askLedger: ledgerSays });
  const claim = (settled: number) => {
    const lanes = [{ lane: 0, epoch: 1, staged: settled, settled, ...noCounts }];
    marks.adopt(lanes);
    pending.onLanes(lanes);
  };
  const settle = (first: number, last: number, end: 'merged' | 'duplicate' | 'lost') => {
    const rowCount = last - first + 1;
    const ends = end === 'merged' ? null : Uint8Array.of(rowEnd[end], rowCount);
    const settled = [{ lane: 0, first, last, rowCount, ends }];
    marks.settle(settled);
    pending.onSettled(settled);
  };
  const ask = (id: number, first: number, rows: number) => {
    const ranges: Range[] = [[0, first, rows]];
    return pending.settled({ id, rows, ranges });
  };
  return { requests, pending, claim, settle, ask };
}

test('records settled by an earlier process have the ends that the ledger says', async (t) => {
  const { ask, claim } = openPending(t);
  const before = ask(1, 1, 10);
  claim(10);
  assert.deepEqual(await before, asLedgerSays);
});

test('where some of a request was settled unheard, the ledger is asked for all', async (t) => {
  const { ask, claim, settle } = openPending(t);
  const half = ask(1, 1, 10);
  const whole = ask(2, 11, 5);
  claim(6);
  settle(7, 15, 'merged');
  assert.deepEqual(await half, asLedgerSays);
  assert.deepEqual(await whole, { ...noCounts, merged: 5 });
});

test('what an earlier process left unfinished is finished, also if somebody waits', async (t) => {
  const { ask, claim, requests } = openPending(t);
  requests.add({ id: 1, stream: 1, rows: 10, ranges: [[0, 1, 10]], at: 0 });
  const waiting = ask(2, 11, 5);
  claim(15);
  await waiting;
  assert.deepEqual(requests.byId(1)?.counts, asLedgerSays);
});

test('an older request that is waited for later keeps its ends', async (t) => {
  const { ask, claim, settle } = openPending(t);
  claim(0);
  const late = ask(2, 11, 5);
  const early = ask(1, 1, 10);
  settle(1, 5, 'duplicate');
  settle(6, 10, 'merged');
  settle(11, 15, 'merged');
  assert.deepEqual(await early, { ...noCounts, merged: 5, duplicates: 5 });
  assert.deepEqual(await late, { ...noCounts, merged: 5 });
});

test('who waits for records that were passed over is told so, for good', async (t) => {
  const passedOver = new HoldfastError('HF_NOT_FOUND', 'passed over');
  const { requests, pending, claim, settle } = openPending(t, () => Promise.reject(passedOver));
  const request = (id: number, first: number, rows: number) => {
    const ranges: Range[] = [[0, first, rows]];
    return { id, stream: 1, rows, ranges, at: 0, group: id };
  };
  const [whole, half, later] = [request(1, 1, 10), request(2, 11, 10), request(3, 21, 5)];
  claim(0);
  for (const one of [whole, half, later]) {
    requests.add(one);
    pending.add(one, true);
  }
  const told = [whole, half, later].map((one) => pending.settled(one));
  const ends = Promise.allSettled(told);
  settle(1, 10, 'merged');
  settle(11, 15, 'lost');
  settle(16, 25, 'merged');
  const [first, second, third] = await ends;
  assert.equal(first?.status, 'fulfilled');
  assert.deepEqual(second, { status: 'rejected', reason: passedOver });
  assert.equal(third?.status, 'fulfilled');
  assert.deepEqual(requests.open(1, -1, 9), [], 'nobody asks the ledger for it again');
  for (const given of [half, requests.byId(2) ?? half]) {
    await assert.rejects(pending.settled(given), { code: 'HF_NOT_FOUND' });
  }
});
