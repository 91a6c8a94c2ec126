// What a bench stands on: a folder, a PostgreSQL, processes of its own. All of it is gone when the
// bench ends, however it ends.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import pg from 'pg';
import { Child } from './children.ts';
import { createPayments } from './payments.ts';
import { type PostgresSettings, startBenchPostgres } from './postgres.ts';
import { Program, type ProgramStart } from './program.ts';

const profiling = (to: string | undefined): string[] =>
  to === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${to}`, '--cpu-prof-interval=500'];

/** What the command line gives to its process: it stands in its first line. */
function commandStart(): { readonly flags: string[]; readonly env: NodeJS.ProcessEnv } {
  const main = new URL('../src/cli/main.ts', import.meta.url);
  const [line = ''] = readFileSync(main, 'utf8').split('\n');
  const words = line.split(' ');
  const variables = words.filter((word) => /^[A-Z_]+=/.test(word));
  return {
    flags: words.filter((word) => word.startsWith('--')),
    env: Object.fromEntries(variables.map((word) => word.split('='))),
  };
}

export class Ground {
  readonly folder = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  readonly #processes: (Child | Program)[] = [];
  readonly #atExit = () => this.#remove();

  constructor() {
    process.on('exit', this.#atExit);
  }

  /** A process of the bench, profiled where asked for. */
  child(file: string, profileTo?: string): Child {
    return this.#start(file, profiling(profileTo));
  }

  /** The product in a process of its own, as the command line runs. */
  product(profileTo?: string): Child {
    const { flags, env } = commandStart();
    return this.#start('product.ts', [...flags, ...profiling(profileTo)], env);
  }

  #start(file: string, execArgv: readonly string[], env: NodeJS.ProcessEnv = {}): Child {
    const child = new Child(file, { execArgv, env });
    this.#processes.push(child);
    return child;
  }

  /** A program that is none of the bench's own. */
  program(start: ProgramStart): Program {
    const program = new Program(start);
    this.#processes.push(program);
    return program;
  }

  /** In good order, so that profiles are left. */
  async endProcesses(): Promise<void> {
    await Promise.all(this.#processes.map((one) => one.end()));
  }

  clear(): void {
    process.off('exit', this.#atExit);
    this.#remove();
  }

  #remove(): void {
    for (const one of this.#processes) one.kill();
    // One that has just been killed may still be writing.
    rmSync(this.folder, { recursive: true, maxRetries: 5 });
  }
}

export async function onGround<T>(use: (ground: Ground) => Promise<T>): Promise<T> {
  const ground = new Ground();
  try {
    const result = await use(ground);
    await ground.endProcesses();
    return result;
  } finally {
    ground.clear();
  }
}

export interface PostgresGround {
  readonly ground: Ground;
  /** Of a database with the empty table `payments`. */
  readonly url: string;
  readonly port: number;
  readonly client: pg.Client;
  /** The server's first process, of which all others are children. */
  readonly postmaster: number;
}

export const onPostgres = <T>(
  use: (on: PostgresGround) => Promise<T>,
  settings: PostgresSettings = {},
): Promise<T> =>
  onGround(async (ground) => {
    const server = await startBenchPostgres(settings);
    try {
      const client = new pg.Client({ connectionString: server.url });
      // Where the bench fails the server ends first; the bench's own error says more.
      client.on('error', () => undefined);
      await client.connect();
      await client.query(createPayments);
      const pidFile = join(server.dataFolder, 'postmaster.pid');
      const postmaster = Number.parseInt(readFileSync(pidFile, 'utf8'), 10);
      const result = await use({ ground, url: server.url, port: server.port, client, postmaster });
      await client.end();
      return result;
    } finally {
      await server.stop();
    }
  });
