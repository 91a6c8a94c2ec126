// P3: a target that went back further than the journal reaches, and the order to pass over what was
// lost: the whole product over a simulated disk, clock and target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HoldfastError } from '../src/errors.ts';
import { Loading } from '../src/merge/loading.ts';
import type { LostRange } from '../src/merge/lost.ts';
import type { Holdfast } from '../src/types.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { isHeld, range, Shop } from './support/simulated-shop.ts';

/**
 * A life of a stream whose target has gone back: the journal does not have the last of its first
 * `count` records any more. Those before `kept` are in the target still.
 */
async function goneBack(shop: Shop, holdfast: Holdfast, kept = 4): Promise<string> {
  if (kept > 0) await shop.write(holdfast, 'a', range(kept));
  await shop.settled(holdfast, 'a');
  const { commits } = shop.target.store;
  const { id } = await holdfast.writeBytes('a', Buffer.from('{"id":1000,"note":""}'), {
    format: 'json',
    level: 'journaled',
  });
  await shop.write(holdfast, 'a', range(99, kept));
  await shop.settled(holdfast, 'a');
  // With what is written to `b` all that the journal had of `a` goes.
  await shop.write(holdfast, 'b', range(100));
  await shop.settled(holdfast, 'b');
  await shop.clock.sleep(2_000);
  shop.target.failover(shop.target.store.commits - commits);
  return id;
}

const recordsOf = (ranges: readonly LostRange[]): number =>
  ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);

for (const route of ['direct', 'staged'] as const) {
  test(`what was lost is passed over on the order, never without (P3, ${route})`, async () => {
    for (const after of ['nothing', 'a', 'b'] as const) {
      const shop = new Shop({ route });
      const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
        const receipt = await goneBack(shop, holdfast);
        if (after !== 'nothing') await shop.write(holdfast, after, range(1, 500));
        const { reason } = await shop.until(holdfast, 'a', isHeld);
        assert.match(reason ?? '', /holdfast pass-over/);
        const seen = await holdfast.passOver('a', { dryRun: true });
        assert.equal(recordsOf(seen), 100);
        await shop.clock.sleep(20_000);
        const { state, unaccounted } = await shop.until(holdfast, 'a', isHeld);
        assert.deepEqual([state, unaccounted, shop.ids('a')], ['held', 0, range(4)]);
        assert.deepEqual(await holdfast.passOver('a'), seen);
        await shop.write(holdfast, 'a', range(1, 600));
        const status = await shop.settled(holdfast, 'a');
        const own = after === 'a' ? 6 : 5;
        assert.deepEqual([status.unaccounted, status.merged], [100, own]);
        await assert.rejects(holdfast.passOver('a'), { code: 'HF_USAGE' });
        // Past the next time that the ledger is pruned: what was lost is never forgotten.
        await shop.clock.sleep(130_000);
        const { ok, differences } = await holdfast.verify({ stream: 'a' });
        assert.equal(ok, false);
        assert.equal(
          differences.every(({ kind }) => kind === 'unaccounted'),
          true,
        );
        await assert.rejects(holdfast.receipt(receipt), { code: 'HF_NOT_FOUND' });
      });
      await shop.live(left(), async (holdfast) => {
        await shop.write(holdfast, 'a', range(1, 700));
        const { unaccounted } = await shop.settled(holdfast, 'a');
        assert.equal(unaccounted, 100);
      });
      const own = after === 'a' ? [500, 600, 700] : [600, 700];
      assert.deepEqual(shop.ids('a'), [...range(4), ...own]);
    }
  });
}

/**
 * The target has gone back to where 10 records were staged and not merged; 90 are lost. The life
 * after that merges nothing by itself.
 */
async function stagedBeforeTheGap(life: (shop: Shop, holdfast: Holdfast) => Promise<void>) {
  const shop = new Shop({ route: 'staged' });
  const { store } = shop.target;
  let commits = 0;
  const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    await shop.clock.sleep(50);
    const rows = range(10).map((id) => ({ id, note: '' }));
    await holdfast.write('a', rows);
    await shop.until(holdfast, 'a', ({ watermarks }) => watermarks.staged === 10);
    ({ commits } = store);
    assert.deepEqual(shop.ids('a'), []);
    await shop.write(holdfast, 'a', range(90, 10));
    await shop.settled(holdfast, 'a');
    await shop.write(holdfast, 'b', range(100));
    await shop.settled(holdfast, 'b');
    await shop.clock.sleep(2_000);
  });
  shop.target.failover(store.commits - commits);
  shop.rules = { route: 'staged', mergers: 0 };
  await shop.live(left(), async (holdfast) => {
    await shop.until(holdfast, 'a', isHeld);
    assert.deepEqual(shop.ids('a'), [], 'it is staged only');
    assert.equal(recordsOf(await holdfast.passOver('a', { dryRun: true })), 90);
    await life(shop, holdfast);
  });
}

