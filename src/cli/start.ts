// `npm start`: a server to try, with everything under ./data. Its first start makes a table and
// loads the example rows.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Command } from 'commander';
import { HoldfastError } from '../errors.ts';
import type { Holdfast } from '../types.ts';
import { toConfig, workingFolder } from './config.ts';
import { openInput } from './input.ts';
import { loadReport, runLoad } from './load.ts';
import { ownerOf } from './local.ts';
import { print, say } from './output.ts';
import { serve } from './serve.ts';
import { statusText } from './status.ts';

const stream = 'payments';
export const tableSql = `CREATE TABLE IF NOT EXISTS payments (
  tx_id      INTEGER PRIMARY KEY,
  user_id    INTEGER NOT NULL,
  amount     DECIMAL(18,2) NOT NULL,
  status     TEXT NOT NULL DEFAULT 'new',
  created_at TIMESTAMPTZ NOT NULL,
  note       TEXT
)`;
const examples = join(import.meta.dirname, '../../examples/payments.ndjson');

function makeTable(path: string): void {
  const database = new DatabaseSync(path);
  try {
    database.exec(tableSql);
  } finally {
    database.close();
  }
}

/** Resolves when the example rows are settled; at once where an earlier start has loaded them. */
async function loadExamples(holdfast: Holdfast): Promise<void> {
  const rows = readFileSync(examples, 'utf8').split('\n').length - 1;
  const { streams } = await holdfast.status();
  if ((streams[stream]?.accepted ?? 0) >= rows) return;
  say(`Loading ${rows.toLocaleString('en-US')} example rows …`);
  const load = {
    stream,
    options: { format: 'ndjson' },
    input: await openInput(examples, true),
  } as const;
  await runLoad(ownerOf(holdfast), load, (result) => print(loadReport(result).text));
}

/** A request to paste: its key is not in the table yet. */
function curlLine(url: string): string {
  const row = JSON.stringify({
    tx_id: Date.now(),
    user_id: 7,
    amount: '12.50',
    created_at: new Date().toISOString(),
  });
  const header = "-H 'content-type: application/x-ndjson'";
  return `curl '${url}/v1/streams/${stream}/records?ack=settled' ${header} -d '${row}'`;
}

async function start(): Promise<void> {
  if (!existsSync(examples)) {
    const message = 'This belongs to a checkout (npm start). Use `holdfast init`, then `serve`.';
    throw new HoldfastError('HF_USAGE', message);
  }
  const folder = join(workingFolder(), 'data');
  mkdirSync(folder, { recursive: true });
  makeTable(join(folder, 'holdfast.db'));
  const given = {
    journal: './journal',
    target: 'sqlite:./holdfast.db',
    streams: { [stream]: { table: 'payments', key: ['tx_id'] } },
  };
  const onListening = async ({ url }: { readonly url: string }, holdfast: Holdfast) => {
    await print(statusText(await holdfast.status()));
    await print(`Listening on ${url}`);
    await print(`Try it:\n${curlLine(url)}`);
  };
  await serve(toConfig(given, folder, process.env), onListening, loadExamples);
}

export const addStart = (command: Command): void => {
  command
    .command('start', { hidden: true })
    .description('a server to try, with everything under ./data (npm start)')
    .action(start);
};
