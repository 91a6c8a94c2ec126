// The simulated target fails when it is told to, and in just that way; what it does well is in
// test/target.test.ts, beside the real ones.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Session } from '../src/target/target.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDeath } from './simulation/simulated-disk.ts';
import { SimulatedStore } from './simulation/simulated-store.ts';
import { SimulatedTarget, type TargetFault } from './simulation/simulated-target.ts';
import { batchOf } from './support/batches.ts';
import { column } from './support/rows.ts';
import { fails } from './support/target-stream.ts';

const id = { writer: 'w', stream: 's' };

async function newTarget(options: { standby?: boolean; onDeath?: () => void } = {}) {
  const target = new SimulatedTarget({ clock: new SimulatedClock(), ...options });
  const columns = [{ column: column('id', { kind: 'int', bytes: 8 }) }];
  target.createTable('t', { columns, key: ['id'] });
  const session = await target.connect();
  await session.prepare(true);
  const { epoch } = await session.claim({ ...id, lanes: 1, owner: 'test', route: 'direct' });
  const journaled = await session.describe('t');
  const rules = { stream: 's', key: ['id'], onConflict: 'dead-letter' } as const;
  const merge = (of: Session, sequence: number) => {
    const records = [{ id: BigInt(sequence) }];
    const batch = batchOf({ writer: 'w', epoch, rules, journaled }, [
      { lane: 0, first: sequence, records },
    ]);
    return of.merge(batch, 'optimistic');
  };
  return { target, session, merge };
}

async function settledAfter(target: SimulatedTarget): Promise<number | undefined> {
  const session = await target.connect();
  const [lane] = await session.lanes(id);
  assert.equal(target.rows('t').length, lane?.settled, 'rows and watermark move together');
  return lane?.settled;
}

const kinds = [
  ['lost', 'lost', 0],
  ['ambiguous, committed', 'ambiguous', 1],
  ['ambiguous, not committed', 'ambiguous', 0],
  ['transient', 'transient', 0],
  ['hold', 'hold', 0],
  ['readonly', 'readonly', 0],
] as const;

for (const [fault, kind, settled] of kinds) {
  test(`a merge struck by "${fault}" fails as ${kind} and settles ${settled}`, async () => {
    const { target, session, merge } = await newTarget();
    target.inject(target.calls + 1, fault);
    await assert.rejects(merge(session, 1), fails(kind));
    assert.equal(await settledAfter(target), settled);
  });
}

test('a call that only reads is never ambiguous', async () => {
  const { target, session } = await newTarget();
  target.inject(target.calls + 1, 'ambiguous, committed');
  await assert.rejects(session.lanes(id), fails('lost'));
});

test('a session that lost its connection stays lost', async () => {
  const { target, session, merge } = await newTarget();
  target.inject(target.calls + 1, 'lost');
  await assert.rejects(merge(session, 1), fails('lost'));
  await assert.rejects(merge(session, 1), fails('lost'));
  assert.equal(await settledAfter(target), 0);
});

for (const [fault, settled] of [
  ['die', 0],
  ['die, committed', 1],
] as const satisfies readonly (readonly [TargetFault, number])[]) {
  test(`a process that meets "${fault}" leaves ${settled} settled`, async () => {
    let deaths = 0;
    const { target, session, merge } = await newTarget({
      onDeath: () => {
        deaths++;
      },
    });
    target.inject(target.calls + 1, fault);
    await assert.rejects(merge(session, 1), SimulatedDeath);
    assert.equal(deaths, 1);
    assert.equal(await settledAfter(target), settled);
  });
}

test('a failover forgets the last commits and loses every session', async () => {
  const { target, session, merge } = await newTarget();
  for (const sequence of [1, 2, 3]) await merge(session, sequence);
  target.failover(2);
  await assert.rejects(merge(session, 4), fails('lost'));
  const next = await target.connect();
  assert.notEqual(next.identity, session.identity);
  assert.equal(await settledAfter(target), 1);
  await merge(next, 2);
  assert.equal(await settledAfter(target), 2);
});

test('a target that is down refuses everyone until it is up', async () => {
  const { target, session, merge } = await newTarget();
  target.down();
  await assert.rejects(merge(session, 1), fails('lost'));
  await assert.rejects(target.connect(), fails('lost'));
  target.up();
  assert.equal(await settledAfter(target), 0);
});

test('a failed transaction leaves the values from before its first change', () => {
  const store = new SimulatedStore();
  const state = { lane: 0, epoch: 1, settled: 0, merged: 0, duplicates: 0, superseded: 0 };
  const put = (settled: number) =>
    store.set(store.lanes, 'a', { ...state, staged: settled, settled, deadLetters: 0 });
  store.transaction(() => put(1));
  const failing = () =>
    store.transaction(() => {
      put(2);
      put(3);
      throw new Error('in the middle');
    });
  assert.throws(failing, /in the middle/);
  assert.equal(store.lanes.get('a')?.settled, 1);
});

test('a position is replicated once the standby has it', async () => {
  const { target, session, merge } = await newTarget({ standby: true });
  const { position } = await merge(session, 1);
  assert.equal(await session.isReplicated(position), false);
  target.replicate();
  assert.equal(await session.isReplicated(position), true);
});