test('where more is lost than the order was shown, nothing is passed over (P3)', async () => {
  const shop = new Shop();
  const { target } = shop;
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.settled(holdfast, 'a');
    const { commits } = target.store;
    await goneBack(shop, holdfast);
    await shop.until(holdfast, 'a', isHeld);
    // Once the order has been shown what is lost, the target goes back further.
    const connect = target.connect.bind(target);
    let isShown = false;
    target.connect = () => {
      if (isShown) {
        target.connect = connect;
        target.failover(target.store.commits - commits);
      }
      return connect();
    };
    target.server.strike = ({ name }) => {
      isShown ||= name === 'lanes';
      return undefined;
    };
    await assert.rejects(holdfast.passOver('a'), {
      code: 'HF_TARGET',
      message: /^Other records are lost/,
    });
    await shop.until(holdfast, 'a', isHeld);
    const seen = await holdfast.passOver('a', { dryRun: true });
    assert.equal(recordsOf(seen), 104);
    assert.deepEqual(await holdfast.passOver('a'), seen);
    const { unaccounted, merged } = await shop.settled(holdfast, 'a');
    assert.deepEqual([unaccounted, merged], [104, 0]);
  });
});

test('what was staged before the gap is merged before it is passed over (P3)', async () => {
  await stagedBeforeTheGap(async (shop, holdfast) => {
    assert.equal(recordsOf(await holdfast.passOver('a')), 90);
    const { unaccounted } = await shop.settled(holdfast, 'a');
    assert.deepEqual([unaccounted, shop.ids('a')], [90, range(10)]);
  });
});

test('rows that are gone from the staging table are not passed over unseen (P3, P14)', async () => {
  await stagedBeforeTheGap(async (shop, holdfast) => {
    shop.target.store.stages.get('a')?.slices.clear();
    await assert.rejects(holdfast.passOver('a'), { code: 'HF_TARGET', message: /more is lost/ });
    await shop.until(holdfast, 'a', isHeld);
    const seen = await holdfast.passOver('a', { dryRun: true });
    assert.equal(recordsOf(seen), 100);
    assert.deepEqual(await holdfast.passOver('a'), seen);
    const { unaccounted } = await shop.settled(holdfast, 'a');
    assert.deepEqual([unaccounted, shop.ids('a')], [100, []]);
  });
});

test('a journal that is older than its target passes nothing over (P3, P4)', async () => {
  const shop = new Shop();
  const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await goneBack(shop, holdfast);
  });
  const { store } = shop.target;
  let writer = '';
  await shop.live(left(), async (holdfast) => {
    ({ writer } = await holdfast.status());
    await shop.until(holdfast, 'a', isHeld);
  });
  const id = { writer, stream: 'a' };
  store.transaction(() => {
    for (const state of store.lanesOf(id).slice(1, 2)) {
      store.setLane(id, { ...state, staged: 5_000, settled: 5_000 });
    }
  });
  await shop.live(left(), async (holdfast) => {
    const { reason } = await shop.until(holdfast, 'a', isHeld);
    assert.match(reason ?? '', /older than its target/);
    const settled = () => store.lanesOf(id).map((state) => state.settled);
    const before = settled();
    assert.notEqual((await holdfast.passOver('a', { dryRun: true })).length, 0);
    await assert.rejects(holdfast.passOver('a'), { code: 'HF_TARGET', message: /older/ });
    assert.deepEqual(settled(), before);
    const again = await shop.until(holdfast, 'a', isHeld);
    assert.match(again.reason ?? '', /older than its target/);
  });
});

test('an order is carried out once, whatever becomes of its answer (P3)', async () => {
  for (const fault of [
    'lost',
    'ambiguous, not committed',
    'ambiguous, committed',
    'late',
  ] as const) {
    const shop = new Shop();
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      await goneBack(shop, holdfast, 0);
      await shop.until(holdfast, 'a', isHeld);
      let isStruck = false;
      shop.target.server.strike = ({ name }) => {
        if (isStruck || name !== 'passOver') return undefined;
        isStruck = true;
        return fault;
      };
      const order = async () => recordsOf(await holdfast.passOver('a'));
      const first = await order().catch((error: HoldfastError) => error.code);
      // One that comes late may come before its lanes are claimed once more, or not.
      const ends = fault === 'late' ? [100, 'HF_TARGET'] : [];
      const end = fault === 'ambiguous, committed' ? 100 : 'HF_TARGET';
      assert([...ends, end].includes(first), `${fault}: ${first}`);
      if (first === 'HF_TARGET') {
        await shop.until(holdfast, 'a', isHeld);
        assert.equal(await order(), 100, fault);
      }
      await shop.write(holdfast, 'a', range(1, 600));
      const { unaccounted, merged } = await shop.settled(holdfast, 'a');
      assert.deepEqual([isStruck, unaccounted, merged], [true, 100, 1], fault);
    });
  }
});

