// A folder of a real process: its journal, and the SQLite file in front of which it stands. Lives
// in it may end in any way; the audit sends everything again, lets it settle, and holds the table
// against what was acknowledged.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { DatabaseSync } from 'node:sqlite';
import { open } from '../src/index.ts';
import {
  childBytes,
  childOptions,
  childRows,
  childTable,
  type LoaderPlace,
  loaderPlaces,
  shopPath,
  writersMax,
} from '../test/support/crash-folder.ts';
import { tracedBy } from '../test/support/traced.ts';
import type { Tally } from './campaign.ts';
import { checkTable, Violation } from './oracle.ts';

const child = join(import.meta.dirname, '../test/support/crash-child.ts');
/** No process writes so many requests before it is killed. */
const perLifeMax = 100_000;

/**
 * Compiled code is kept: half of a short life is the compiling of its modules. One pool thread, as
 * strace counts calls per thread; no io_uring, which would pass strace by.
 */
export const lifeEnvironment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-prove-code'),
  UV_THREADPOOL_SIZE: '1',
  UV_USE_IO_URING: '0',
  // Under npm a command looks there for its configuration.
  INIT_CWD: undefined,
});

export interface LifeOptions {
  /** The last request that it writes; then it ends by itself. */
  readonly last?: number;
  /** What the process runs. */
  readonly program?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** A command, and its arguments, that runs the process. */
  readonly under?: readonly string[];
  /** The arguments of strace, which is attached once the program is loaded. */
  readonly traced?: readonly string[];
}

export class ProcessFolder {
  readonly path: string;
  readonly place: LoaderPlace;
  readonly acknowledged = new Set<number>();
  /** Refused as not written, and never sent again since. */
  readonly unwritten = new Set<number>();
  /** The request that each receipt is for. */
  readonly receipts = new Map<string, number>();

  constructor(path: string, place: LoaderPlace) {
    this.path = path;
    this.place = place;
    mkdirSync(path, { recursive: true });
    const database = new DatabaseSync(shopPath(path));
    database.exec(childTable);
    database.close();
  }

  /** The folder as it was when this was taken, with what is believed of it. */
  restore(from: ProcessFolder): void {
    rmSync(this.path, { recursive: true });
    cpSync(from.path, this.path, { recursive: true });
    this.acknowledged.clear();
    for (const number of from.acknowledged) this.acknowledged.add(number);
  }

  /** The first request that is not acknowledged. */
  get first(): number {
    let first = 1;
    while (this.acknowledged.has(first)) first++;
    return first;
  }

  start(options: LifeOptions = {}): ChildProcess {
    const { last = this.first + perLifeMax, program = child, under = [] } = options;
    const traced = options.traced ? tracedBy(options.traced) : {};
    const life = [program, this.path, String(this.first), String(last), this.place];
    const [command = '', ...args] = [...under, process.execPath, ...life];
    return spawn(command, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...lifeEnvironment(), ...traced, ...options.env },
    });
  }

  /** Takes note of what a process told until its end; how many it acknowledged. */
  async end(started: ChildProcess): Promise<number> {
    let text = '';
    started.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await once(started, 'close');
    const told = text.split('\n').slice(0, -1).map(Number);
    for (const number of told) this.acknowledged.add(number);
    return told.length;
  }

  /** Sends all that may have been sent once more, lets it settle, and looks at the table. */
  async audit(tally: Tally): Promise<void> {
    // Those that were in flight when a process ended may be written or not.
    const last = Math.max(0, ...this.acknowledged, ...this.unwritten) + writersMax;
    const holdfast = await open(childOptions(this.path, this.place));
    const again = async (number: number): Promise<void> => {
      const options = { idempotencyKey: String(number) };
      const { repeated } = await (this.place === 'served'
        ? holdfast.writeBytes('events', childBytes(number), { ...options, format: 'ndjson' })
        : holdfast.write('events', childRows(number), options));
      if (repeated) tally.see('requests known again');
      if (repeated && this.unwritten.has(number)) {
        throw new Violation('wrong', `request ${number} was refused as not written, and is known`);
      }
      if (!repeated && this.acknowledged.has(number)) {
        throw new Violation('lost', `request ${number} was acknowledged and is not known`);
      }
    };
    try {
      await Promise.all(Array.from({ length: last }, (_, i) => again(i + 1)));
    } finally {
      await holdfast.close({ drainMs: 60_000 });
    }
    const database = new DatabaseSync(shopPath(this.path));
    const found = database.prepare('SELECT id, note FROM events').all();
    database.close();
    const sent = Array.from({ length: last }, (_, i) => childRows(i + 1)).flat();
    const rows = found.map(({ id, note }) => ({ id: Number(id), note }));
    checkTable({ table: 'events', found: rows, sent, acknowledged: sent });
    tally.see('rows checked', rows.length);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/**
 * Lives one life of each kind to its natural end: a process that is killed leaves no compiled code
 * behind, so that each of the next would compile its modules anew.
 */
export async function keepCode(root: string): Promise<void> {
  for (const place of loaderPlaces) {
    const folder = new ProcessFolder(join(root, `code-${place}`), place);
    const started = folder.start({ last: 1 });
    await folder.end(started);
    if (started.exitCode !== 0) throw new Error(`a first process left with ${started.exitCode}`);
    folder.remove();
  }
}
