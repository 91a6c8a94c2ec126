// Scenarios of docs/protocol.md that need the whole product, and no real server: over a simulated
// disk, clock and target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HoldfastError } from '../src/errors.ts';
import { open } from '../src/holdfast.ts';
import { Loading } from '../src/merge/loading.ts';
import type { LostRange } from '../src/merge/lost.ts';
import type { OpenOptions } from '../src/options.ts';
import { Chunks, plainRows } from '../src/target/postgres/copy.ts';
import type { Route } from '../src/target/target.ts';
import type { Holdfast, StreamStatus } from '../src/types.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { batchOf } from './support/batches.ts';
import { column } from './support/rows.ts';

const columns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];
const streams = {
  a: { table: 'a', key: ['id'], lanes: 2 },
  b: { table: 'b', key: ['id'], lanes: 2 },
};
const options: OpenOptions = {
  journal: '/journal',
  target: 'postgres://simulated/shop',
  streams,
  limits: {
    segmentBytes: 64 * 1024,
    bytesMax: 8 * 64 * 1024,
    retentionMsMin: 0,
    retentionBytesMin: 0,
  },
};

/** One clock and one target; each life has the disk that it is given. */
class Shop {
  readonly clock = new SimulatedClock();
  readonly target = new SimulatedTarget({ clock: this.clock, latencyMsMax: 4 });
  readonly #route: Route;

  constructor(route: Route = 'direct') {
    this.#route = route;
    for (const table of ['a', 'b']) this.target.createTable(table, { columns, key: ['id'] });
  }

  /** What the process leaves behind, as often as it is asked for. */
  async live(disk: SimulatedDisk, work: (holdfast: Holdfast) => Promise<void>) {
    const { clock, target } = this;
    const life = async (): Promise<void> => {
      const a = { ...streams.a, route: this.#route };
      const own = { ...options, streams: { ...streams, a } };
      const holdfast = await open(own, { disk, clock, target });
      try {
        await work(holdfast);
      } finally {
        await holdfast.close({ drainMs: 0 });
      }
    };
    await clock.run(life());
    return () => disk.kill();
  }

  /** Rows of 2 KB: a segment holds about thirty. */
  async write(holdfast: Holdfast, stream: string, ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      await holdfast.write(stream, { id, note: `note ${id} `.padEnd(2_000, 'x') });
    }
  }

  async until(
    holdfast: Holdfast,
    stream: string,
    isThere: (status: StreamStatus) => boolean,
  ): Promise<StreamStatus> {
    let last: StreamStatus | undefined;
    for (let waits = 0; waits < 500; waits++) {
      last = (await holdfast.status()).streams[stream];
      if (last && isThere(last)) return last;
      await this.clock.sleep(50);
    }
    return assert.fail(`it never comes to that: ${JSON.stringify(last)}`);
  }

  settled(holdfast: Holdfast, stream: string): Promise<StreamStatus> {
    return this.until(holdfast, stream, ({ inFlight, state }) => {
      return inFlight === 0 && state === 'running';
    });
  }

  ids(table: string): number[] {
    const ids = this.target.rows(table).map(({ id }) => Number(id));
    return ids.sort((one, other) => one - other);
  }
}

const range = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_, i) => first + i);
const isHeld = ({ state }: StreamStatus): boolean => state === 'held';

test('a target that went back has its rows from the retained journal (P3)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(20));
    await shop.settled(holdfast, 'a');
    shop.target.failover(5);
    assert(shop.ids('a').length < 20, 'the failover took rows with it');
    await shop.clock.sleep(5_000);
    await shop.settled(holdfast, 'a');
  });
  assert.deepEqual(shop.ids('a'), range(20));
});

test('who asks for ends that a failover has just taken back waits until they are again', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    const { commits } = shop.target.store;
    const receipt = await holdfast.write(
      'a',
      [1, 1, 2].map((id) => ({ id, note: '' })),
    );
    await shop.settled(holdfast, 'a');
    shop.target.failover(shop.target.store.commits - commits);
    assert.deepEqual(shop.ids('a'), [], 'the failover took the rows with it');
    const { merged, duplicates } = await receipt.settled;
    assert.deepEqual([merged, duplicates, shop.ids('a')], [2, 1, [1, 2]]);
  });
});

