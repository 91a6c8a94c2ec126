// The benches end, clean up and print what scripts rely on; each runs in its smallest size, and
// what it says about speed is not looked at. Then the parts that decide what a figure means.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { suite, type TestContext, test } from 'node:test';
import { type BenchOptions, type Figures, figureOf } from '../bench/figures.ts';
import { flameGraph } from '../bench/flame.ts';
import { pace } from '../bench/pace.ts';
import { type Measured, takeRounds } from '../bench/rounds.ts';
import { stepsOf } from '../bench/steps.ts';
import { systemDisk } from '../src/disk.ts';
import { madeOnceFolder } from './support/machine.ts';
import { hasMariadb } from './support/mariadb.ts';

/** What each promises: figures, and those that must stand beside a reference. */
const promised: {
  readonly [name: string]: {
    readonly alone?: readonly string[];
    readonly beside: readonly string[];
  };
} = {
  ack: { beside: ['http', 'p50at90k', 'p99at90k', 'p99at180k', 'single'] },
  backlog: { beside: ['rate'], alone: ['rss', 'records'] },
  decode: { beside: ['decode'] },
  files: { beside: ['loadNdjson', 'loadCsv', 'check', 'dump', 'verify'] },
  journal: { beside: ['group256', 'group4096', 'single'] },
  latency: { beside: ['p99'] },
  mariadb: { beside: ['direct', 'stage', 'merge'] },
  path: { beside: ['http', 'library', 'random'], alone: ['bareCopy', 'bareRandom', 'rss'] },
  peers: { beside: ['pool', 'inserts', 'unnest', 'pgBoss', 'graphileWorker'], alone: ['holdfast'] },
  price: { beside: ['exactlyOnce', 'books', 'ours', 'theirs', 'batchRows'] },
  recovery: { beside: ['warm', 'cold'], alone: ['read', 'bytes'] },
  ring: { beside: [], alone: ['batched', 'single', 'postMessage'] },
  sqlite: { beside: ['direct'] },
  staged: { beside: ['stage', 'merge'] },
};

