// What the database of requests may know of a journal that a crash cut, and what it then says.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import test, { type TestContext } from 'node:test';
import { HoldfastError } from '../src/errors.ts';
import { open, type Ports } from '../src/holdfast.ts';
import type { OpenOptions } from '../src/options.ts';
import type { Holdfast } from '../src/types.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { childTable } from './support/crash-folder.ts';
import { temporaryFolder } from './support/journals.ts';
import { column } from './support/rows.ts';

const columns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];

/** One target and one clock, and processes one after another on the disk that they are given. */
class Place {
  readonly clock = new SimulatedClock();
  readonly target = new SimulatedTarget({ clock: this.clock, onDeath: () => undefined });

  constructor() {
    this.target.createTable('events', { columns, key: [] });
  }

  async live(disk: SimulatedDisk, work: (holdfast: Holdfast) => Promise<void>): Promise<void> {
    const { clock, target } = this;
    const ports: Ports = { disk, clock, target };
    const options: OpenOptions = {
      journal: '/journal',
      target: 'postgres://simulated/shop',
      streams: { events: { table: 'events', lanes: 1 } },
      limits: { segmentBytes: 16 * 1024 * 1024 },
    };
    const life = (async () => work(await open(options, ports)))();
    try {
      await clock.run(Promise.race([life, disk.died]));
    } catch (error) {
      if (!disk.isDead) throw error;
    } finally {
      clock.abandon();
    }
  }
}

const keyed = (holdfast: Holdfast, number: number) =>
  holdfast.write('events', { id: number, note: 'n' }, { idempotencyKey: String(number) });

/** The files under a directory that this process has open; known on Linux only. */
function openFilesUnder(directory: string): string[] {
  if (!existsSync('/proc/self/fd')) return [];
  return readdirSync('/proc/self/fd').flatMap((name) => {
    const link = `/proc/self/fd/${name}`;
    // The one that lists them is closed by now.
    const path = existsSync(link) ? readlinkSync(link) : '';
    return path.startsWith(directory) ? [path] : [];
  });
}

test('a key is not remembered before the platter has its records, however many', async () => {
  const place = new Place();
  const first = new SimulatedDisk();
  // More requests at once than recovery keeps in memory.
  const many = 1_200;
  await place.live(first, async (holdfast) => {
    await keyed(holdfast, 0);
    // The segment, under the name by which it was opened.
    first.inject({ fault: 'die', operation: 'sync', path: 'spare-0000000001' });
    await Promise.all(Array.from({ length: many }, (_, i) => keyed(holdfast, i + 1)));
  });
  assert(first.isDead, 'it died with a group in the page cache');
  const second = first.kill();
  second.inject({ fault: 'die', operation: 'rename', path: '.segment' });
  await place.live(second, async () => undefined);
  assert(second.isDead, 'the next one died before its copy of the tail had its name');
  await place.live(second.crash({ keep: () => false }), async (holdfast) => {
    const { repeated, settled } = await keyed(holdfast, 7);
    assert.equal(repeated, false, 'what no disk has is not known');
    await settled;
    await holdfast.close();
  });
  assert.deepEqual(
    place.target.rows('events').map(({ id }) => Number(id)),
    [0, 7],
  );
});

/** A journal on a real disk that is not there yet, and a shop that has the table. */
function realPlace(t: TestContext) {
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const shop = join(folder.path, 'shop.db');
  const database = new DatabaseSync(shop);
  database.exec(childTable);
  database.close();
  const journal = join(folder.path, 'journal');
  const options: OpenOptions = {
    journal,
    target: `sqlite:${shop}`,
    streams: { events: { table: 'events' } },
    limits: { segmentBytes: 64 * 1024 },
    loaderThread: 'own',
  };
  return { folder, journal, options };
}

test('keys are known from sealed segments where the database of requests is gone', async (t) => {
  const { journal, options } = realPlace(t);
  const first = await open(options);
  const long = (holdfast: Holdfast, id: number) =>
    holdfast.write('events', { id, note: 'n'.repeat(4_000) }, { idempotencyKey: `${id}` });
  for (let number = 1; number <= 60; number++) await long(first, number);
  await first.close();
  const segments = readdirSync(journal).filter((name) => name.endsWith('.segment'));
  assert(segments.length >= 3, `${segments.length} segments`);
  for (const name of readdirSync(journal)) {
    if (name.startsWith('requests.db')) rmSync(join(journal, name));
  }
  const second = await open(options);
  const repeats = [];
  for (const number of [1, 30, 60]) repeats.push((await long(second, number)).repeated);
  await second.close();
  assert.deepEqual(repeats, [true, true, true]);
});

test('a journal that ends before requests that are remembered is refused, and kept', async (t) => {
  const { folder, journal, options } = realPlace(t);
  const holdfast = await open(options);
  const segment = join(journal, '0000000001.segment');
  await keyed(holdfast, 1);
  copyFileSync(segment, join(folder.path, 'older'));
  await keyed(holdfast, 2);
  await holdfast.close();
  copyFileSync(join(folder.path, 'older'), segment);
  const older = readFileSync(segment);
  await assert.rejects(
    open(options).then((opened) => opened.close()),
    (error: unknown) =>
      error instanceof HoldfastError &&
      error.code === 'HF_CORRUPT' &&
      error.message.includes('are remembered'),
  );
  assert.deepEqual(readFileSync(segment), older);
  // A directory that is refused can be unmounted, moved or repaired while this process lives on.
  assert.deepEqual(openFilesUnder(journal), []);
});
