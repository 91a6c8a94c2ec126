// The staged route of the simulated target: mergers that meet, servers that crash, and the product
// over it, with a fault at each of its calls. What it does well is in test/target.test.ts.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from '../src/holdfast.ts';
import type { OpenOptions } from '../src/options.ts';
import type { StagedStream, Staging } from '../src/target/staging.ts';
import type { Session } from '../src/target/target.ts';
import type { Holdfast, StreamStatus } from '../src/types.ts';
import { targetFaults } from './simulation/simulated-call-fault.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { batchOf } from './support/batches.ts';
import { column } from './support/rows.ts';

const columns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];
const id = { writer: 'w', stream: 's' };
const lanes = 4;

/** Four lanes with two rows each, staged and not merged. */
async function newStage(seed = 1) {
  const clock = new SimulatedClock({ seed });
  const target = new SimulatedTarget({ clock, latencyMsMax: 10 });
  target.createTable('t', { columns, key: ['id'] });
  const session = await clock.run(target.connect());
  const claim = { ...id, lanes, owner: 'test', route: 'staged' } as const;
  const { epoch } = await clock.run(session.claim(claim));
  const table = await clock.run(session.describe('t'));
  const rules = { stream: 's', key: ['id'], onConflict: 'dead-letter' } as const;
  const stream: StagedStream = { rules, table, isLogged: false };
  const batch = batchOf(
    { writer: 'w', epoch, rules, journaled: table },
    Array.from({ length: lanes }, (_, lane) => {
      const row = (place: number) => ({ id: BigInt(lane * 2 + place), note: 'n' });
      return { lane, first: 1, records: [row(0), row(1)] };
    }),
  );
  const parts = { clock, target, session, stream, batch };
  await clock.run(stagingOf(session).stage(batch, stream));
  return parts;
}

function stagingOf(session: Session): Staging {
  assert(session.staging, 'it has a staged route');
  return session.staging;
}

const merge = (session: Session, stream: StagedStream, { share = 1, rowsMax = 100 } = {}) =>
  stagingOf(session).merge({ stream, rowsMax, start: 0, share, isOptimistic: true });

test('of two mergers that meet, one takes no lane that the other has (P14)', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const { clock, target, session, stream } = await newStage(seed);
    const other = await clock.run(target.connect());
    const both = Promise.all([merge(session, stream), merge(other, stream)]);
    const done = await clock.run(both);
    const merged = done.filter((one) => one !== undefined);
    assert.equal(merged.length, 1, 'nothing is left to the other');
    assert.deepEqual([merged[0]?.records, merged[0]?.lost], [8, 0]);
    assert.equal(target.rows('t').length, 8);
  }
});

test('two mergers with a share each take lanes side by side', async () => {
  const { clock, target, session, stream } = await newStage();
  const other = await clock.run(target.connect());
  const half = { share: 0.5, rowsMax: 4 };
  const both = Promise.all([merge(session, stream, half), merge(other, stream, half)]);
  const [first, second] = await clock.run(both);
  assert.deepEqual([first?.records, second?.records], [4, 4]);
  assert.equal(target.rows('t').length, 8);
});

test('a merger that hangs keeps its lanes until its client gives up', async () => {
  const { clock, target, session, stream } = await newStage();
  const other = await clock.run(target.connect());
  target.inject(target.calls + 1, 'hang');
  const hanging = merge(session, stream);
  const ended = assert.rejects(hanging, { kind: 'lost' });
  await clock.advance(50);
  assert.equal(await clock.run(merge(other, stream)), undefined);
  await clock.run(ended);
  assert.equal((await clock.run(merge(other, stream)))?.records, 8);
});

test('a merge whose process is gone gives its lanes up in the end', async () => {
  const { clock, target, session, stream } = await newStage();
  target.inject(target.calls + 1, 'hang');
  void merge(session, stream);
  await clock.advance(20);
  clock.abandon();
  const other = await clock.run(target.connect());
  assert.equal(await clock.run(merge(other, stream)), undefined);
  await clock.advance(1_200);
  assert.equal((await clock.run(merge(other, stream)))?.records, 8);
});

const marks = async (clock: SimulatedClock, session: Session): Promise<number[][]> =>
  (await clock.run(session.lanes(id))).map(({ staged, settled }) => [staged, settled]);