test('ends that were pruned with the ledger are not waited for', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    const receipt = await holdfast.write('a', { id: 1_000, note: '' });
    await shop.settled(holdfast, 'a');
    await shop.write(holdfast, 'a', range(200));
    await shop.settled(holdfast, 'a');
    await shop.clock.sleep(130_000);
    await assert.rejects(receipt.settled, { code: 'HF_NOT_FOUND' });
  });
});

test('a target that went back behind the journal is told, nothing passed over (P3)', async () => {
  for (const after of ['nothing', 'a', 'b'] as const) {
    const shop = new Shop();
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      await shop.write(holdfast, 'a', range(4));
      await shop.settled(holdfast, 'a');
      const { commits } = shop.target.store;
      await shop.write(holdfast, 'a', range(100, 4));
      await shop.settled(holdfast, 'a');
      // With what is written to `b` all that the journal had of `a` goes.
      await shop.write(holdfast, 'b', range(100));
      await shop.settled(holdfast, 'b');
      await shop.clock.sleep(2_000);
      shop.target.failover(shop.target.store.commits - commits);
      if (after !== 'nothing') await shop.write(holdfast, after, range(1, 500));
      const { reason, inFlight } = await shop.until(holdfast, 'a', isHeld);
      assert.match(reason ?? '', /not in the journal any more/);
      assert.equal(inFlight, after === 'a' ? 101 : 100);
    });
    assert.deepEqual(shop.ids('a'), range(4));
  }
});

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
  test(`what was lost is passed over on the order, and never without it (P3, ${route})`, async () => {
    for (const after of ['nothing', 'a', 'b'] as const) {
      const shop = new Shop(route);
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
        assert.equal((await holdfast.receipt(receipt))?.counts?.merged, 1, 'it was, once');
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

test('what was staged before the gap is merged before it is passed over (P3)', async () => {
  const shop = new Shop('staged');
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    const { store } = shop.target;
    await shop.write(holdfast, 'a', range(10));
    await shop.until(holdfast, 'a', ({ watermarks }) => watermarks.staged === 10);
    const { commits } = store;
    await shop.write(holdfast, 'a', range(90, 10));
    await shop.settled(holdfast, 'a');
    await shop.write(holdfast, 'b', range(100));
    await shop.settled(holdfast, 'b');
    await shop.clock.sleep(2_000);
    shop.target.failover(store.commits - commits);
    assert(shop.ids('a').length < 10, 'some of it is staged only');
    await shop.until(holdfast, 'a', isHeld);
    assert.equal(recordsOf(await holdfast.passOver('a')), 90);
    const { unaccounted } = await shop.settled(holdfast, 'a');
    assert.deepEqual([unaccounted, shop.ids('a')], [90, range(10)]);
  });
});

test('an order is carried out once, whatever becomes of its answer (P3)', async () => {
  for (const fault of ['lost', 'ambiguous, not committed', 'ambiguous, committed', 'late'] as const) {
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
      assert.equal(first, fault === 'ambiguous, committed' ? 100 : 'HF_TARGET', fault);
      await shop.write(holdfast, 'a', range(1, 600));
      if (first === 'HF_TARGET') {
        await shop.until(holdfast, 'a', isHeld);
        assert.equal(await order(), 100, fault);
      }
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

test('numbers go on where they were, though the target is away at the start (P4)', async () => {
  const shop = new Shop();
  const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(100));
    await shop.settled(holdfast, 'a');
    // The records of `a` are in dropped segments now.
    await shop.write(holdfast, 'b', range(150));
    await shop.settled(holdfast, 'b');
  });
  shop.target.down();
  await shop.live(left(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(10, 100));
    shop.target.up();
    const { accepted, merged } = await shop.settled(holdfast, 'a');
    assert.deepEqual([accepted, merged], [110, 110]);
  });
  assert.deepEqual(shop.ids('a'), range(110));
});

test('an older copy of the journal is found, also when it numbered on (P4)', async () => {
  const shop = new Shop();
  const first = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(10));
    await shop.settled(holdfast, 'a');
  });
  const [copy, numbered] = [first(), first()];
  await shop.live(first(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(10, 10));
    await shop.settled(holdfast, 'a');
  });
  await shop.live(copy, async (holdfast) => {
    const { reason } = await shop.until(holdfast, 'a', isHeld);
    assert.match(reason ?? '', /older than its target/);
  });
  shop.target.down();
  await shop.live(numbered, async (holdfast) => {
    await shop.write(holdfast, 'a', range(20, 50));
    shop.target.up();
    const { reason } = await shop.until(holdfast, 'a', (status) => {
      return isHeld(status) && /older/.test(status.reason ?? '');
    });
    assert.match(reason ?? '', /other records/);
  });
  assert.deepEqual(shop.ids('a'), range(20), 'what was journaled instead is not passed over');
});

