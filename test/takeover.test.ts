// When a stream takes its lanes over, and how often, over a simulated disk, clock and target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Opened, open } from '../src/holdfast.ts';
import { limits } from '../src/limits.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { column } from './support/rows.ts';

const oneLane = {
  journal: '/journal',
  target: 'postgres://simulated/shop',
  streams: { a: { table: 'a', lanes: 1 } },
};

test('lanes that are lost at once are taken over less and less often', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  target.createTable('a', {
    columns: [{ column: column('id', { kind: 'int', bytes: 8 }) }],
    key: [],
  });
  const takeovers = (): number => target.trace.filter((call) => call === 'claim').length;
  let isForgetful = true;
  let before = 0;
  let isClaimed = false;
  target.strikeWhere(({ name }) => {
    if (name === 'claim') before = target.store.commits;
    isClaimed ||= name === 'claim';
    // The target goes back behind the claim as soon as somebody builds on it.
    if (!(isForgetful && isClaimed && name.startsWith('merge'))) return undefined;
    isClaimed = false;
    target.failover(target.store.commits - before);
    return undefined;
  });
  const life = async (): Promise<void> => {
    const streams = { a: { table: 'a', lanes: 2 } };
    const options = { journal: '/journal', target: 'postgres://simulated/shop', streams };
    const holdfast = await open(options, { disk: new SimulatedDisk(), clock, target });
    try {
      await holdfast.write('a', { id: 1 });
      await clock.sleep(12 * limits.retryMsMax);
      // Doubling pauses up to the bound, then about one in each.
      const often = takeovers();
      assert(often > 10 && often < 40, `${often} takeovers`);
      isForgetful = false;
      await clock.sleep(3 * limits.retryMsMax);
      assert.equal(target.rows('a').length, 1);
      const kept = takeovers();
      // Once the lanes were kept for long, the first pause is a short one again.
      isForgetful = true;
      await holdfast.write('a', { id: 2 });
      await clock.sleep(limits.retryMsMax / 5);
      assert(takeovers() > kept + 2, `${takeovers() - kept} takeovers`);
    } finally {
      await holdfast.close({ drainMs: 0 });
    }
  };
  await clock.run(life());
});

test('where no descriptor is left to read the journal with, a stream waits for one', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  target.createTable('a', {
    columns: [{ column: column('id', { kind: 'int', bytes: 8 }) }],
    key: [],
  });
  const disk = new SimulatedDisk();
  const life = async (): Promise<void> => {
    const streams = { a: { table: 'a', lanes: 1 } };
    const options = { journal: '/journal', target: 'postgres://simulated/shop', streams };
    disk.inject({ fault: 'EMFILE', operation: 'open read', path: '.segment' });
    const holdfast = await open(options, { disk, clock, target });
    const failed = holdfast.failed.then((error) => {
      throw error;
    });
    try {
      const receipt = await holdfast.write('a', { id: 1 });
      const { merged } = await Promise.race([receipt.settled, failed]);
      assert.equal(merged, 1);
      assert.equal(holdfast.metrics.retries.get('EMFILE'), 1);
    } finally {
      await holdfast.close({ drainMs: 0 });
    }
  };
  await clock.run(life());
});

test('a claim that was committed and not answered is no other process', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  target.createTable('a', {
    columns: [{ column: column('id', { kind: 'int', bytes: 8 }) }],
    key: [],
  });
  let claims = 0;
  target.strikeWhere(({ name }) => {
    if (name === 'claim') claims++;
    return name === 'claim' && claims === 2 ? 'ambiguous, committed' : undefined;
  });
  const disk = new SimulatedDisk();
  disk.inject({ fault: 'EMFILE', operation: 'open read', path: '.segment' });
  const life = async (): Promise<void> => {
    const holdfast = await open(oneLane, { disk, clock, target });
    try {
      const { settled } = await holdfast.write('a', { id: 1 });
      await clock.sleep(3 * limits.retryMsMax);
      assert(claims > 2, `${claims} claims`);
      const { state } = (await holdfast.status()).streams['a'] ?? {};
      assert.equal(state, 'running');
      assert.equal((await settled).merged, 1);
    } finally {
      await holdfast.close({ drainMs: 0 });
    }
  };
  await clock.run(life());
});

