// `npm run -s bench -- NAME [--json] [--full] [--profile FOLDER] [--with jvm]`: runs one bench and
// prints its figures. Without --full it ends within four minutes; peers takes longer. --profile
// leaves CPU profiles of the product and flame graphs made of them, and says how much of its time
// each step took. --with jvm: what needs a JVM too. --tiny is for tests: it measures nothing.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { systemDisk } from '../src/disk.ts';
import { benchAck } from './ack.ts';
import { benchArticle } from './article.ts';
import { benchBacklog } from './backlog.ts';
import { benchDecode } from './decode.ts';
import { type Bench, printTable, type Size } from './figures.ts';
import { benchFiles } from './files.ts';
import { writeFlameGraphs } from './flame.ts';
import { benchIncident } from './incident.ts';
import { benchJournal } from './journal.ts';
import { benchLatency } from './latency.ts';
import { describeMachine } from './machine.ts';
import { benchMariadb } from './mariadb.ts';
import { benchPath } from './path.ts';
import { benchPeers } from './peers.ts';
import { benchPrice } from './price.ts';
import { benchRecovery } from './recovery.ts';
import { benchRing } from './ring.ts';
import { benchSqlite } from './sqlite.ts';
import { benchStaged } from './staged.ts';
import { tellSteps } from './steps.ts';

const benches: ReadonlyMap<string, Bench> = new Map([
  ['ack', benchAck],
  ['article', benchArticle],
  ['backlog', benchBacklog],
  ['decode', benchDecode],
  ['files', benchFiles],
  ['incident', benchIncident],
  ['journal', benchJournal],
  ['latency', benchLatency],
  ['mariadb', benchMariadb],
  ['path', benchPath],
  ['peers', benchPeers],
  ['price', benchPrice],
  ['recovery', benchRecovery],
  ['ring', benchRing],
  ['sqlite', benchSqlite],
  ['staged', benchStaged],
]);

/** No round is begun that would end later. */
const budgetMs: { readonly [size in Size]: number } = {
  tiny: 60_000,
  usual: 200_000,
  full: Number.POSITIVE_INFINITY,
};

/** What hangs ends all the same. */
const patienceMs = 600_000;

/** With what needs a JVM all takes so much longer. */
const jvmTimes = 4;

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
      tiny: { type: 'boolean' },
      profile: { type: 'string' },
      with: { type: 'string' },
    },
  });
  const [name = ''] = positionals;
  const bench = benches.get(name);
  const jvm = values.with === 'jvm';
  if (!bench || positionals.length !== 1 || (values.with !== undefined && !jvm)) {
    const names = [...benches.keys()].join(' | ');
    process.stderr.write(
      `Usage: npm run -s bench -- ${names} [--json] [--full] [--profile FOLDER] [--with jvm]\n`,
    );
    return 2;
  }
  const times = jvm ? jvmTimes : 1;
  const size = values.tiny ? 'tiny' : values.full ? 'full' : 'usual';
  // Two benches at once would measure each other; a tiny one measures nothing.
  const path = join(tmpdir(), 'holdfast-bench.lock');
  const lock = size === 'tiny' ? undefined : systemDisk.lock(path);
  if (!lock && size !== 'tiny') {
    process.stderr.write(`Another bench is running on this machine (lock ${path}).\n`);
    return 1;
  }
  if (size !== 'full') {
    const endMs = patienceMs * times;
    const giveUp = (): never => {
      process.stderr.write(`bench ${name} has not ended after ${endMs / 1000} s.\n`);
      process.exit(1);
    };
    setTimeout(giveUp, endMs).unref();
  }
  try {
    if (values.profile !== undefined) mkdirSync(values.profile, { recursive: true });
    const say = (text: string) => process.stderr.write(`${text}\n`);
    const figures = await bench({
      say,
      size,
      jvm,
      endBy: performance.now() + budgetMs[size] * times,
      ...(values.profile === undefined ? {} : { profileTo: values.profile }),
    });
    if (values.profile !== undefined) {
      writeFlameGraphs(values.profile, say);
      tellSteps(values.profile, say);
    }
    const machine = describeMachine();
    const whole = { name, machine, figures };
    process.stdout.write(
      values.json ? `${JSON.stringify(whole)}\n` : printTable(name, machine, figures),
    );
    return 0;
  } finally {
    lock?.release();
  }
}

// So that what runs at exit ends the servers too.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
process.exitCode = await main();
