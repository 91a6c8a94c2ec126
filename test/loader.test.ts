// How a loader divides a stream into transactions: the whole product over a simulated target, whose
// transactions take 2 ms each at the mean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TargetError } from '../src/target/target.ts';
import type { Holdfast } from '../src/types.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { range, Shop } from './support/simulated-shop.ts';

const rows = 400;

/** Rows of stream `a` settled: how many transactions, and how many ms that takes. */
async function settle(shop: Shop, write: (holdfast: Holdfast) => Promise<void>) {
  let settled = { transactions: 0, ms: 0 };
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    const begun = shop.clock.monotonicMs();
    const { commits } = shop.target.store;
    await write(holdfast);
    while (shop.ids('a').length < rows) await shop.clock.sleep(1);
    const transactions = shop.target.store.commits - commits;
    settled = { transactions, ms: shop.clock.monotonicMs() - begun };
  });
  return settled;
}

test('a loader that has caught up spends half of its time in transactions', async () => {
  const shop = new Shop({ loaders: 1 });
  const { transactions, ms } = await settle(shop, async (holdfast) => {
    for (const id of range(rows)) {
      await holdfast.write('a', { id, note: '' });
      await shop.clock.sleep(1);
    }
  });
  const share = (transactions * 2) / ms;
  assert(share > 0.4 && share < 0.6, `${transactions} transactions in ${ms} ms`);
});

test('a loader with a backlog goes from one transaction to the next', async () => {
  const shop = new Shop({ loaders: 1, batchRowsMax: 10 });
  const { transactions, ms } = await settle(shop, async (holdfast) => {
    await Promise.all(range(rows).map((id) => holdfast.write('a', { id, note: '' })));
  });
  const share = (transactions * 2) / ms;
  assert(share > 0.8, `${transactions} transactions in ${ms} ms`);
});

test('who waits for the end of each row waits for its transaction alone', async () => {
  const shop = new Shop({ loaders: 1 });
  const { ms } = await settle(shop, async (holdfast) => {
    for (const id of range(rows)) await holdfast.write('a', { id, note: '' }, { level: 'settled' });
  });
  assert(ms / rows < 3, `${ms / rows} ms a row`);
});

test('a lost session that keeps the lanes is ended, though it takes two tries (P1)', async () => {
  for (const flap of ['connect', 'resolve', 'none'] as const) {
    // Left to itself, its server keeps them for hours.
    const shop = new Shop({ lanes: 1 }, { lateMsMax: 1e12 });
    const { target, clock } = shop;
    const connect = target.connect.bind(target);
    target.connect = async () => {
      const session = await connect();
      const merge = session.merge.bind(session);
      session.merge = async (batch, rung) => {
        try {
          return await merge(batch, rung);
        } catch (error) {
          if (!(error instanceof TargetError && error.kind === 'ambiguous')) throw error;
          // Its COMMIT was not sent: the server waits for rows.
          session.destroy();
          throw new TargetError('lost', '', 'No answer.');
        }
      };
      return session;
    };
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      await shop.write(holdfast, 'a', range(1));
      await shop.settled(holdfast, 'a');
      let isLost = false;
      let flaps = 0;
      target.strikeWhere(({ name }) => {
        if (name.startsWith('merge') && !isLost) {
          isLost = true;
          return 'late, locked';
        }
        const isRefused = (holdfast.metrics.retries.get('55P03') ?? 0) > 0;
        if (!isRefused || name !== flap || flaps > 0) return undefined;
        flaps++;
        return 'lost';
      });
      const { settled } = await holdfast.write('a', { id: 1, note: '' });
      await Promise.race([settled, clock.sleep(60_000)]);
      assert.deepEqual([isLost, flaps], [true, flap === 'none' ? 0 : 1]);
      assert.deepEqual(shop.ids('a'), range(2), `it is there, with a flap at: ${flap}`);
    });
  }
});

/** A shop whose table takes so many rows of a batch; how many, may be changed. */
function slowShop(fault: 'transient' | 'lost' | 'late') {
  const shop = new Shop({ loaders: 1 }, { lateMsMax: 2_000 });
  const slow = { shop, rowsMax: 200, largest: 0 };
  const { target, clock } = shop;
  const connect = target.connect.bind(target);
  let isTooLarge = false;
  target.strikeWhere(({ name }) => (isTooLarge && name.startsWith('merge') ? 'late' : undefined));
  target.connect = async () => {
    const session = await connect();
    const merge = session.merge.bind(session);
    session.merge = async (batch, rung) => {
      isTooLarge = batch.count > slow.rowsMax;
      if (!isTooLarge) slow.largest = Math.max(slow.largest, batch.count);
      // Those that are late may be done yet; by their guard, or never.
      if (!isTooLarge || fault === 'late') {
        return merge(batch, rung).catch((error: unknown) => {
          if (!(error instanceof TargetError && error.kind === 'ambiguous')) throw error;
          throw new TargetError('lost', '', 'No answer.');
        });
      }
      await clock.sleep(100);
      if (fault === 'lost') session.destroy();
      throw new TargetError(fault, '57014', 'It takes too long.');
    };
    return session;
  };
  return slow;
}

for (const fault of ['transient', 'lost', 'late'] as const) {
  test(`a batch that is too large is divided, and batches grow again (${fault})`, async () => {
    const slow = slowShop(fault);
    const { shop } = slow;
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      await shop.settled(holdfast, 'a');
      for (const rowsMax of [200, 20_000]) {
        slow.rowsMax = rowsMax;
        const before = shop.ids('a').length;
        shop.target.down(1_000);
        for (let id = before; id < before + 4_000; id += 10) {
          await holdfast.write(
            'a',
            range(10, id).map((own) => ({ id: own, note: '' })),
          );
        }
        await shop.until(holdfast, 'a', ({ merged }) => merged === before + 4_000);
        const { duplicates, unaccounted } = await shop.settled(holdfast, 'a');
        assert.deepEqual([duplicates, unaccounted], [0, 0]);
        assert.deepEqual(shop.ids('a'), range(before + 4_000));
      }
      assert(slow.largest >= 450, `the largest batch had ${slow.largest} rows`);
      const { late } = shop.target.server;
      assert.equal(late.refused > 0, fault === 'late', 'what is late finds its lanes moved');
    });
  });
}

test('a merge that takes too long takes less the next time', async () => {
  const shop = new Shop({ route: 'staged', mergers: 0, batchRowsMax: 100 });
  const { target, clock } = shop;
  const connect = target.connect.bind(target);
  let largest = 0;
  target.connect = async () => {
    const session = await connect();
    const { staging } = session;
    assert(staging, 'the simulated target has the staged route');
    const merge = staging.merge.bind(staging);
    staging.merge = async (turn) => {
      largest = Math.max(largest, turn.rowsMax);
      if (turn.rowsMax <= 200) return merge(turn);
      await clock.sleep(100);
      throw new TargetError('transient', '57014', 'It takes too long.');
    };
    return session;
  };
  const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    for (const id of range(1_000)) await holdfast.write('a', { id, note: '' });
    await shop.until(holdfast, 'a', ({ watermarks }) => watermarks.staged === 1_000);
  });
  shop.rules = { ...shop.rules, mergers: 1 };
  await shop.live(left(), async (holdfast) => {
    for (let waits = 0; waits < 100 && shop.ids('a').length < 1_000; waits++) {
      await clock.sleep(1_000);
    }
    await shop.settled(holdfast, 'a');
  });
  assert.deepEqual([shop.ids('a'), largest], [range(1_000), 20_000]);
});
