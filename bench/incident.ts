// bench incident: the article's incident. 1,270,000 rows wait in a staging table on PostgreSQL,
// half of them double; `holdfast dedupe` collapses them, as a process of its own, while a server
// goes on with one row at a time into the same stream and into another one, direct. Then mergers
// run, and the books, the tables and `verify` must agree: nothing lost, nothing doubled.
//
// dedupe: seconds that the command took, its reports before and after included. `of`: the article's
// 83. rows, duplicates, collapsed: what it found and did. merge: seconds until all of
// it is merged and verified.
// directBefore, directDuring: ms until a row of the other stream is in its table, p99.
// stagedBefore, stagedDuring: ms until a row of the same stream is on disk, p99.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { open } from '../src/holdfast.ts';
import {
  incidentOptions,
  incidentTables,
  MainWrites,
  mergeAll,
  storm,
} from '../test/support/incident.ts';
import { query } from '../test/support/postgres.ts';
import {
  type BenchOptions,
  type Figure,
  type Figures,
  figureOf,
  quantile,
  type Size,
} from './figures.ts';
import { CpuMeter } from './machine.ts';
import { startBenchPostgres } from './postgres.ts';

const articleRows = 1_270_000;
const articleSeconds = 83;
const rowsOf: { readonly [size in Size]: number } = {
  tiny: 20_000,
  usual: articleRows,
  full: articleRows,
};
const beforeMs: { readonly [size in Size]: number } = { tiny: 100, usual: 10_000, full: 10_000 };
const pauseMs = 5;

interface Report {
  readonly rows: number;
  readonly duplicates: number;
  readonly collapsed: number;
  readonly seconds: number;
}

export async function benchIncident({ say, size }: BenchOptions): Promise<Figures> {
  const rows = rowsOf[size];
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const server = await startBenchPostgres();
  try {
    await query(server.url, incidentTables);
    const journal = join(folder, 'journal');
    const options = incidentOptions(journal, server.url, 0);
    writeFileSync(join(folder, 'holdfast.config.json'), JSON.stringify(options));
    const holdfast = await open(options);
    say(`staging ${rows.toLocaleString('en')} rows, each twice:`);
    await storm(holdfast, rows);
    await query(server.url, 'CHECKPOINT');
    const writes = new MainWrites(holdfast, pauseMs);
    await pause(beforeMs[size]);
    const before = writes.take();
    const meter = new CpuMeter();
    const report = await dedupe(folder);
    const others = meter.others();
    const during = writes.take();
    say(`dedupe: ${JSON.stringify(report)}`);
    const written = await writes.stop();
    await holdfast.close({ drainMs: 0 });
    const begun = performance.now();
    const { payments } = await mergeAll(incidentOptions(journal, server.url, 2));
    const mergeSeconds = (performance.now() - begun) / 1000;
    assert.equal(payments.merged, rows / 2 + written.payments, 'each row is merged once');
    assert.equal(payments.duplicates, rows / 2, 'each double is booked as one');
    await checkTable(server.url, 'payments', rows / 2 + written.payments);
    await checkTable(server.url, 'orders', written.orders);
    const figure = (unit: string, value: number, of?: number): Figure =>
      figureOf(unit, [{ value, others, ...(of === undefined ? {} : { of }) }]);
    return {
      dedupe: figure('s', report.seconds, articleSeconds),
      rows: figure('rows', report.rows),
      duplicates: figure('rows', report.duplicates),
      collapsed: figure('rows', report.collapsed),
      merge: figure('s', mergeSeconds),
      directBefore: figure('ms', p99(before.orders)),
      directDuring: figure('ms', p99(during.orders)),
      stagedBefore: figure('ms', p99(before.payments)),
      stagedDuring: figure('ms', p99(during.payments)),
    };
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true });
  }
}

async function checkTable(url: string, table: string, expected: number): Promise<void> {
  const [counted] = await query(url, `SELECT count(*) AS rows FROM ${table}`);
  assert.equal(Number(counted?.['rows']), expected, `${table} has every row once`);
}

async function dedupe(folder: string): Promise<Report> {
  const main = join(import.meta.dirname, '../src/cli/main.ts');
  const child = spawn(process.execPath, [main, 'dedupe', '--stream', 'payments', '--json'], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const [exit] = await once(child, 'close');
  assert.equal(exit, 0, text);
  return JSON.parse(text) as Report;
}

const p99 = (values: readonly number[]): number => quantile(values, 0.99);
