// The harness itself: that its oracle and its models can tell right from wrong.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { Tally } from '../prove/campaign.ts';
import { campaigns } from '../prove/campaigns.ts';
import { matrixTold } from '../prove/commit-cells.ts';
import { readImage } from '../prove/crash-image.ts';
import type { Logged } from '../prove/disk-log.ts';
import { equivalent, mutants } from '../prove/mutant-list.ts';
import { checkBooks, checkTable, Violation } from '../prove/oracle.ts';
import { nextSeed, Parts } from '../prove/parts.ts';
import { Platter } from '../prove/platter.ts';
import { promiseOf, withPromise } from '../prove/promise.ts';
import { firstDifference, firstUnasked } from '../prove/recorded.ts';
import { record } from '../prove/recorded-lives.ts';
import { summary } from '../prove/summary.ts';
import { World } from './support/crash-world.ts';
import { directory } from './support/process-world.ts';

const isKind = (kind: string) => (error: unknown) =>
  error instanceof Violation && error.kind === kind;

test('the oracle tells lost, doubled and wrong rows from right ones', () => {
  const [one, two] = [
    { id: 1, note: 'a' },
    { id: 2, note: 'b' },
  ];
  const check = (found: { id: number; note: string }[], acknowledged = [one]): void =>
    checkTable({ table: 't', found, sent: [one, two], acknowledged });
  check([one]);
  check([two, one]);
  assert.throws(() => check([two]), isKind('lost'));
  assert.throws(() => check([one, one]), isKind('doubled'));
  assert.throws(() => check([{ id: 1, note: 'b' }]), isKind('wrong'));
  assert.throws(() => check([one, { id: 3, note: 'a' }]), isKind('wrong'));
});

test('the oracle sees books that do not balance', () => {
  const books = { accepted: 5, merged: 3, duplicates: 1, superseded: 0, deadLetters: 0 };
  checkBooks('s', { ...books, inFlight: 1, unaccounted: 0 });
  const lacking = { ...books, inFlight: 0, unaccounted: 1 };
  assert.throws(() => checkBooks('s', lacking), isKind('lost'));
  const many = { ...books, inFlight: 2, unaccounted: -1 };
  assert.throws(() => checkBooks('s', many), isKind('doubled'));
});

test('a campaign that saw too little fails as vacuous', async () => {
  const tally = new Tally('t', { seed: 1 });
  tally.ran(1000);
  tally.see('torn', 99);
  const { failed } = await tally.result(() => undefined, { torn: 0.1 });
  assert.deepEqual(failed, ['vacuous: torn 99, expected 100 at least']);
});

test('what was measured is told by its most, not by its sum', async () => {
  const tally = new Tally('t', { seed: 1 });
  tally.ran();
  for (const measured of [-3, 7, 5]) tally.most('MiB', measured);
  const { most } = await tally.result(() => undefined);
  assert.deepEqual(most, { MiB: 7 });
});

test('a campaign in which nothing was run fails, unless the machine is to blame', async () => {
  const idle = await new Tally('t', { seed: 1 }).result(() => undefined);
  assert.deepEqual(idle.failed, ['vacuous: nothing was run']);
  const tally = new Tally('t', { seed: 1 });
  const { failed } = await tally.result(() => tally.reduce('no such device'));
  assert.deepEqual(failed, []);
});