/** A process goes on while another one has a copy of its journal, which no lock can tell. */
async function withCopy(
  attack: (pair: {
    readonly clock: SimulatedClock;
    readonly disk: SimulatedDisk;
    readonly target: SimulatedTarget;
    readonly first: Opened;
    readonly startSecond: () => Promise<Opened>;
  }) => Promise<void>,
): Promise<void> {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  target.createTable('a', {
    columns: [{ column: column('id', { kind: 'int', bytes: 8 }) }],
    key: [],
  });
  const disk = new SimulatedDisk();
  const started: Opened[] = [];
  const start = async (on: SimulatedDisk): Promise<Opened> => {
    const holdfast = await open(oneLane, { disk: on, clock, target });
    started.push(holdfast);
    return holdfast;
  };
  const life = async (): Promise<void> => {
    const first = await start(disk);
    const failed = first.failed.then((error) => {
      throw error;
    });
    try {
      const startSecond = () => start(disk.snapshot());
      await Promise.race([attack({ clock, disk, target, first, startSecond }), failed]);
      await assert.rejects(first.write('a', { id: 9 }), { code: 'HF_TARGET' });
    } finally {
      for (const holdfast of started) await holdfast.close({ drainMs: 0 });
    }
    assert.equal(target.rows('a').length, 3);
  };
  await clock.run(life());
}

test('a process that was replaced takes nothing of its successor for its own', () =>
  withCopy(async ({ clock, first, startSecond }) => {
    await (await first.write('a', { id: 1 })).settled;
    const second = await startSecond();
    await (await second.write('a', [{ id: 2 }, { id: 3 }])).settled;
    await clock.sleep(2 * limits.idleCheckMs);
  }));

test('a process that was replaced while it could not merge does not claim its lanes back', () =>
  withCopy(async ({ clock, disk, first, startSecond }) => {
    disk.inject({ fault: 'EMFILE', operation: 'open read', path: '.segment', isLasting: true });
    await first.write('a', { id: 1 });
    await clock.sleep(limits.retryMsMax);
    const second = await startSecond();
    await (await second.write('a', [{ id: 2 }, { id: 3 }])).settled;
    disk.heal();
    await clock.sleep(3 * limits.retryMsMax);
    assert.equal((await second.status()).streams['a']?.state, 'running');
  }));

test('a process that was replaced while its claim had no answer does not claim again', () =>
  withCopy(async ({ clock, disk, target, first, startSecond }) => {
    disk.inject({ fault: 'EMFILE', operation: 'open read', path: '.segment', isLasting: true });
    await first.write('a', { id: 1 });
    // Its pauses are long by now.
    await clock.sleep(limits.retryMsMax);
    const { promise: unanswered, resolve } = Promise.withResolvers<void>();
    target.strikeWhere(({ name }) => {
      if (name !== 'claim') return undefined;
      target.strikeWhere(() => undefined);
      resolve();
      return 'ambiguous, not committed';
    });
    await unanswered;
    const second = await startSecond();
    await (await second.write('a', [{ id: 2 }, { id: 3 }])).settled;
    disk.heal();
    await clock.sleep(3 * limits.retryMsMax);
    assert.equal((await second.status()).streams['a']?.state, 'running');
  }));

test('a process that was replaced after a failover forgot its claim knows it', () =>
  withCopy(async ({ clock, target, first, startSecond }) => {
    await (await first.write('a', { id: 1 })).settled;
    target.failover(target.store.commits);
    const second = await startSecond();
    await (await second.write('a', [{ id: 2 }, { id: 3 }])).settled;
    // It looks once over the session that it has lost.
    await clock.sleep(4 * limits.idleCheckMs);
  }));
