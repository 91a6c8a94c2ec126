import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Confirming } from '../src/confirm.ts';
import type { LaneState } from '../src/target/target.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';

test('lanes that stay where they are when others go back are still confirmed', async () => {
  const clock = new SimulatedClock();
  const session = await new SimulatedTarget({ clock }).connect();
  const confirming = new Confirming({ afterMs: 100 }, clock);
  const poll = () => confirming.poll(session, { writer: '', stream: '' });
  const lanes = [
    { lane: 0, last: 10 },
    { lane: 1, last: 20 },
  ];
  confirming.add(lanes, { position: '', identity: session.identity });
  await clock.advance(60);
  confirming.rewind([{ lane: 0, last: 4 }]);
  await clock.advance(60);
  assert.deepEqual(await poll(), [], 'the time begins anew in the other history');
  await clock.advance(60);
  assert.deepEqual(await poll(), [{ lane: 0, last: 4 }, lanes[1]]);
  assert(confirming.isIdle);
});

const id = { writer: 'w', stream: 's' };

/** A lane whose record 10 was settled by commit 5, which a standby does not have yet. */
async function newLane() {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, standby: true });
  const none = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
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