test('a proof goes on on another machine, as long as the sources are the same', () => {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-parts-'));
  const proofPath = join(folder, 'proof.json');
  const rest = { lost: 0, doubled: 0, vacuous: 2, failed: [], reduced: [], seen: {}, seconds: 4 };
  const tell = (runs: number): void => {
    const one = { ...rest, of: 'seeds', runs, nextSeed: runs + 201 };
    const all = { simulation: one, states: { ...one, runs: 0 }, mutants: one };
    writeFileSync(proofPath, JSON.stringify({ sources: 'these', campaigns: all }));
  };
  const parts = (sources = 'these') => new Parts({ sources, campaigns, proofPath, folder });
  const counts = (of: Parts) => of.of('simulation').map(({ runs }) => runs);

  tell(500);
  const there = parts();
  assert.deepEqual([counts(there), there.of('states')], [[500], []]);
  assert.deepEqual(there.of('mutants'), [], 'what has no parts is done anew');
  assert.deepEqual([nextSeed(there.of('simulation')), nextSeed([])], [701, 1]);
  there.add({ ...rest, name: 'simulation', runs: 100, seed: 701 });
  assert.deepEqual(counts(parts()), [500, 100], 'what was told counts once');
  assert.equal(nextSeed(parts().of('simulation')), 801);
  tell(900);
  assert.deepEqual(counts(parts()), [900], 'another machine went on from there');
  assert.deepEqual(counts(parts('others')), []);
  rmSync(folder, { recursive: true });
});

/** The content of the journal's files by name. */
type Contents = Map<string, Uint8Array>;

test('a crash leaves on the platter what it leaves on the simulated disk', async () => {
  for (const at of [40, 55, 68, 75]) {
    for (const keepsAll of [false, true]) {
      const world = new World({ seed: 2 });
      const log = record(world);
      world.disk.inject({ fault: 'die', at });
      await world.run();
      const left = world.disk.crash({ keep: () => keepsAll });
      const platter = new Platter();
      for (const entry of log.entries) if (entry.kind !== 'mark') platter.do(entry);
      const loose = platter.loose(512);
      const { files } = platter.crash(loose, new Set(keepsAll ? loose : []), 'old');
      const wanted: Contents = new Map();
      for (const name of left.list(directory).filter((one) => /segment$/.test(one))) {
        const file = left.open(`${directory}/${name}`, 'read');
        const bytes = new Uint8Array(file.size());
        file.read(bytes, 0);
        wanted.set(name, bytes);
      }
      const found: Contents = new Map();
      for (const [name, image] of files) {
        const bytes = new Uint8Array(image.size);
        readImage(image, bytes, 0);
        if (name.endsWith('.segment')) found.set(name, bytes);
      }
      assert(wanted.size > 0, 'there is a segment');
      assert.deepEqual(found, wanted, `a crash at operation ${at}`);
      left.dispose();
    }
  }
});

test('two logs that differ in a byte, or a call that was not asked for, are told', () => {
  const log = (byte: number): Logged[] => [
    { kind: 'create', path: '/j/a', file: 1 },
    { kind: 'write', file: 1, position: 0, bytes: Uint8Array.of(byte) },
    { kind: 'sync', file: 1 },
  ];
  assert.equal(firstDifference(log(1), log(1)), undefined);
  assert.equal(firstDifference(log(1), log(2)), 'the bytes of write 0');
  assert.match(firstDifference(log(1), log(1).slice(1)) ?? '', /operation 0/);
  const calls = ['create a', 'write a 0+1', 'sync a'];
  assert.equal(firstUnasked(log(1), calls), undefined);
  assert.equal(firstUnasked(log(1), ['create a', 'sync directory', ...calls.slice(1)]), undefined);
  assert.match(firstUnasked(log(1), calls.slice(0, 2)) ?? '', /"sync a"/);
  assert.match(firstUnasked(log(1), [...calls, 'remove a']) ?? '', /"remove a" beside/);
});

const root = join(import.meta.dirname, '..');

/** The cells of a document's table rows that `pattern` chooses. */
const rowsOf = (path: string, pattern: RegExp): string[][] =>
  readFileSync(join(root, path), 'utf8')
    .split('\n')
    .filter((line) => pattern.test(line))
    .map((line) => line.split(' | ').map((cell) => cell.replaceAll(/^\| | \|$/g, '')));

const rows = rowsOf('docs/protocol.md', /^\| (?!-|rule |broken build )/);
const invariants = rowsOf('ARCHITECTURE.md', /^\| (I\d+|P\d+|what|damage) /);

const quoted = (cell: string): string[] =>
  [...cell.matchAll(/"([^"]+)"/g)].map(([, name]) => name ?? '');

