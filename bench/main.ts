// `npm run -s bench -- NAME [--json] [--full] [--profile FOLDER]`: runs one bench and prints its figures.
import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { systemDisk } from '../src/disk.ts';
import { benchArticle } from './article.ts';
import { type Bench, printTable } from './figures.ts';
import { benchIncident } from './incident.ts';
import { benchJournal } from './journal.ts';
import { describeMachine } from './machine.ts';
import { benchMariadb } from './mariadb.ts';
import { benchPath } from './path.ts';
import { benchRing } from './ring.ts';
import { benchStaged } from './staged.ts';

const benches: ReadonlyMap<string, Bench> = new Map([
  ['article', benchArticle],
  ['incident', benchIncident],
  ['journal', benchJournal],
  ['mariadb', benchMariadb],
  ['path', benchPath],
  ['ring', benchRing],
  ['staged', benchStaged],
]);

function checkNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  assert(
    major > 22 || (major === 22 && minor >= 18),
    `Benches are for Node 22.18 and later; this is ${process.version}.`,
  );
}

async function main(): Promise<number> {
  checkNode();
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      full: { type: 'boolean' },
      profile: { type: 'string' },
    },
  });
  const [name = ''] = positionals;
  const bench = benches.get(name);
  if (!bench || positionals.length !== 1) {
    const names = [...benches.keys()].join(' | ');
    process.stderr.write(
      `Usage: npm run -s bench -- ${names} [--json] [--full] [--profile FOLDER]\n`,
    );
    return 2;
  }
  // Two benches at once would measure each other.
  const path = join(tmpdir(), 'holdfast-bench.lock');
  const lock = systemDisk.lock(path);
  if (!lock) {
    process.stderr.write(`Another bench is running on this machine (lock ${path}).\n`);
    return 1;
  }
  try {
    const figures = await bench({
      say: (text) => process.stderr.write(`${text}\n`),
      ...(values.full === undefined ? {} : { isFull: values.full }),
      ...(values.profile === undefined ? {} : { profileTo: values.profile }),
    });
    const machine = describeMachine();
    const whole = { name, machine, figures };
    process.stdout.write(
      values.json ? `${JSON.stringify(whole)}\n` : printTable(name, machine, figures),
    );
    return 0;
  } finally {
    lock.release();
  }
}

// So that what runs at exit ends the servers too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
process.exitCode = await main();
