// Scenarios of docs/protocol.md that need the whole product, and no real server: over a simulated
// disk, clock and target.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Chunks, plainRows } from '../src/target/postgres/copy.ts';
import { TargetError, type TargetErrorKind } from '../src/target/target.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { batchOf } from './support/batches.ts';
import { column } from './support/rows.ts';
import { isHeld, range, Shop, shopColumns } from './support/simulated-shop.ts';

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

test('who asks for ends that a failover has just taken back waits for them', async () => {
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
    // Its records of `a` are in dropped segments now, and the ledger was pruned.
    await shop.write(holdfast, 'b', range(150));
    await shop.clock.sleep(130_000);
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
    columns: shopColumns.map((of) => of.column),
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

test('what was taken back while its fate was asked for is sent again (P1, P14)', async () => {
  // The merger comes to it when its fate is being asked for.
  const shop = new Shop({ route: 'staged', staging: 'unlogged', mergeEveryMs: 5_000, loaders: 1 });
  const { target, clock } = shop;
  const { server, store } = target;
  const connect = target.connect.bind(target);
  let isAsking = false;
  target.connect = async () => {
    const session = await connect();
    const ledger = session.ledger.bind(session);
    session.ledger = async (...of) => {
      if (!isAsking) {
        isAsking = true;
        for (const { slices } of store.stages.values()) slices.clear();
        while ([...store.lanes.values()].some(({ staged }) => staged > 0)) await clock.sleep(10);
      }
      return ledger(...of);
    };
    return session;
  };
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.until(holdfast, 'a', ({ state }) => state === 'running');
    server.strike = ({ name }) => {
      if (name !== 'stage') return undefined;
      server.strike = () => undefined;
      return 'ambiguous, committed';
    };
    await shop.write(holdfast, 'a', range(1));
    while (!isAsking) await clock.sleep(10);
    await shop.write(holdfast, 'a', range(9, 1));
    await shop.settled(holdfast, 'a');
    assert.deepEqual(shop.ids('a'), range(10));
  });
});

test('a clock that is set forgets no Idempotency-Key before its time', async () => {
  const shop = new Shop();
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    const day = 24 * 60 * 60 * 1_000;
    const write = async (): Promise<boolean> => {
      const options = { idempotencyKey: 'key', level: 'settled' } as const;
      const { repeated } = await holdfast.write('a', { id: 1, note: '' }, options);
      return repeated;
    };
    assert.equal(await write(), false);
    await shop.clock.sleep(2_000);
    for (const stepMs of [day, 400 * day, -401 * day]) {
      shop.clock.jump(stepMs);
      await shop.clock.sleep(130_000);
      assert.equal(await write(), true, `after a step of ${stepMs} ms`);
    }
  });
});

/** How a batch of stream `a` fails, each time: with this, and what follows from it. */
const lasting: readonly (TargetErrorKind | 'gone')[] = [
  'transient',
  'ambiguous',
  'altered',
  'moved',
  'gone',
];

for (const kind of lasting) {
  test(`what does not pass is told, and pins no segments (P18, ${kind})`, async () => {
    const shop = new Shop({ loaders: 1 });
    const { target, clock } = shop;
    const connect = target.connect.bind(target);
    let isFailing = false;
    let taken: ReturnType<typeof target.dropTable> | undefined;
    target.connect = async () => {
      const session = await connect();
      const merge = session.merge.bind(session);
      session.merge = async (batch, rung) => {
        if (!isFailing || batch.table.name !== 'a') return merge(batch, rung);
        await clock.sleep(100);
        // With its table goes the answer to what became of it.
        if (kind === 'gone') taken ??= target.dropTable('a');
        throw new TargetError(kind === 'gone' ? 'altered' : kind, '', `It is ${kind}.`);
      };
      return session;
    };
    await shop.live(new SimulatedDisk(), async (holdfast) => {
      await shop.settled(holdfast, 'a');
      isFailing = true;
      await shop.write(holdfast, 'a', range(1));
      await clock.sleep(20_000);
      const { state } = (await holdfast.status()).streams['a'] ?? {};
      assert.equal(state, kind === 'gone' ? 'held' : 'running', 'what passes is not told at once');
      const { reason } = await shop.until(holdfast, 'a', isHeld);
      assert.equal(reason, kind === 'gone' ? 'There is no table a.' : `It is ${kind}.`);
      // Four times as much as the journal may hold.
      for (let round = 0; round < 20; round++) {
        await shop.write(holdfast, 'a', [round + 1]);
        await shop.write(holdfast, 'b', range(50, round * 50));
        await shop.settled(holdfast, 'b');
      }
      isFailing = false;
      if (taken) target.putBack('a', taken);
      await shop.settled(holdfast, 'a');
      assert.deepEqual(shop.ids('a'), range(21));
    });
  });
}

test('a stream that falls silent while it is held goes on in what was copied aside', async () => {
  const shop = new Shop({ loaders: 1, batchRowsMax: 1 });
  const { target } = shop;
  const connect = target.connect.bind(target);
  let isFailing = true;
  target.connect = async () => {
    const session = await connect();
    const merge = session.merge.bind(session);
    session.merge = async (batch, rung) => {
      if (!isFailing || batch.table.name !== 'a') return merge(batch, rung);
      throw new TargetError('transient', '', 'It is locked.');
    };
    return session;
  };
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.write(holdfast, 'a', range(1));
    await shop.clock.sleep(20_000);
    await shop.until(holdfast, 'a', isHeld);
    // Not read yet, and the last for now.
    await shop.write(holdfast, 'a', range(2, 1));
    // Four times as much as the journal may hold.
    for (let round = 0; round < 20; round++) {
      await shop.write(holdfast, 'b', range(50, round * 50));
      await shop.settled(holdfast, 'b');
    }
    isFailing = false;
    await shop.settled(holdfast, 'a');
    assert.deepEqual(shop.ids('a'), range(3));
  });
});

test('a merger that does not get through for long says so', async () => {
  const shop = new Shop({ route: 'staged' });
  const { target, clock } = shop;
  await shop.live(new SimulatedDisk(), async (holdfast) => {
    await shop.settled(holdfast, 'a');
    target.strikeWhere(({ name }) => (name === 'merge staged' ? 'deadlock' : undefined));
    await shop.write(holdfast, 'a', range(1));
    await clock.sleep(20_000);
    const { reason } = await shop.until(holdfast, 'a', isHeld);
    assert.match(reason ?? '', /40P01/);
    target.heal();
    await shop.settled(holdfast, 'a');
    assert.deepEqual(shop.ids('a'), range(1));
  });
});
