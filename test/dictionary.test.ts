// Rows may provide any set of columns, but not any number of different ones: every checkpoint holds
// them all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldfastError } from '../src/errors.ts';
import { open } from '../src/holdfast.ts';
import { Dictionary } from '../src/journal/dictionary.ts';
import { Journal } from '../src/journal/journal.ts';
import { limits } from '../src/limits.ts';
import type { Holdfast } from '../src/types.ts';
import { SimulatedClock } from './simulation/simulated-clock.ts';
import { SimulatedDisk } from './simulation/simulated-disk.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { journalOptions, parcelOf } from './support/journals.ts';
import { column } from './support/rows.ts';

const directory = '/journal';
const segmentBytes = 64 * 1024;
const tableOf = (name: string) => ({
  name,
  columns: [],
  keys: [],
  fingerprint: name,
  warnings: [],
});

/** The set of columns whose bits are set in `bits`. */
const setOf = (bits: number): number[] =>
  Array.from({ length: 14 }, (_, column) => column).filter((column) => (bits >> column) & 1);

const isRefusal = (error: unknown): boolean =>
  error instanceof HoldfastError &&
  error.code === 'HF_ROWS_REFUSED' &&
  error.outcome === 'not written' &&
  !error.retryable &&
  /too many different sets of columns.*null/i.test(error.message);

/** Asks for ever new sets until one is refused; how many were taken. */
function exhaust(dictionary: Dictionary, table: number): number {
  for (let bits = 1; bits < 1 << 14; bits++) {
    try {
      dictionary.shape(table, setOf(bits));
    } catch (error) {
      assert.ok(isRefusal(error), String(error));
      return bits - 1;
    }
  }
  assert.fail('every set is taken');
}

test('a set of columns has one id, in each version of a table', () => {
  const dictionary = new Dictionary();
  const [a = 0, b = 0] = ['a', 'b'].map((name) => dictionary.table(1, tableOf(name)).id);
  const ids = [setOf(3), setOf(5), setOf(3)].map((set) => dictionary.shape(a, set));
  assert.deepEqual(ids, [1, 2, 1]);
  assert.deepEqual([dictionary.shape(b, setOf(3)), dictionary.shape(a, setOf(5))], [3, 2]);
  const next = new Dictionary(dictionary.whole());
  assert.deepEqual([next.shape(b, setOf(3)), next.shape(b, setOf(5))], [3, 4]);
});

test('a journal whose rows have all the sets of columns that it takes goes on', async () => {
  const disk = new SimulatedDisk();
  const options = (own: SimulatedDisk) => journalOptions(directory, { disk: own, segmentBytes });
  const journal = await Journal.open(options(disk));
  const versions = [1, 2, 3, 4, 5, 6].map((version) => {
    const { id } = journal.openStream(`s${version}`, 4, 'key:id');
    return journal.dictionary.table(id, tableOf(`t${version}`)).id;
  });
  const taken = versions.map((table) => exhaust(journal.dictionary, table));
  // The first ones have their share; who comes late still has a few.
  assert.ok((taken[0] ?? 0) > 60, taken.join());
  assert.equal(taken.at(-1), limits.shapesOfTableMin);
  for (const [i, table] of versions.entries()) {
    assert.ok(journal.dictionary.shape(table, setOf(taken[i] ?? 0)) > 0, 'it is still known');
  }
  for (let i = 0; i < 20; i++) await journal.submit(parcelOf(journal, 200));
  assert.ok(journal.segments.list.length > 2, 'it goes from segment to segment');
  const next = await Journal.open(options(disk.kill()));
  const shapes = next.dictionary.whole().shapes.length;
  assert.equal(exhaust(next.dictionary, versions[0] ?? 0), taken[0], 'and is as it was');
  assert.equal(next.dictionary.whole().shapes.length, shapes);
  for (let i = 0; i < 5; i++) await next.submit(parcelOf(next, 200));
  assert.equal(next.state, 'running');
  await next.close();
});

test('a checkpoint with all the shapes that may be leaves room for the largest group', () => {
  for (const bytes of [64 * 1024, 1024 * 1024, limits.segmentBytes]) {
    const dictionary = new Dictionary(undefined, bytes);
    for (let version = 1; version <= 5; version++) {
      exhaust(dictionary, dictionary.table(1, tableOf(`t${version}`)).id);
    }
    const noted = JSON.stringify(dictionary.whole().shapes).length;
    assert.ok(noted < bytes / 4 + 2_000, `${noted} of ${bytes}`);
  }
});

test('rows of ever new sets are refused, and nobody else’s', async () => {
  const clock = new SimulatedClock();
  const target = new SimulatedTarget({ clock, latencyMsMax: 4 });
  const optional = { nullable: true, hasDefault: true };
  const columns = setOf(-1).map((i) => ({
    column: { ...column(`c${i}`, { kind: 'int', bytes: 8 }), ...(i > 0 && optional) },
  }));
  for (const name of ['a', 'b']) target.createTable(name, { columns, key: ['c0'] });
  const stream = (table: string) => ({ table, key: ['c0'], lanes: 2 });
  const options = {
    journal: directory,
    target: 'postgres://simulated/shop',
    streams: { a: stream('a'), b: stream('b') },
    limits: { segmentBytes, bytesMax: 16 * segmentBytes, retentionMsMin: 0, retentionBytesMin: 0 },
  };
  const write = async (holdfast: Holdfast, [first, last]: readonly [number, number]) => {
    let refused = 0;
    for (let id = first; id <= last; id++) {
      const row = Object.fromEntries(setOf(id * 2 + 1).map((i) => [`c${i}`, i === 0 ? id : 1]));
      try {
        await (await holdfast.write('a', row)).settled;
      } catch (error) {
        assert.ok(isRefusal(error), String(error));
        refused++;
      }
    }
    return refused;
  };
  const life = async (disk: SimulatedDisk): Promise<SimulatedDisk> => {
    const holdfast = await open(options, { disk, clock, target });
    assert.equal(await write(holdfast, [1, 20]), 0);
    assert.ok((await write(holdfast, [21, 1_500])) > 1_000);
    await (await holdfast.write('b', { c0: 1, c1: 2 })).settled;
    const { a, b } = (await holdfast.status()).streams;
    assert.deepEqual([a?.inFlight, a?.unaccounted, b?.unaccounted], [0, 0, 0]);
    await holdfast.close();
    return disk.kill();
  };
  await clock.run(life(new SimulatedDisk()).then(life));
});