test('each rule of the protocol has its place, its attack and its mutant, and they exist', () => {
  const rules = rows.filter(([name]) => /^P\d+ /.test(name ?? ''));
  const numbers = rules.map(([name]) => Number(/\d+/.exec(name ?? '')?.[0]));
  assert.deepEqual(
    numbers,
    Array.from({ length: 21 }, (_, i) => i + 1),
  );
  for (const [name, kept = '', attacked = ''] of rules) {
    const places = [...kept.matchAll(/`([^`]+)`/g)].map(([, path]) => path ?? '');
    assert(places.length > 0, name);
    for (const path of places) assert(existsSync(join(root, path)), `${name}: ${path}`);
    const attacks = [...attacked.matchAll(/`(test[^`]+)` "([^"]+)"|`prove (\w+)`/g)];
    assert(attacks.length > 0, name);
    for (const [, path, title = '', campaign] of attacks) {
      const isThere =
        path === undefined
          ? campaigns.some((one) => one.name === campaign)
          : readFileSync(join(root, path), 'utf8').includes(title);
      assert(isThere, `${name}: ${path ?? campaign} ${title}`);
    }
  }
});

test('each mutant that the protocol and the architecture name is one', () => {
  assert(invariants.length >= 11, 'each invariant has a row');
  const known = new Set([...mutants.map(({ name }) => name), ...Object.keys(equivalent)]);
  for (const cells of [...rows, ...invariants]) {
    const named = quoted(cells.at(-1) ?? '');
    assert(
      named.some((name) => name in equivalent === false),
      `${cells[0]}: a mutant that dies`,
    );
    for (const name of named) assert(known.has(name), `${cells[0]}: "${name}"`);
  }
});

test('what kills a mutant of an invariant stands beside it', () => {
  for (const cells of invariants) {
    const attacks = cells.at(-2) ?? '';
    for (const name of quoted(cells.at(-1) ?? '')) {
      const killer = mutants.find((one) => one.name === name)?.killer;
      if (!killer) continue;
      const what = 'campaign' in killer ? `prove ${killer.campaign}` : killer.test;
      assert(attacks.includes(`\`${what}`), `${cells[0]}: "${name}" dies by ${what}`);
    }
  }
});

test('the README promises what the last proof has shown, and nothing else', () => {
  const text = (name: string): string =>
    readFileSync(join(import.meta.dirname, '..', name), 'utf8');
  const readme = text('README.md');
  const proved = JSON.parse(text('docs/proof.json')) as Parameters<typeof promiseOf>[0];
  assert.equal(withPromise(readme, proved), readme, 'write it with `npm run prove`');
  const lost = {
    ...proved.campaigns['states'],
    of: 'states',
    runs: 7,
    doubled: 0,
    lost: 3,
    failed: [],
  };
  assert.match(promiseOf({ ...proved, campaigns: { states: lost } }), /7 states \| 3 \| 0 \|/);
  const wrong = { ...lost, lost: 0, failed: ['wrong: a row has changed'] };
  assert.match(promiseOf({ ...proved, campaigns: { states: wrong } }), /It failed: `states`/);
  assert.throws(() => withPromise('# Nothing', proved), /no place/);
});

test('the summary says how much of the commit matrix one run has struck', async () => {
  const tally = new Tally('commits', { seed: 1, seed64: 1n });
  tally.ran(3);
  tally.most(matrixTold.struck, 1_687);
  tally.most(matrixTold.there, 1_688);
  const { seed, ...sum } = await tally.result(() => undefined);
  const { json, text } = summary({
    commit: 'c',
    sources: 's',
    isCommitted: true,
    date: '2026-01-01',
    machine: { cpu: '', cores: 2, memoryGiB: 1, kernel: '', node: '' },
    sums: [{ ...sum, nextSeed: seed + sum.runs }],
    short: [],
    units: new Map(),
  });
  assert.deepEqual(json.matrix, { struck: 1_687, total: 1_688 });
  assert.match(text, /struck in one run: 1,687 of 1,688\./);
});
