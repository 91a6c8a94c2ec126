// How a stream's lanes are divided among its loaders, and change hands: the whole product over a
// simulated target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { limits } from '../src/limits.ts';
import type { Batch } from '../src/merge/batch.ts';
import { TargetError } from '../src/target/target.ts';
import type { Holdfast } from '../src/types.ts';
import type { TargetFault } from './simulation/simulated-call-fault.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { reader, tableOf } from './support/rows.ts';
import { range, Shop, shopColumns } from './support/simulated-shop.ts';

const rows = 400;

for (const loaders of [2, 3]) {
  test(`one loader has all lanes while it keeps up, and shares them (${loaders})`, async () => {
    const shop = new Shop({ loaders, lanes: loaders, batchRowsMax: 10 }, { loadersMax: loaders });
    const { target, clock } = shop;
    const connect = target.connect.bind(target);
    let sessions = new Set<object>();
    target.connect = async () => {
      const session = await connect();
      const merge = session.merge.bind(session);
      session.merge = (batch, rung) => {
        if (batch.table.name === 'a') sessions.add(session);
        return merge(batch, rung);
      };
      return session;
    };
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      let id = 0;
      const inUse = async (write: () => Promise<void>): Promise<number> => {
        sessions = new Set();
        await write();
        await shop.settled(holdfast, 'a');
        return sessions.size;
      };
      const slowly = async (): Promise<void> => {
        for (let i = 0; i < 50; i++) {
          await holdfast.write('a', { id: id++, note: '' });
          await clock.sleep(5);
        }
      };
      const atOnce = async (): Promise<void> => {
        await Promise.all(range(rows, id).map((own) => holdfast.write('a', { id: own, note: '' })));
        id += rows;
      };
      for (let round = 0; round < 2; round++) {
        assert.equal(await inUse(slowly), 1);
        assert.equal(await inUse(atOnce), loaders);
        assert.equal(await inUse(slowly), loaders, 'not at once');
        await clock.sleep(limits.loadersCalmMs);
        // The other one hears of it when it looks around, a second later at most.
        await inUse(slowly);
        await clock.sleep(limits.idleCheckMs);
        await inUse(slowly);
      }
      assert.equal(await inUse(slowly), 1);
      assert.deepEqual(shop.ids('a'), range(id));
    });
  });
}

test('lanes that change hands keep nobody waiting', async () => {
  const shop = new Shop({ loaders: 2, batchRowsMax: 10 });
  const { clock } = shop;
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    let id = 0;
    for (let round = 0; round < 12; round++) {
      await Promise.all(range(40, id).map((own) => holdfast.write('a', { id: own, note: '' })));
      id += 40;
      await shop.settled(holdfast, 'a');
      await clock.sleep(limits.loadersCalmMs);
      // Of either lane: its loader hears of it, and is to gather the lanes or to give its own.
      const begun = clock.monotonicMs();
      await holdfast.write('a', { id: id++, note: '' }, { level: 'settled' });
      const ms = clock.monotonicMs() - begun;
      assert(ms < 60, `the row of round ${round} took ${ms} ms`);
    }
  });
});

test('a row that somebody locks keeps others’ lanes no longer than it must', async () => {
  const shop = new Shop({ loaders: 2 });
  const { target, clock } = shop;
  const connect = target.connect.bind(target);
  let isLocked = true;
  let isMet = false;
  target.connect = async () => {
    const session = await connect();
    const merge = session.merge.bind(session);
    session.merge = async (batch, rung) => {
      const locked = batch.slices.some(({ lane }) => lane === 0);
      if (!isLocked || batch.table.name !== 'a' || !locked) return merge(batch, rung);
      isMet = true;
      await clock.sleep(1_000);
      throw new TargetError('transient', '', 'A row of lane 0 is locked.');
    };
    return session;
  };
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    let first = 0;
    for (; !isMet; first++) {
      await shop.write(holdfast, 'a', [first]);
      await clock.sleep(20);
    }
    await Promise.all(range(100, first).map((id) => holdfast.write('a', { id, note: '' })));
    await clock.sleep(5_000);
    const there = shop.ids('a').length;
    assert(there > 30 && there < 70, `${there} rows, those of lane 1`);
    isLocked = false;
    await shop.settled(holdfast, 'a');
    assert.deepEqual(shop.ids('a'), range(100 + first));
  });
});