test('keys that may be equal in other bytes share one lane (P9)', async () => {
  const shop = new Shop();
  const folded = { column: column('id', { kind: 'text' }, { bytewiseEqual: false }) };
  shop.target.createTable('a', { columns: [folded], key: ['id'] });
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await holdfast.write('a', [{ id: 'abc' }, { id: 'ABC' }, { id: 'x' }]);
    const { lanes } = await shop.settled(holdfast, 'a');
    assert.equal(lanes, 1);
  });
});

test('a stream whose table is gone stops no other (P12)', async () => {
  const shop = new Shop();
  const left = await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(1));
    await shop.settled(holdfast, 'a');
  });
  const table = shop.target.dropTable('a');
  await shop.live(left(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(5, 1));
    await shop.write(holdfast, 'b', range(5));
    await shop.settled(holdfast, 'b');
    await shop.until(holdfast, 'a', isHeld);
    shop.target.putBack('a', table);
    await shop.settled(holdfast, 'a');
  });
  assert.deepEqual([shop.ids('a'), shop.ids('b')], [range(6), range(5)]);
});

test('the ledger is pruned to what the journal retains, and no further (P13)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    for (const id of range(200)) {
      await shop.write(holdfast, 'a', [id]);
      await shop.clock.sleep(10);
    }
    await shop.settled(holdfast, 'a');
    const { store } = shop.target;
    const booked = (): number =>
      [...store.members('a')].reduce((sum, { key }) => sum + store.entries(key).length, 0);
    const before = booked();
    await shop.clock.sleep(130_000);
    const after = booked();
    assert(after > 0 && after < before / 2, `of ${before} rows of the ledger ${after} are left`);
    const { merged, unaccounted } = await shop.settled(holdfast, 'a');
    assert.deepEqual([merged, unaccounted], [200, 0]);
    const { ok, differences } = await holdfast.verify();
    assert(ok, JSON.stringify(differences));
  });
});

test('twins with one key are journaled once, whichever answer they wait for (P20)', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    const row = { id: 1, note: 'once' };
    const once = () => holdfast.write('a', row, { idempotencyKey: 'k' });
    const [first, second] = await Promise.all([once(), once()]);
    assert.equal(first.id, second.id);
    const { accepted, merged } = await shop.settled(holdfast, 'a');
    assert.deepEqual([accepted, merged], [1, 1]);
  });
});

test('what is on its way to the target is not written over before it is sent (P19)', () => {
  const journaled = {
    name: 'a',
    columns: columns.map((of) => of.column),
    keys: [['id']],
    fingerprint: '',
    warnings: [],
  };
  const rules = { stream: 'a', key: ['id'], onConflict: 'dead-letter' } as const;
  // Backwards, so that no two rows go together.
  const records = range(5_000).map((i) => ({ id: BigInt(5_000 - i), note: `note ${i}` }));
  const batch = batchOf({ writer: 'w', epoch: 1, rules, journaled }, [
    { lane: 0, first: 1, records },
  ]);
  const tuples = [...batch.order].map((row) =>
    batch.bytes.subarray(batch.starts[row], batch.tupleEnds[row]),
  );
  const copied = (parts: readonly Uint8Array[]) => Buffer.concat(parts).subarray(19, -2);
  // A socket may keep every chunk until the last one is there.
  const chunks = new Chunks();
  const half = [...plainRows(batch, batch.order.subarray(0, 2_500), chunks)];
  chunks.answered();
  const whole = [...plainRows(batch, batch.order, chunks)];
  assert(copied(whole).equals(Buffer.concat(tuples)), 'it is sent as it lies in memory');
  const memory = (parts: readonly Uint8Array[]) => new Set(parts.map(({ buffer }) => buffer));
  const used = memory(whole);
  assert(
    [...memory(half)].every((own) => used.has(own)),
    'memory that was answered for is used again',
  );
  // Broken off, and another one after it: the socket may have the first one's chunks still.
  chunks.forget();
  const after = [...plainRows(batch, batch.order.toReversed(), chunks)];
  assert(copied(whole).equals(Buffer.concat(tuples)));
  assert(copied(after).equals(Buffer.concat(tuples.toReversed())));
});