test('a crash of the server empties what is not logged, and no merge passes over it', async () => {
  const { clock, target, session, stream, batch } = await newStage();
  target.crash();
  await assert.rejects(clock.run(merge(session, stream)), { kind: 'lost' });
  const next = await clock.run(target.connect());
  assert.equal(next.identity, session.identity, 'the same history');
  const merged = await clock.run(merge(next, stream));
  assert.deepEqual([merged?.records, merged?.lost], [0, 8]);
  assert.deepEqual(await marks(clock, next), Array(lanes).fill([0, 0]));
  await clock.run(stagingOf(next).stage(batch, stream));
  assert.equal((await clock.run(merge(next, stream)))?.records, 8);
});

test('a failover forgets what was staged and merged last', async () => {
  const { clock, target, session, stream } = await newStage();
  await clock.run(merge(session, stream));
  target.failover(1);
  const next = await clock.run(target.connect());
  assert.deepEqual(await marks(clock, next), Array(lanes).fill([2, 0]));
  assert.equal(target.rows('t').length, 0);
  const merged = await clock.run(merge(next, stream));
  assert.deepEqual([merged?.records, merged?.lost], [0, 8], 'a standby has no unlogged rows');
});

const options: OpenOptions = {
  journal: '/journal',
  target: 'postgres://simulated/shop',
  streams: {
    t: {
      table: 't',
      key: ['id'],
      lanes,
      route: 'staged',
      staging: 'unlogged',
      mergers: 2,
      mergeEveryMs: 20,
    },
  },
  limits: { segmentBytes: 64 * 1024, bytesMax: 512 * 1024 },
};

/** Ten rows, four of them twice, and then all of it merged. */
async function write(holdfast: Holdfast, clock: SimulatedClock): Promise<StreamStatus> {
  for (let first = 0; first < 8; first += 2) {
    const rows = [first, first + 1, first + 2].map((of) => ({ id: of, note: `note ${of}` }));
    await holdfast.write('t', rows);
    await clock.sleep(15);
  }
  for (let waits = 0; waits < 1_000; waits++) {
    const { t } = (await holdfast.status()).streams;
    if (t?.inFlight === 0 && t.state === 'running') return t;
    await clock.sleep(20);
  }
  return assert.fail('it is not merged in the end');
}

/** A life of the product over a target that something happens to at call `at`. */
async function live(seed: number, beset: (target: SimulatedTarget) => void) {
  const clock = new SimulatedClock({ seed });
  const disk = new SimulatedDisk({ seed });
  const target = new SimulatedTarget({ clock, latencyMsMax: 8 });
  target.createTable('t', { columns, key: ['id'] });
  beset(target);
  const life = (async () => {
    const holdfast = await open(options, { disk, clock, target });
    const { merged, duplicates, deadLetters } = await write(holdfast, clock);
    target.heal();
    await holdfast.close();
    return [merged, duplicates, deadLetters];
  })();
  const ends = await clock.run(life);
  disk.dispose();
  return { target, ends };
}

/** A death is the process's own; the others are the server's or the network's. */
const faults = targetFaults.filter((fault) => !fault.startsWith('die'));

test('whatever strikes whichever call, each staged row is merged once', async () => {
  const quiet = await live(1, () => undefined);
  assert.deepEqual(quiet.ends, [9, 3, 0]);
  for (let at = 2; at <= quiet.target.calls; at++) {
    const fault = faults[at % faults.length] ?? 'lost';
    const { ends } = await live(at, (target) => target.inject(at, fault));
    assert.deepEqual(ends, [9, 3, 0], `${fault} at call ${at}`);
  }
});

test('a batch that is staged late is staged once (P1)', async () => {
  const late = { done: 0, refused: 0, ended: 0 };
  for (let seed = 1; seed <= 24; seed++) {
    const fault = seed % 2 === 0 ? 'late' : 'late, locked';
    let stages = 0;
    const { target, ends } = await live(seed, (of) =>
      of.strikeWhere(({ name }) => (name === 'stage' && ++stages === 2 ? fault : undefined)),
    );
    assert.deepEqual(ends, [9, 3, 0], `seed ${seed}, ${fault}`);
    for (const how of ['done', 'refused', 'ended'] as const) late[how] += target.server.late[how];
  }
  assert(late.done > 0 && late.refused > 0 && late.ended > 0, JSON.stringify(late));
});

test('whenever the server crashes, each staged row is merged once', async () => {
  let emptied = 0;
  for (let at = 5; at <= 45; at += 2) {
    const { ends } = await live(at, (target) => {
      target.strikeWhere(({ number }) => {
        if (number !== at) return undefined;
        const waits = [...target.store.members('t')].some(
          ({ key }) => target.store.waiting(key).length > 0,
        );
        if (waits) emptied++;
        target.crash();
        return undefined;
      });
    });
    assert.deepEqual(ends, [9, 3, 0], `a crash at call ${at}`);
  }
  assert(emptied > 0, 'rows were lost with the staging table');
});