/** A note whose rows go to that lane, where lanes go by notes. */
function noteOf(lane: number): string {
  const table = tableOf(...shopColumns.map(({ column }) => column));
  const notes = range(20).map((i) => `note ${i}`);
  const into = new RowBuffer();
  const given = notes.map((note, id) => ({ id, note }));
  reader(table, { key: ['id'], lanes: 2, laneColumn: 'note' }).objects(given, into);
  const found = notes.find((_, i) => into.lanes[i] === lane);
  assert(found, 'a few notes go to either lane');
  return found;
}

/** The two lanes of stream `a`, each with a loader that has it while they are shared. */
class TwoLanes {
  readonly shop = new Shop(
    { loaders: 2, batchRowsMax: 10, lane: 'note' },
    // Left to itself, a server keeps the lanes of a lost session for hours.
    { lateMsMax: 1e12 },
  );
  readonly #notes = [noteOf(0), noteOf(1)];
  /** What the next batches of the second lane meet, and how long each takes before that. */
  faults: TargetFault[] = [];
  /** What those meet that ask for the lanes of a lost session. */
  faultsOfResolve: TargetFault[] = [];
  /** How long a session takes to close. */
  closesMs = 0;
  /** How long a batch of each lane takes. */
  readonly takesMs = [0, 0];
  #next = 0;

  constructor() {
    const { target } = this.shop;
    const connect = target.connect.bind(target);
    let fault: TargetFault | undefined;
    target.strikeWhere(({ name }) => {
      if (name === 'resolve') return this.faultsOfResolve.shift();
      return name.startsWith('merge') ? fault : undefined;
    });
    target.connect = async () => {
      const session = await connect();
      const merge = session.merge.bind(session);
      session.close = async () => {
        await this.shop.clock.sleep(this.closesMs);
        session.destroy();
      };
      session.merge = async (batch, rung) => {
        await this.#take(batch);
        const hasSecond = batch.slices.some(({ lane }) => lane === 1);
        fault = hasSecond ? this.faults.shift() : undefined;
        return merge(batch, rung).catch((error: unknown) => {
          if (!(error instanceof TargetError && error.kind === 'ambiguous')) throw error;
          // Its COMMIT was not sent: the server waits for rows.
          session.destroy();
          throw new TargetError('lost', '', 'No answer.');
        });
      };
      return session;
    };
  }

