// Recorded lives: what processes of a world did to their disk, from open to close or to their
// death, and beside it what was acknowledged and settled meanwhile.
import assert from 'node:assert/strict';
import { posix } from 'node:path';
import type { Disk } from '../src/disk.ts';
import { Random } from '../test/simulation/random.ts';
import type { SimulatedDisk } from '../test/simulation/simulated-disk.ts';
import { allRequests } from '../test/support/crash-sender.ts';
import { World } from '../test/support/crash-world.ts';
import { directory, type ProcessWorld } from '../test/support/process-world.ts';
import { tendedRequests } from '../test/support/tended-requests.ts';
import { TendedWorld } from '../test/support/tended-world.ts';
import type { StreamIds } from './crash-states.ts';
import { DiskLog, type Logged, type Mark, rememberedIn } from './disk-log.ts';
import { recover } from './oracle.ts';

const streamOf = new Map(
  [...allRequests, ...tendedRequests].map(({ key, stream }) => [key, stream] as const),
);

interface RecordedWorld extends ProcessWorld {
  /** The keys of what was acknowledged, in order. */
  readonly acknowledged: ReadonlySet<string>;
}

/** Tells, operation by operation, what was acknowledged and settled since the one before. */
function watch(world: RecordedWorld): () => Mark | undefined {
  let acknowledged = 0;
  let commits = -1;
  return () => {
    const keys = [...world.acknowledged].slice(acknowledged);
    const { store } = world.target;
    if (keys.length === 0 && store.commits === commits) return undefined;
    acknowledged += keys.length;
    commits = store.commits;
    const settled = [...store.lanes].map(([name, { lane, settled: to }]) => {
      const [, stream] = JSON.parse(name) as [string, string, number];
      return [stream, lane, to] as const;
    });
    const told = keys.map((key) => [streamOf.get(key) ?? '', key] as const);
    return { kind: 'mark', acknowledged: told, settled };
  };
}

export interface RecordedLives {
  readonly name: string;
  readonly entries: readonly Logged[];
  /** Only from here on was there such a disk. */
  readonly from: number;
  readonly ids: StreamIds;
}

/**
 * From now on, what the world's processes do to their disk is written down; `on` may put another
 * disk in its place.
 */
export function record(
  world: RecordedWorld,
  {
    log = new DiskLog(),
    on = (disk) => disk,
  }: { readonly log?: DiskLog; readonly on?: (disk: Disk) => Disk } = {},
): DiskLog {
  log.watch = watch(world);
  world.wrap = (disk) => log.recorded(on(disk));
  return log;
}

export function finished(name: string, world: ProcessWorld, log: DiskLog): RecordedLives {
  log.end();
  const ids = recover(world.disk, directory).found?.dictionary.streams ?? [];
  world.disk.dispose();
  return {
    name,
    entries: log.entries,
    from: log.begunAt,
    ids: new Map(ids.map((entry) => [entry.name, entry.id])),
  };
}

/** A log that begins with what the disk holds. */
function logOf(disk: SimulatedDisk): DiskLog {
  const log = new DiskLog();
  const database = disk.database(posix.join(directory, 'requests.db'));
  log.entries.push({ kind: 'mark', remembered: rememberedIn(database) });
  database.close();
  log.begin(disk, directory);
  return log;
}

/** The logs of a seed. */
export async function* livesOf(seed: number): AsyncGenerator<RecordedLives> {
  const random = new Random(seed);
  // Slow targets leave more in the journal alone.
  const latencyMsMax = seed % 2 === 0 ? 60 : 8;
  const whole = new World({ seed, latencyMsMax });
  const log = record(whole);
  assert.equal(await whole.run(), 'ended');
  const { trace } = whole.disk;
  const groupSyncs = trace.flatMap(({ operation }, i) => {
    const before = trace[i - 1];
    const isGroup = before?.operation === 'write' && (before.position ?? 0) > 0;
    return operation === 'sync' && isGroup ? [i + 1] : [];
  });
  yield finished(`seed ${seed}`, whole, log);
  for (const end of ['kill', 'power cut'] as const) {
    const world = new World({ seed, latencyMsMax });
    const first = record(world);
    // Before the sync of a group the page cache shows the most that the platter lacks.
    const anywhere = Math.floor(trace.length * (0.1 + 0.8 * random.next()));
    const sync = groupSyncs[random.below(groupSyncs.length)];
    const at = end === 'kill' ? (sync ?? anywhere) : anywhere;
    world.disk.inject({ fault: 'die', at });
    await world.run();
    world.leave((disk) => (end === 'kill' ? disk.kill() : disk.crash()));
    const log = end === 'kill' ? first : record(world, { log: logOf(world.disk) });
    assert.equal(await world.run({ drainsFirst: true }), 'ended');
    yield finished(`seed ${seed}, ${end} at operation ${at}`, world, log);
  }
}

/** In which copies are made for a held stream and dropped again: nothing of it is lost. */
function heldWorld(seed: number): TendedWorld {
  const world = new TendedWorld(seed);
  for (const step of ['passes over', 'idles']) world.done.add(step);
  return world;
}

/** Of the lives, what is told of copies for held streams. */
function whileHeld(lives: RecordedLives): RecordedLives {
  const { entries, from } = lives;
  const isOfCopy = (entry: Logged): boolean =>
    ('path' in entry && entry.path.includes('.held-')) ||
    (entry.kind === 'rename' && entry.to.includes('.held-'));
  const [first, last] = [entries.findIndex(isOfCopy), entries.findLastIndex(isOfCopy)];
  assert(first >= 0, 'copies are made');
  return { ...lives, entries: entries.slice(0, last + aroundHeld), from: Math.max(from, first) };
}

/** So much is looked at behind the drop of the last copy. */
const aroundHeld = 5;

/**
 * A life in which a stream is held for a while, and one that begins when a power cut has ended
 * another one meanwhile.
 */
export async function* heldLivesOf(seed: number): AsyncGenerator<RecordedLives> {
  const random = new Random(seed);
  const whole = heldWorld(seed);
  const log = record(whole);
  assert.equal(await whole.live((holdfast) => whole.tend(holdfast)), 'ended');
  const copies = whole.disk.trace.flatMap(({ path }, i) =>
    path.includes('.held-') ? [i + 1] : [],
  );
  yield whileHeld(finished(`held, seed ${seed}`, whole, log));
  const world = heldWorld(seed);
  const at = copies[random.below(copies.length)] ?? 0;
  world.disk.inject({ fault: 'die', at });
  await world.live((holdfast) => world.tend(holdfast));
  world.leave((disk) => disk.crash());
  const next = record(world, { log: logOf(world.disk) });
  assert.equal(await world.live((holdfast) => world.tend(holdfast)), 'ended');
  yield whileHeld(finished(`held, seed ${seed}, power cut at operation ${at}`, world, next));
}
