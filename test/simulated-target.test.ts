// The simulated target fails when it is told to, and in just that way; what it does well is in
// test/target.test.ts, beside the real ones.
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Session } from '../src/target/target.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDeath } from './simulation/simulated-disk.ts';
import { SimulatedStore } from './simulation/simulated-store.ts';
import {
  SimulatedTarget,
  type SimulatedTargetOptions,
  type TargetFault,
} from './simulation/simulated-target.ts';
import { batchOf } from './support/batches.ts';
import { column } from './support/rows.ts';
import { fails } from './support/target-stream.ts';

const id = { writer: 'w', stream: 's' };

async function newTarget(options: Partial<SimulatedTargetOptions> = {}) {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, ...options });
  const columns = [{ column: column('id', { kind: 'int', bytes: 8 }) }];
  target.createTable('t', { columns, key: ['id'] });
  const session = await target.connect();
  await session.prepare(true);
  const { epoch } = await session.claim({ ...id, lanes: 1, owner: 'test', route: 'direct' });
  const journaled = await session.describe('t');
  const rules = { stream: 's', key: ['id'], onConflict: 'dead-letter' } as const;
  const batch = (sequence: number) =>
    batchOf({ writer: 'w', epoch, rules, journaled }, [
      { lane: 0, first: sequence, records: [{ id: BigInt(sequence) }] },
    ]);
  const merge = (of: Session, sequence: number) => of.merge(batch(sequence), 'optimistic');
  return { clock, target, session, batch, merge };
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
  ['deadlock', 'transient', 0],
  ['hang', 'lost', 0],
  ['hang, committed', 'ambiguous', 1],
  ['hold', 'hold', 0],
  ['readonly', 'readonly', 0],
] as const;

for (const [fault, kind, settled] of kinds) {
  test(`a merge struck by "${fault}" fails as ${kind} and settles ${settled}`, async () => {
    const { clock, target, session, merge } = await newTarget();
    target.inject(target.calls + 1, fault);
    await assert.rejects(clock.run(merge(session, 1)), fails(kind));
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

test('a late call is done after its client gave it up, where nothing else came', async () => {
  const { clock, target, session, merge } = await newTarget();
  target.inject(target.calls + 1, 'late');
  await assert.rejects(merge(session, 1), fails('ambiguous'));
  assert.equal(await settledAfter(target), 0);
  await clock.advance(100);
  assert.equal(await settledAfter(target), 1);
  assert.deepEqual(target.server.late, { done: 1, refused: 0, ended: 0 });
});

test('a late call finds that its lanes have moved, and does nothing (P1)', async () => {
  const { clock, target, session, batch, merge } = await newTarget();
  target.inject(target.calls + 1, 'late');
  await assert.rejects(merge(session, 1), fails('ambiguous'));
  const next = await target.connect();
  assert.equal((await next.resolve(batch(1), session.id))[0]?.settled, 0);
  await merge(next, 1);
  await clock.advance(100);
  assert.equal(await settledAfter(target), 1);
  assert.deepEqual(target.server.late, { done: 0, refused: 1, ended: 0 });
});

test('a late call with its locks is done before who resolves it, or ended (P1)', async () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 12; seed++) {
    const clock = new SimulatedClock({ seed });
    const { target, session, batch, merge } = await newTarget({ clock });
    target.inject(target.calls + 1, 'late, locked');
    await assert.rejects(merge(session, 1), fails('ambiguous'));
    const next = await target.connect();
    await assert.rejects(merge(next, 1), fails('transient'));
    const [lane] = await clock.run(next.resolve(batch(1), session.id));
    const { done, ended } = target.server.late;
    assert.deepEqual([lane?.settled, ended], [done, 1 - done], 'one or the other');
    await clock.advance(100);
    assert.equal(await settledAfter(target), done, 'and no later than that');
    seen.add(done);
  }
  assert.equal(seen.size, 2, 'both were seen');
});

test('a target takes no writes for a while, and then again', async () => {
  const { clock, target, session, merge } = await newTarget();
  target.readOnly(50);
  await assert.rejects(merge(session, 1), fails('readonly'));
  await assert.rejects(target.connect(), fails('readonly'));
  assert.equal((await session.lanes(id))[0]?.settled, 0);
  await clock.advance(50);
  await merge(session, 1);
});

test('a row that a trigger swallows is a dead letter', async () => {
  const { target, session, batch, merge } = await newTarget();
  target.alterTable('t', { swallow: (row) => row['id'] === 1 });
  await assert.rejects(merge(session, 1), fails('row'));
  await session.merge(batch(1), 'merge');
  assert.equal((await session.deadLetters({}))[0]?.code, 'swallowed');
});

test('a standby that lags takes over without what it had not received', async () => {
  const { clock, target, session, merge } = await newTarget({ standby: true });
  target.follow(100);
  const { position } = await merge(session, 1);
  await clock.advance(60);
  await merge(session, 2);
  assert.equal(await session.isReplicated(position), false);
  await clock.advance(40);
  assert.equal(await session.isReplicated(position), true);
  target.failover();
  assert.equal(await settledAfter(target), 1);
});

test('a table that was dropped holds, and is as before when it is put back', async () => {
  const { target, session, merge } = await newTarget();
  await merge(session, 1);
  const table = target.dropTable('t');
  await assert.rejects(merge(session, 2), fails('hold'));
  target.putBack('t', table);
  await merge(session, 2);
  assert.equal(await settledAfter(target), 2);
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
