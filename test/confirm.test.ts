import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Confirming } from '../src/confirm.ts';
import type { LaneState } from '../src/target/target.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';

const id = { writer: 'w', stream: 's' };

const none = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };

/** What is confirmed after a time, of a target that has these lanes settled. */
async function newTimed(settled: readonly number[]) {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock });
  const settle = (lane: number, last: number): void => {
    const state: LaneState = { lane, epoch: 1, staged: last, settled: last, ...none };
    target.store.transaction(() => target.store.setLane(id, state));
  };
  for (const [lane, last] of settled.entries()) settle(lane, last);
  const confirming = new Confirming({ afterMs: 100 }, clock);
  const lanes = settled.map((last, lane) => ({ lane, last }));
  confirming.add(lanes, { position: '', identity: target.identity });
  const poll = async () => confirming.poll(await target.connect(), id);
  return { clock, target, settle, confirming, poll };
}

test('lanes that stay where they are when others go back are still confirmed', async () => {
  const { clock, settle, confirming, poll } = await newTimed([10, 20]);
  await clock.advance(60);
  settle(0, 4);
  confirming.rewind([{ lane: 0, last: 4 }]);
  await clock.advance(60);
  assert.deepEqual(await poll(), [], 'the time begins anew in the other history');
  await clock.advance(60);
  assert.deepEqual(await poll(), [
    { lane: 0, last: 4 },
    { lane: 1, last: 20 },
  ]);
  assert(confirming.isIdle);
});

test('no time confirms what another history lacks, nor one begun in another (P2)', async () => {
  const { clock, target, settle, poll } = await newTimed([10]);
  await clock.advance(200);
  target.failover(1);
  settle(0, 10);
  assert.deepEqual(await poll(), [], 'the time begins anew');
  target.failover(1);
  assert.deepEqual(await poll(), []);
  await clock.advance(200);
  assert.deepEqual(await poll(), [], 'what it lacks it never confirms');
  settle(0, 10);
  assert.deepEqual(await poll(), [{ lane: 0, last: 10 }]);
});

test('what is asked of one history while another begins is not confirmed (P2)', async () => {
  const { clock, target, settle, confirming } = await newTimed([10]);
  await clock.advance(200);
  const session = await target.connect();
  const answer = Promise.withResolvers<undefined>();
  const late: typeof session = Object.create(session, {
    lanes: {
      value: async () => {
        const lanes = await session.lanes(id);
        await answer.promise;
        return lanes;
      },
    },
  });
  const polled = confirming.poll(late, id);
  await clock.advance(1);
  settle(0, 4);
  confirming.rewind([{ lane: 0, last: 4 }]);
  answer.resolve(undefined);
  assert.deepEqual(await polled, []);
  assert.equal(confirming.isIdle, false);
});

/** A lane whose record 10 was settled by commit 5, which a standby does not have yet. */
async function newLane() {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, standby: true });
  const settle = (settled: number): void => {
    const state: LaneState = { lane: 0, epoch: 1, staged: settled, settled, ...none };
    target.store.transaction(() => target.store.setLane(id, state));
  };
  for (let commits = 0; commits < 4; commits++) settle(commits);
  target.replicate();
  settle(10);
  const confirming = new Confirming('standby', clock);
  const { identity } = target;
  const lanes = [{ lane: 0, last: 10 }];
  confirming.add(lanes, { position: String(target.store.commits), identity });
  return { target, settle, confirming, lanes };
}

test('a record is confirmed once a standby has what settled it (P2)', async () => {
  const { target, confirming, lanes } = await newLane();
  const session = await target.connect();
  assert.deepEqual(await confirming.poll(session, id), []);
  target.replicate();
  assert.deepEqual(await confirming.poll(session, id), lanes);
});

test('a history that lacks a record confirms it by no position (P2)', async () => {
  const { target, settle, confirming } = await newLane();
  target.failover(1);
  for (let commits = 0; commits < 8; commits++) settle(4);
  target.replicate();
  assert.deepEqual(await confirming.poll(await target.connect(), id), []);
});

test('a position of another history says nothing in this one (P2)', async () => {
  const { target, settle, confirming, lanes } = await newLane();
  target.failover(1);
  for (let commits = 0; commits < 8; commits++) settle(4);
  target.replicate();
  settle(10);
  const session = await target.connect();
  assert.deepEqual(await confirming.poll(session, id), [], 'its standby lacks the record still');
  target.replicate();
  assert.deepEqual(await confirming.poll(session, id), lanes);
});