  async #take({ slices }: Batch): Promise<void> {
    const ms = Math.max(...slices.map(({ lane }) => this.takesMs[lane] ?? 0));
    if (ms > 0) await this.shop.clock.sleep(ms);
  }

  /** Resolves with how many ms it takes until they are in the table, a minute at most. */
  async write(holdfast: Holdfast, lane: 0 | 1, count: number): Promise<number> {
    const { clock } = this.shop;
    const begun = clock.monotonicMs();
    const note = this.#notes[lane] ?? '';
    const own = range(count, this.#next).map((id) => ({ id, note }));
    this.#next += count;
    await holdfast.write('a', own);
    const isThere = (): boolean => {
      const ids = new Set(this.shop.ids('a'));
      return own.every(({ id }) => ids.has(id));
    };
    while (!isThere() && clock.monotonicMs() - begun < 60_000) await clock.sleep(5);
    return clock.monotonicMs() - begun;
  }

  /** So many that one loader does not keep up. */
  async share(holdfast: Holdfast): Promise<void> {
    const each = ([0, 1, 0, 1] as const).map((lane) => this.write(holdfast, lane, 40));
    await Promise.all(each);
  }

  live(work: (holdfast: Holdfast) => Promise<void>) {
    return this.shop.live(new SimulatedDisk(), async (holdfast) => {
      await this.shop.settled(holdfast, 'a');
      await work(holdfast);
      assert.deepEqual(this.shop.ids('a'), range(this.#next));
    });
  }
}

test('lanes that a lost session may have locked are not given to the other loader', async () => {
  const lanes = new TwoLanes();
  await lanes.live(async (holdfast) => {
    lanes.faults = ['late, locked'];
    lanes.faultsOfResolve = ['lost'];
    assert((await lanes.write(holdfast, 1, 30)) < 60_000);
    assert.deepEqual([lanes.faults, lanes.faultsOfResolve], [[], []]);
  });
});

test('a loader that lost a session ends it before it gives its lanes back', async () => {
  const lanes = new TwoLanes();
  const { clock } = lanes.shop;
  await lanes.live(async (holdfast) => {
    await lanes.share(holdfast);
    await clock.sleep(limits.loadersCalmMs - 200);
    lanes.faults = ['late, locked', 'lost'];
    lanes.takesMs[1] = 300;
    const written = lanes.write(holdfast, 1, 1);
    await clock.sleep(250);
    // The lanes are to be gathered from here on.
    await lanes.write(holdfast, 0, 1);
    assert((await written) < 60_000);
    assert.deepEqual(lanes.faults, []);
    assert.equal(holdfast.metrics.retries.get('55P03'), 1, 'nobody else met its locks');
  });
});

for (const fault of ['lost', 'hold'] as const) {
  test(`a row that always meets '${fault}' keeps others’ lanes no longer than that`, async () => {
    const lanes = new TwoLanes();
    await lanes.live(async (holdfast) => {
      lanes.faults = Array<TargetFault>(1_000).fill(fault);
      const late = lanes.write(holdfast, 1, 1);
      const early = await lanes.write(holdfast, 0, 30);
      assert(early < 10_000, `it takes ${early} ms`);
      assert(lanes.faults.length > 900);
      lanes.faults = [];
      assert((await late) < 60_000);
    });
  });
}

/** From here on the lanes are to be gathered, and the second loader is busy for 50 ms more. */
async function gathering(lanes: TwoLanes, holdfast: Holdfast): Promise<void> {
  const { clock } = lanes.shop;
  await lanes.share(holdfast);
  await clock.sleep(limits.loadersCalmMs - 200);
  lanes.takesMs[1] = 300;
  void lanes.write(holdfast, 1, 1);
  await clock.sleep(250);
  lanes.takesMs[1] = 0;
}

test('lanes that are to be gathered do not wait for what keeps the first loader', async () => {
  const lanes = new TwoLanes();
  await lanes.live(async (holdfast) => {
    await gathering(lanes, holdfast);
    lanes.takesMs[0] = 5_000;
    const late = lanes.write(holdfast, 0, 1);
    const early = await lanes.write(holdfast, 1, 1);
    assert(early < 250, `it takes ${early} ms`);
    assert((await late) >= 5_000);
  });
});

test('lanes that are to be gathered do not wait for the first loader to look around', async () => {
  const lanes = new TwoLanes();
  await lanes.live(async (holdfast) => {
    await gathering(lanes, holdfast);
    await lanes.write(holdfast, 0, 1);
    const early = await lanes.write(holdfast, 1, 1);
    assert(early < 130, `it takes ${early} ms`);
  });
});

test('lanes that change hands do not wait for a session to close', async () => {
  const lanes = new TwoLanes();
  const { clock } = lanes.shop;
  await lanes.live(async (holdfast) => {
    await lanes.share(holdfast);
    await clock.sleep(limits.loadersCalmMs);
    // On a network that is dead.
    lanes.closesMs = 10_000;
    const begun = clock.monotonicMs();
    await Promise.all([lanes.write(holdfast, 0, 1), lanes.write(holdfast, 1, 1)]);
    await lanes.share(holdfast);
    const ms = clock.monotonicMs() - begun;
    assert(ms < 1_000, `it takes ${ms} ms`);
    lanes.closesMs = 0;
  });
});
