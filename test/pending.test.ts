// Who waits for the ends of records that an earlier process brought there, or that were not told.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
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

test('who gives up leaves nothing behind, and takes nothing from who still waits', async (t) => {
  const { pending, claim, settle, ask } = openPending(t);
  claim(0);
  const given = new AbortController();
  // A function of its own, so that nothing but the waits could keep the ranges.
  const waitFor = (id: number, signal?: AbortSignal) => {
    const ranges: Range[] = [[0, id, 1]];
    const waits = [pending.reached({ id, rows: 1, ranges }, 'settled', signal)];
    if (signal) waits.push(pending.reached({ id, rows: 1, ranges }, 'confirmed', signal));
    return { waits, held: new WeakRef(ranges) };
  };
  const left = Array.from({ length: 20 }, (_, i) => waitFor(i + 1, given.signal));
  const stays = ask(5, 5, 1);
  given.abort();
  for (const { waits } of left) {
    for (const wait of waits) await assert.rejects(wait, { code: 'HF_NOT_SETTLED' });
  }
  await collectGarbage();
  const kept = left.flatMap(({ held }, i) => (held.deref() ? [i + 1] : []));
  assert.deepEqual(kept, [5], 'somebody else waits for that one');
  settle(1, 20, 'merged');
  assert.deepEqual(await stays, { ...noCounts, merged: 1 });
});

async function collectGarbage(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect: () => void = runInNewContext('gc');
  for (let turns = 0; turns < 3; turns++) {
    // What was dereferenced in a turn is kept to its end.
    await pause(1);
    collect();
  }
}

test('while the ledger does not answer, it is asked once for a request', async (t) => {
  let questions = 0;
  const { pending, claim } = openPending(t, async () => {
    questions++;
    return asLedgerSays;
  });
  claim(50);
  const request = { id: 1, rows: 7, ranges: [[0, 1, 7]] satisfies Range[] };
  const asked = Array.from({ length: 30 }, () => pending.settled(request));
  assert.deepEqual(new Set(await Promise.all(asked)).size, 1);
  assert.equal(questions, 1);
});
