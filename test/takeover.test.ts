// When a stream takes its lanes over, and how often, over a simulated disk, clock and target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from '../src/holdfast.ts';
import { limits } from '../src/limits.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { column } from './support/rows.ts';

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
