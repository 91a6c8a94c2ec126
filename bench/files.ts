// bench files: what comes from files and goes into them, into an SQLite target. A journal and a
// database of its own in each round.
//
// loadNdjson, loadCsv: rows/s of `load` through the library, until all rows are on disk, while the
//   loader thread brings them into the table. `of`: the decoder alone over the same bytes.
// check, dump: MB/s of the journal's blocks, of `holdfast journal check` and `dump` (to /dev/null),
//   start of the process included. `of`: the same bytes read and nothing done with them (`head`).
// verify: MB/s of the journal's blocks, of `verify` through the library. `of`: as before.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { finished } from 'node:stream/promises';
import { systemDisk } from '../src/disk.ts';
import { listSegments } from '../src/journal/inspect.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import type { Opening, Source } from './file-owner.ts';
import { type Ground, onGround } from './ground.ts';
import { CpuMeter } from './machine.ts';
import { Body, bodyRows } from './payments.ts';
import { figureOver, type Measured, type Round, roundsOf, takeRounds } from './rounds.ts';

const rowsOf: { readonly [size in Size]: number } = { tiny: 2_000, usual: 500_000, full: 5e6 };
const cli = join(import.meta.dirname, '../src/cli/main.ts');
const formats = ['ndjson', 'csv'] as const;
const figureNames = { ndjson: 'loadNdjson', csv: 'loadCsv' } as const;

/** Of rows or of megabytes. */
interface Rated extends Measured {
  readonly rate: number;
}

export const benchFiles = (options: BenchOptions): Promise<Figures> =>
  onGround(async (ground) => {
    const rows = rowsOf[options.size];
    options.say(`writing two files of ${rows} rows`);
    const sources: Source[] = [];
    for (const format of formats) sources.push(await writeSource(ground.folder, format, rows));
    let rounds = 0;
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: () => takeRound(ground, sources, join(ground.folder, `round-${rounds++}`)),
      tell: ({ rate }) => `${Math.round(rate).toLocaleString('en')} a second`,
    });
    const figure = (name: string, unit: string, reference: string) =>
      figureOver(taken, name, { unit, value: ({ rate }) => rate, reference });
    return {
      loadNdjson: figure('loadNdjson', 'rows/s', 'decodeNdjson'),
      loadCsv: figure('loadCsv', 'rows/s', 'decodeCsv'),
      check: figure('check', 'MB/s', 'read'),
      dump: figure('dump', 'MB/s', 'read'),
      verify: figure('verify', 'MB/s', 'read'),
    };
  });

/** The two files have no key in common. */
async function writeSource(
  folder: string,
  format: Source['format'],
  rows: number,
): Promise<Source> {
  const path = join(folder, `rows.${format}`);
  const file = createWriteStream(path);
  const body = new Body();
  const first = formats.indexOf(format) * rows;
  if (format === 'csv') file.write('tx_id,user_id,amount,status,created_at,note\n');
  for (let row = 0; row < rows; row += bodyRows) {
    body.setKeys(first + row);
    const bytes = format === 'csv' ? csvOf(body.bytes) : Buffer.from(body.bytes);
    if (!file.write(bytes)) await once(file, 'drain');
  }
  file.end();
  await finished(file);
  return { path, format, rows };
}

/** No value of the bench has anything to quote. */
function csvOf(lines: Buffer): string {
  const field = /"\w+":(?:"([^"]*)"|null|([\d.]+))/g;
  return lines
    .toString()
    .replaceAll(/^\{.*\}$/gm, (line) =>
      [...line.matchAll(field)].map(([, text, number]) => text ?? number ?? '').join(','),
    );
}

async function takeRound(
  ground: Ground,
  sources: readonly Source[],
  folder: string,
): Promise<Round<Rated>> {
  const round = new Map<string, Rated>();
  const take = async (name: string, amount: number, run: () => Promise<number> | number) => {
    const meter = new CpuMeter();
    const seconds = await run();
    round.set(name, { rate: amount / seconds, others: meter.others() });
  };
  systemDisk.makeDirectory(folder);
  const journal = join(folder, 'journal');
  const owner = ground.child('file-owner.ts');
  const opening: Opening = { journal, target: `sqlite:${createTable(join(folder, 'target.db'))}` };
  await owner.call('open', opening);
  for (const source of sources) {
    const name = figureNames[source.format];
    await take(name.replace('load', 'decode'), source.rows, () => owner.call('decode', source));
    await take(name, source.rows, () => owner.call('load', source));
  }
  const { segments } = listSegments(systemDisk, journal);
  // Behind them a segment is zeros, which not everybody reads.
  const megabytes = segments.reduce((sum, { used }) => sum + used, 0) / 1e6;
  await take('verify', megabytes, () => owner.call('verify'));
  await owner.call('close');
  await owner.end();
  await take('read', megabytes, () =>
    timed(() => {
      for (const { file, used } of segments) {
        execFileSync('head', ['-c', `${used}`, file], { stdio: 'ignore' });
      }
    }),
  );
  for (const name of ['check', 'dump']) {
    await take(name, megabytes, () => timed(() => runJournal(name, journal)));
  }
  return round;
}

function createTable(path: string): string {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA journal_mode=WAL;
    CREATE TABLE payments (tx_id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL,
      amount NUMERIC(18,2) NOT NULL, status TEXT NOT NULL, created_at TIMESTAMPTZ NOT NULL,
      note TEXT)`);
  database.close();
  return path;
}

/** Its output goes nowhere. */
function runJournal(command: string, journal: string): void {
  const args = [cli, 'journal', command, '--journal', journal];
  const { status } = spawnSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  assert.equal(status, 0, `journal ${command} leaves with 0`);
}

function timed(run: () => void): number {
  const begun = performance.now();
  run();
  return (performance.now() - begun) / 1000;
}