/** For all that a bench puts under the temporary folder; servers of another user may enter. */
function openFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-benches-'));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function startBench(t: TestContext, folder: string, args: readonly string[]): ChildProcess {
  const main = join(import.meta.dirname, '../bench/main.ts');
  const env = { ...process.env, TMPDIR: folder, HOLDFAST_MADE_ONCE: madeOnceFolder };
  const child = spawn(process.execPath, [main, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

async function runBench(t: TestContext, folder: string, args: readonly string[]) {
  const child = startBench(t, folder, args);
  let [stdout, stderr] = ['', ''];
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [exit] = await once(child, 'close');
  return { exit, stdout, stderr };
}

/** `npm run test:benches` runs them all; these take their time even in the smallest size. */
const isWhole = process.env['HOLDFAST_TEST_BENCHES'] === 'all';
const long = new Set(['ack', 'backlog', 'mariadb', 'peers', 'price', 'staged']);

/** What holds at any speed. */
function checkPeers(figures: Figures): void {
  for (const [name, { ackP50 = 0, ackP99 = 0, acknowledges, ...figure }] of Object.entries(
    figures,
  )) {
    assert(ackP50 > 0 && ackP99 >= ackP50 && acknowledges === 'disk', name);
    assert(typeof figure.doubled === 'number', name);
    assert.equal(figure.lost, 0, name);
  }
  assert.equal(figures['holdfast']?.doubled, 0);
}

suite('every bench', { concurrency: 2 }, () => {
  for (const [name, { alone = [], beside }] of Object.entries(promised)) {
    if (long.has(name) && !isWhole) continue;
    const isSkipped = name === 'mariadb' && !hasMariadb('MariaDB 10.11');
    test(`bench ${name} prints its figures and leaves nothing behind`, {
      skip: isSkipped,
    }, async (t) => {
      const folder = openFolder(t);
      const { exit, stdout, stderr } = await runBench(t, folder, [name, '--tiny', '--json']);
      assert.equal(exit, 0, stderr);
      const { figures, ...whole } = JSON.parse(stdout) as { name: string; figures: Figures };
      assert.equal(whole.name, name);
      for (const figure of [...alone, ...beside]) {
        const { value = Number.NaN, runs = [], unit = '' } = figures[figure] ?? {};
        assert(value > 0 && unit !== '', `${figure}: ${stdout}`);
        assert.equal(runs.length, 1, figure);
      }
      for (const figure of beside) {
        const { value = 0, of = 0, ratio = 0 } = figures[figure] ?? {};
        assert(
          of > 0 && Math.abs(value / of / ratio - 1) < 0.2,
          `${figure} stands beside its reference`,
        );
      }
      if (name === 'peers') checkPeers(figures);
      assert.deepEqual(readdirSync(folder), []);
    });
  }
});

test('two benches never overlap', async (t) => {
  const folder = openFolder(t);
  const lock = systemDisk.lock(join(folder, 'holdfast-bench.lock'));
  assert(lock);
  t.after(() => lock.release());
  const { exit, stderr } = await runBench(t, folder, ['decode']);
  assert.equal(exit, 1);
  assert.match(stderr, /Another bench is running/);
});

test('an unknown name is answered with all names', async (t) => {
  const { exit, stderr } = await runBench(t, openFolder(t), ['speed']);
  assert.equal(exit, 2);
  for (const name of Object.keys(promised)) assert.match(stderr, new RegExp(`\\b${name}\\b`));
});

test('a bench that is told to end ends its processes and removes its files', async (t) => {
  const folder = openFolder(t);
  const child = startBench(t, folder, ['sqlite', '--tiny']);
  assert(child.stderr);
  const closed = once(child, 'close');
  await once(child.stderr, 'data');
  child.kill('SIGTERM');
  child.stderr.resume();
  const [exit] = await closed;
  assert.equal(exit, 1);
  assert.deepEqual(readdirSync(folder), []);
});

test('a profile becomes a flame graph beside it', async (t) => {
  const folder = openFolder(t);
  const profiles = openFolder(t);
  const args = ['sqlite', '--tiny', '--profile', profiles];
  const { exit, stderr } = await runBench(t, folder, args);
  assert.equal(exit, 0, stderr);
  const graphs = readdirSync(profiles).filter((name) => name.endsWith('.svg'));
  assert(graphs.length >= 2, 'one of the main thread, one of the loader thread');
  const [first = ''] = graphs;
  assert.match(readFileSync(join(profiles, first), 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
});

test('a profile is summed by steps, without what was idle', () => {
  const node = (id: number, functionName: string, url: string) => ({
    id,
    callFrame: { functionName, url, lineNumber: 1 },
  });
  const nodes = [
    node(1, '(idle)', ''),
    node(2, 'scatter', 'file:///x/src/journal/group.ts'),
    node(3, 'lines', 'file:///x/src/accept/ndjson.ts'),
    node(4, 'read', 'holdfast:decoder:payments'),
    node(5, 'fdatasync', ''),
    node(6, 'what', 'node:internal/timers'),
  ];
  const profile = { nodes, samples: [1, 2, 3, 4, 5, 6, 2], timeDeltas: [90, 1, 2, 3, 4, 1, 2] };
  assert.deepEqual(
    [...stepsOf(profile)],
    [
      ['decode, check, encode', 5],
      ['waiting for the disk', 4],
      ['form groups', 3],
      ['the rest', 1],
    ],
  );
});

test('a flame graph is as wide as the time, without what was idle', () => {
  const node = (id: number, functionName: string, children: number[] = []) => ({
    id,
    callFrame: { functionName, url: 'file:///src/a&b.ts', lineNumber: 6 },
    children,
  });
  const svg = flameGraph({
    nodes: [
      node(1, '(root)', [2, 3, 5]),
      node(2, '(idle)'),
      node(3, 'outer', [4]),
      node(4, 'inner'),
      node(5, 'other'),
    ],
    samples: [2, 3, 4, 5],
    timeDeltas: [9_000, 1_000, 2_000, 1_000],
  });
  const boxes = [
    ...svg.matchAll(/<title>(.*?)<\/title><rect x="([\d.]+)" y="(-?\d+)" width="([\d.]+)"/g),
  ];
  assert.deepEqual(
    boxes.map(([, title, x, y, width]) => [title, Number(x), Number(y), Number(width)]),
    [
      ['all, 100.0 %, 4 ms', 0, 0, 1600],
      ['outer a&amp;b.ts:7, 75.0 %, 3 ms', 0, -17, 1200],
      ['inner a&amp;b.ts:7, 50.0 %, 2 ms', 0, -34, 800],
      ['other a&amp;b.ts:7, 25.0 %, 1 ms', 1200, -17, 400],
    ],
  );
});

const options: BenchOptions = {
  say: () => undefined,
  size: 'usual',
  endBy: Number.POSITIVE_INFINITY,
};

/** Rounds in which others had these shares, one after another; the first is the warm-up. */
async function roundsWith(others: readonly number[], own: Partial<BenchOptions> = {}) {
  let taken = 0;
  const kept = await takeRounds<Measured & { round: number }>(
    { ...options, ...own },
    {
      rounds: 2,
      take: async () => {
        const round = taken++;
        return new Map([
          ['quiet', { round, others: 0 }],
          ['measured', { round, others: others[round] ?? 0 }],
        ]);
      },
      tell: ({ round }) => String(round),
    },
  );
  return { taken, kept: kept.map((round) => round.get('measured')?.round) };
}

test('a quiet round is taken once', async () => {
  assert.deepEqual(await roundsWith([0.9, 0, 0.04]), { taken: 3, kept: [1, 2] });
});

test('a disturbed round is taken again, and the quietest are kept in their order', async () => {
  assert.deepEqual(await roundsWith([0, 0.5, 0, 0]), { taken: 4, kept: [2, 3] });
  assert.deepEqual(await roundsWith([0, 0.3, 0.9, 0.2, 0.5]), { taken: 5, kept: [1, 3] });
});

test('rounds end where the time does; one is always taken', async () => {
  const endBy = performance.now() - 1;
  assert.deepEqual(await roundsWith([0, 0.5], { endBy }), { taken: 2, kept: [1] });
  assert.deepEqual(await roundsWith([0, 0.5, 0.5], { size: 'tiny' }), { taken: 3, kept: [1, 2] });
});

test('a figure says how many of its runs were disturbed', () => {
  const runs = [0.04, 0.05, 1].map((others) => ({ value: 2, of: 4, others }));
  const { disturbed, ratio } = figureOf('rows/s', runs);
  assert.deepEqual([disturbed, ratio], [2, 0.5]);
});

test('a body is timed from when it was due, however late its sender was free', async () => {
  const [everyMs, ticks] = [5, 20];
  let allDue: () => void = () => undefined;
  const lastIsDue = new Promise<void>((resolve) => {
    allDue = resolve;
  });
  const sent: number[] = [];
  const sender = async (body: number): Promise<void> => {
    sent.push(body);
    await lastIsDue;
  };
  const times = await pace([sender], { everyMs, ticks }, (body) => {
    if (body === ticks - 1) allDue();
  });
  assert.deepEqual(
    sent,
    Array.from({ length: ticks }, (_, body) => body),
  );
  times.forEach((ms, body) => {
    assert(ms >= (ticks - 1 - body) * everyMs, `body ${body} waited for the last`);
  });
});

test('a paced load ends with the first failure of a sender', async () => {
  const sender = async (body: number): Promise<void> => assert.notEqual(body, 2, 'body 2');
  await assert.rejects(pace([sender], { everyMs: 1, ticks: 5 }), /body 2/);
});