test('the ends of records that were passed over are refused, not waited for (P3)', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock });
  const silent = () => undefined;
  const events = {
    onTable: silent,
    onLanes: silent,
    onStaged: silent,
    onSettled: silent,
    onConfirmed: silent,
    onState: silent,
    onRetry: silent,
    onBatch: silent,
  };
  const disk = new SimulatedDisk();
  const parts = { clock, disk, target, events, directory: '/journal', owner: 'test' };
  const loading = new Loading({ ...parts, writer: 'w', createTables: true });
  const session = await target.connect();
  const id = { writer: 'w', stream: 'a' };
  const { epoch } = await session.claim({ ...id, lanes: 1, owner: 'test', route: 'direct' });
  await session.passOver({ ...id, epoch, ranges: [{ lane: 0, first: 1, last: 5 }] });
  const refused = { code: 'HF_NOT_FOUND', message: /passed over/ };
  await assert.rejects(loading.counts('a', [[0, 5, 1]]), refused);
  await assert.rejects(loading.counts('a', [[0, 5, 2]]), refused);
  await assert.rejects(loading.counts('a', [[0, 6, 1]]), { code: 'HF_NOT_SETTLED' });
});

test('another owner of the stream lets no order through (P3)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await goneBack(shop, holdfast);
    await shop.until(holdfast, 'a', isHeld);
    const { writer } = await holdfast.status();
    const session = await shop.target.connect();
    const claim = { writer, stream: 'a', lanes: 3, owner: 'another', route: 'direct' } as const;
    await session.claim(claim);
    await assert.rejects(holdfast.passOver('a'), { code: 'HF_TARGET' });
    const lanes = await session.lanes({ writer, stream: 'a' });
    assert.equal(
      lanes.reduce((sum, { settled }) => sum + settled, 0),
      4,
    );
  });
});

for (const route of ['direct', 'staged'] as const) {
  test(`what a held stream has is kept, and merged after the order (P3, ${route})`, async () => {
    const shop = new Shop({ route, loaders: 2, batchRowsMax: 10 });
    const disk = new SimulatedDisk();
    await shop.live(disk, async (holdfast) => {
      await shop.write(holdfast, 'a', range(4));
      await shop.settled(holdfast, 'a');
      const { commits } = shop.target.store;
      await shop.write(holdfast, 'a', range(99, 4));
      await shop.settled(holdfast, 'a');
      await shop.write(holdfast, 'b', range(100));
      await shop.settled(holdfast, 'b');
      await shop.clock.sleep(2_000);
      // The journal has these, among others, and all of them are confirmed.
      for (const id of range(3, 500)) {
        await shop.write(holdfast, 'b', range(2, 2 * id));
        await shop.write(holdfast, 'a', [id]);
      }
      await shop.settled(holdfast, 'a');
      shop.target.failover(shop.target.store.commits - commits);
      await shop.until(holdfast, 'a', isHeld);
      await shop.until(holdfast, 'b', isHeld);
      await holdfast.passOver('b');
      // The others bring the journal to its bound: it copies aside what `a` needs.
      for (const from of range(30)) {
        await shop.write(holdfast, 'b', range(10, 1_000 + 10 * from));
        await shop.clock.sleep(1_100);
      }
      assert(disk.list('/journal').some((name) => name.includes('held')));
      await holdfast.passOver('a');
      const { unaccounted, merged } = await shop.settled(holdfast, 'a');
      assert.deepEqual([unaccounted, merged], [99, 7]);
    });
    assert.deepEqual(shop.ids('a'), [...range(4), ...range(3, 500)]);
  });
}

test('who sends again what was passed over hears that it is gone (P3, P20)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(4));
    await shop.settled(holdfast, 'a');
    const { commits } = shop.target.store;
    const send = (level: 'journaled' | 'settled' | 'confirmed') => {
      return holdfast.write('a', { id: 7_000, note: '' }, { idempotencyKey: 'k', level });
    };
    await send('confirmed');
    await shop.write(holdfast, 'a', range(98, 4));
    await shop.settled(holdfast, 'a');
    await shop.write(holdfast, 'b', range(100));
    await shop.settled(holdfast, 'b');
    await shop.clock.sleep(2_000);
    shop.target.failover(shop.target.store.commits - commits);
    await shop.until(holdfast, 'a', isHeld);
    await holdfast.passOver('a');
    for (const level of ['settled', 'confirmed'] as const) {
      await assert.rejects(send(level), { code: 'HF_NOT_FOUND', outcome: 'unknown' });
    }
    assert.equal((await send('journaled')).repeated, true);
    assert(!shop.ids('a').includes(7_000));
  });
});
