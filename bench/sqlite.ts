// bench sqlite: rows/s from NDJSON bytes to an SQLite table with a primary key, until the last row
// is settled, beside a bare bulk load from the same bytes. Rounds of both in turn, each into the
// same table, emptied; then both must have left the same rows, and the books must balance.
//
// direct: writeBytes of bodies of 500 rows, 8 calls in flight, in the product's process.
// `of`: bare, one process that parses and inserts (sqlite-bare.ts).
// …Cpu: µs of CPU time a row, all threads.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Child } from './children.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import { onGround } from './ground.ts';
import { CpuMeter, treeMs } from './machine.ts';
import type { Rows, Standing, Start } from './product.ts';
import {
  figureOver,
  inWords,
  type Rate,
  type Round,
  rateFigure,
  roundsOf,
  takeRounds,
} from './rounds.ts';
import type { Contents } from './sqlite-bare.ts';

const rowsOf: { readonly [size in Size]: number } = { tiny: 4_000, usual: 1e6, full: 10e6 };
const warmUpShare = 0.25;

interface Measured extends Rate {
  readonly cpu: number;
  readonly contents: Contents;
}

export const benchSqlite = (options: BenchOptions): Promise<Figures> =>
  onGround(async (ground) => {
    const bare = ground.child('sqlite-bare.ts');
    const product = ground.product(options.profileTo);
    const path = join(ground.folder, 'target.db');
    await bare.call('open', { path });
    const start: Start = { journal: join(ground.folder, 'journal'), target: `sqlite:${path}` };
    await product.call('start', start);
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) =>
        takeRound(bare, product, rowsOf[options.size] * (isWarmUp ? warmUpShare : 1)),
      tell: ({ rate }) => inWords(rate),
    });
    await product.call('stop');
    const cpu = (name: string) =>
      figureOver(taken, name, { unit: 'µs/row', value: (measured) => measured.cpu });
    return {
      bare: rateFigure(taken, 'bare'),
      direct: rateFigure(taken, 'direct', 'bare'),
      bareCpu: cpu('bare'),
      directCpu: cpu('direct'),
    };
  });

async function takeRound(bare: Child, product: Child, rows: number): Promise<Round<Measured>> {
  const write: Rows = { first: 0, rows };
  const measure = async (child: Child, run: () => Promise<unknown>): Promise<Measured> => {
    await bare.call('empty');
    const meter = new CpuMeter();
    const cpuMs = treeMs(child.pid);
    const begun = performance.now();
    await run();
    const seconds = (performance.now() - begun) / 1000;
    const cpu = ((treeMs(child.pid) - cpuMs) * 1000) / rows;
    const others = meter.others();
    return { rate: rows / seconds, cpu, others, contents: await bare.call('contents') };
  };
  const plain = await measure(bare, () => bare.call('write', write));
  const before = await product.call<Standing>('standing');
  const direct = await measure(product, async () => {
    await product.call('write', write);
    await product.call('reach', { mark: 'settled' });
  });
  const after = await product.call<Standing>('standing');
  assert.equal(plain.contents.count, rows, 'every row is in the table once');
  assert.deepEqual(direct.contents, plain.contents, 'both left the same rows');
  assert.equal(after.merged - before.merged, rows, 'every row was merged');
  assert.equal(after.unaccounted, 0, 'the books balance');
  return new Map([
    ['bare', plain],
    ['direct', direct],
  ]);
}
