// `holdfast init`: asks the target for its tables and writes a configuration; with --sql, prints
// the SQL of Holdfast's own tables instead. On a terminal it asks for what no flag says.
import { existsSync, writeFileSync } from 'node:fs';
import { extname, relative, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { Table } from '../accept/columns.ts';
import { systemClock } from '../clock.ts';
import { systemDisk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { type OpenOptions, readOptions, suggestion } from '../options.ts';
import { openTarget, schemaSqlOf } from '../target/open.ts';
import type { Session } from '../target/target.ts';
import { isCommonJs, workingFolder } from './config.ts';
import { type Result, say } from './output.ts';

interface Given {
  readonly config?: string;
  readonly target?: string;
  readonly table?: string;
  readonly stream?: string;
  readonly journal?: string;
  readonly force?: boolean;
  readonly sql?: boolean;
}

const usage = (message: string): HoldfastError => new HoldfastError('HF_USAGE', message);

/** Asks on the terminal; without one, says which flag to give. */
async function answer(question: string, flag: string, standard = ''): Promise<string> {
  if (!process.stdin.isTTY) throw usage(`Nobody can be asked here: give ${flag}.`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const shown = standard === '' ? '' : ` [${standard}]`;
    return (await terminal.question(`${question}${shown}: `)).trim() || standard;
  } finally {
    terminal.close();
  }
}

async function withSession<T>(url: string, work: (session: Session) => Promise<T>): Promise<T> {
  const target = await openTarget(url, { clock: systemClock });
  try {
    const session = await target.connect();
    try {
      return await work(session);
    } finally {
      await session.close();
    }
  } finally {
    await target.close();
  }
}

async function chooseTable(session: Session, given: string | undefined): Promise<Table> {
  const names = await session.tableNames();
  if (names.length === 0) throw usage('The target has no table yet. Make one, then init again.');
  if (given === undefined) say(`Tables: ${names.join(', ')}`);
  const name = given ?? (await answer('Which table', '--table', names[0]));
  // A name with its schema may be right though the list has it without.
  if (!names.includes(name) && !name.includes('.')) {
    throw usage(`There is no table "${name}"${suggestion(name, names) || '.'}`);
  }
  return session.describe(name);
}

/** Relative paths stand in the file as they are given; it is read from its own folder. */
function configOf(table: Table, given: Given & { readonly target: string }): OpenOptions {
  const [key] = table.keys;
  const stream = { table: table.name, ...(key && { key }) };
  const options = {
    journal: given.journal ?? journalStandard,
    target: given.target,
    streams: { [given.stream ?? table.name]: stream },
  };
  readOptions(options);
  return options;
}

/** The file's text, by its extension. */
function configText(options: OpenOptions, extension: string): string {
  const json = JSON.stringify(options, null, 2);
  if (extension === '.json') return `${json}\n`;
  const plain = json
    .replaceAll(/^(\s*)"([A-Za-z_]\w*)":/gm, '$1$2:')
    .replaceAll(/"([^"'\\]*)"/g, "'$1'")
    .replaceAll(/\[\s+([^[\]]*?)\s+\]/g, (_, inner: string) => `[${inner.replaceAll(/\s+/g, ' ')}]`)
    .replaceAll(/(['\]}])\n/g, '$1,\n');
  if (!extension.endsWith('ts')) return `export default ${plain};\n`;
  const type = "import type { OpenOptions } from 'holdfast';";
  return `${type}\n\nexport default ${plain} satisfies OpenOptions;\n`;
}

const journalStandard = './data/journal';

const standardFile = (): string => `holdfast.config.${isCommonJs(workingFolder()) ? 'mts' : 'ts'}`;

/** Rows that wait there for another target's streams would wait for ever. */
function refuseTakenJournal(folder: string): void {
  const directory = resolve(folder, journalStandard);
  if (systemDisk.list(directory).length === 0) return;
  throw usage(`${directory} holds a journal already. Name a folder with --journal.`);
}

/** SQLite's files are looked for where the configuration will look for them. */
const seenFrom = (folder: string, target: string): string =>
  target.startsWith('sqlite:') ? `sqlite:${resolve(folder, target.slice(7))}` : target;

async function init(given: Given): Promise<Result> {
  const target =
    given.target ??
    (await answer('Target (postgres://USER@HOST/DATABASE, mysql://… or sqlite:PATH)', '--target'));
  if (given.sql) {
    const sql = await schemaSqlOf(target);
    return { json: { sql }, text: sql };
  }
  const file = resolve(workingFolder(), given.config ?? standardFile());
  if (existsSync(file) && !given.force) {
    throw usage(`${file} is there already. Give --force to replace it.`);
  }
  if (given.journal === undefined && !given.force) refuseTakenJournal(resolve(file, '..'));
  const from = seenFrom(resolve(file, '..'), target);
  if (from !== target && !existsSync(from.slice('sqlite:'.length))) {
    throw usage(`There is no database ${from.slice('sqlite:'.length)} yet. Make its table first.`);
  }
  const table = await withSession(from, (session) => chooseTable(session, given.table));
  const options = configOf(table, { ...given, target });
  writeFileSync(file, configText(options, extname(file)));
  for (const warning of table.warnings) say(`Note: ${warning}`);
  if (table.keys.length === 0) {
    say('Note: the table has no unique key, so a row that is sent twice is written twice.');
  }
  const shown = relative(workingFolder(), file) || file;
  const text = `Wrote ${shown}. Next: holdfast serve, or holdfast load FILE.`;
  return { json: { config: file, ...options }, text };
}

export function addInit(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('init')
    .description('ask the target for its tables and write a configuration')
    .option('--target <url>', 'postgres://USER@HOST/DATABASE, mysql://… or sqlite:PATH')
    .option('--table <name>', 'the table to write into')
    .option('--journal <directory>', 'where the journal is to stand (default ./data/journal)')
    .option('--force', 'replace a configuration that is there')
    .option('--sql', "print the SQL of Holdfast's own tables, and write nothing")
    .action(async (given: Given) => settle(await init(given)));
}
