// A real MariaDB or MySQL for tests. Each server has its own folder and port, flushes every commit,
// and dies with this process at the latest. 10.11 is Debian's; the others come on demand, by
// test/support/fetch-servers.ts. The data folder is made once per version and machine; servers
// start from a copy of it.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { chmod, chown, cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import mysql from 'mysql2/promise';
import { freePort, madeOnceFolder, onlyOnce, ownerOf, pause } from './machine.ts';

export type MariadbVersion = 'MariaDB 10.11' | 'MariaDB 11.4' | 'MySQL 5.6';

export interface MariadbServer {
  /** Without a database, as root without a password. */
  readonly url: string;
  readonly port: number;
  /** Of the running process. */
  readonly pid: number;
  /** Starts it again in its folder and port, after any of the ends below. */
  start(): Promise<void>;
  /** In good order; stops being a server, and removes its folder. */
  stop(): Promise<void>;
  /** SIGKILL: recovery at the next start. */
  kill(): Promise<void>;
  restart(): Promise<void>;
}

const run = promisify(execFile);

interface Binaries {
  readonly server: string;
  /** Arguments that every start of this version needs. */
  readonly own: readonly string[];
  readonly libraries: string;
  /** Fills a new data folder. */
  readonly install: (folder: string) => Promise<unknown>;
}

const owner = () => ownerOf('mysql');

/** Where fetch-servers.ts puts what it fetched. */
export const homeOf = (version: MariadbVersion): string =>
  join(madeOnceFolder, `holdfast-${version.toLowerCase().replace(' ', '-')}`);

const installMariadb = (
  script: string,
  of: { readonly base: string; readonly libraries: string },
) =>
  async function install(folder: string): Promise<void> {
    const base = of.base === '' ? [] : [`--basedir=${of.base}`];
    await run(
      script,
      [
        '--no-defaults',
        ...base,
        `--datadir=${folder}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
        '--skip-name-resolve',
      ],
      { ...owner(), cwd: folder, env: environment(of.libraries) },
    );
  };

const environment = (libraries: string) => ({
  PATH: process.env['PATH'] ?? '',
  LC_ALL: 'C.UTF-8',
  ...(libraries !== '' && { LD_LIBRARY_PATH: libraries }),
});

function binaries(version: MariadbVersion): Binaries {
  const home = homeOf(version);
  if (version === 'MariaDB 10.11') {
    const install = installMariadb('/usr/bin/mariadb-install-db', { base: '', libraries: '' });
    return { server: '/usr/sbin/mariadbd', own: [], libraries: '', install };
  }
  if (version === 'MariaDB 11.4') {
    const libraries = join(home, 'libs');
    const install = installMariadb(join(home, 'scripts/mariadb-install-db'), {
      base: home,
      libraries,
    });
    const own = [`--basedir=${home}`, `--lc-messages-dir=${join(home, 'share')}`];
    return { server: join(home, 'bin/mariadbd'), own, libraries, install };
  }
  return {
    server: join(home, 'mysqld'),
    // With GTIDs a transaction may neither make nor drop temporary tables.
    own: [
      `--basedir=${home}`,
      `--lc-messages-dir=${join(home, 'share')}`,
      '--gtid-mode=ON',
      '--enforce-gtid-consistency',
      '--log-slave-updates',
    ],
    libraries: home,
    install: (folder) => cp(join(home, 'data'), folder, { recursive: true }),
  };
}

/** Whether this machine has that version. */
export const hasMariadb = (version: MariadbVersion): boolean =>
  existsSync(binaries(version).server);

const fileOf = (version: MariadbVersion): string => version.toLowerCase().replace(' ', '-');

async function own(folder: string): Promise<void> {
  const { uid, gid } = owner();
  if (uid !== undefined) await run('chown', ['-R', `${uid}:${gid}`, folder]);
  await chmod(folder, 0o700);
}

async function templateFolder(version: MariadbVersion): Promise<string> {
  const user = process.getuid?.() === 0 ? 'root' : String(process.getuid?.());
  const name = `holdfast-data-${fileOf(version)}-${user}`;
  return onlyOnce(join(madeOnceFolder, name), async (folder) => {
    const { uid, gid } = owner();
    if (uid !== undefined && gid !== undefined) await chown(folder, uid, gid);
    await binaries(version).install(folder);
  });
}

class Server implements MariadbServer {
  readonly port: number;
  readonly #version: MariadbVersion;
  readonly #folder: string;
  readonly #settings: readonly string[];
  #child: ChildProcess | undefined;
  readonly #atExit = () => {
    this.#child?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  };

  constructor(of: {
    readonly version: MariadbVersion;
    readonly folder: string;
    readonly port: number;
    readonly settings: readonly string[];
  }) {
    this.#version = of.version;
    this.#folder = of.folder;
    this.port = of.port;
    this.#settings = of.settings;
    process.on('exit', this.#atExit);
  }

  get url(): string {
    return `mysql://root@127.0.0.1:${this.port}/`;
  }

  get pid(): number {
    assert(this.#child?.pid !== undefined, 'the server is running');
    return this.#child.pid;
  }

  #arguments(): string[] {
    const folder = this.#folder;
    return [
      '--no-defaults',
      ...binaries(this.#version).own,
      `--datadir=${folder}`,
      `--port=${this.port}`,
      '--bind-address=127.0.0.1',
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--tmpdir=${folder}`,
      '--server-id=1',
      '--log-bin=bin',
      '--binlog-format=ROW',
      '--sync-binlog=1',
      '--innodb-flush-log-at-trx-commit=1',
      '--innodb-buffer-pool-size=64M',
      '--local-infile=1',
      '--skip-name-resolve',
      '--character-set-server=utf8mb4',
      ...this.#settings,
    ];
  }

  async start(): Promise<void> {
    assert.equal(this.#child, undefined, 'the server is not running');
    const { server, libraries } = binaries(this.#version);
    const child = spawn(server, this.#arguments(), {
      ...owner(),
      cwd: this.#folder,
      env: environment(libraries),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child = child;
    let log = '';
    child.stderr?.on('data', (text: Buffer) => {
      log = (log + text.toString()).slice(-4000);
    });
    for (let tries = 0; tries < 1200; tries++) {
      assert.equal(child.exitCode, null, log);
      if (await this.#answers()) return;
      await pause(25);
    }
    assert.fail(`${this.#version} did not start: ${log}`);
  }

  async #answers(): Promise<boolean> {
    try {
      await query(this.url, 'SELECT 1');
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
    // Nothing of it is needed any more: an orderly end would write pages for a second.
    await this.#end('SIGKILL');
    process.off('exit', this.#atExit);
    await rm(this.#folder, { recursive: true, force: true });
  }

  kill(): Promise<void> {
    return this.#end('SIGKILL');
  }

  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.start();
  }
}

/** A new, empty server. `stop` it; if the test dies first it is killed with the process. */
export async function startMariadb(
  version: MariadbVersion = 'MariaDB 10.11',
  settings: readonly string[] = [],
): Promise<MariadbServer> {
  const template = await templateFolder(version);
  const folder = await mkdtemp(join(tmpdir(), `holdfast-${fileOf(version)}-`));
  const server = new Server({ version, folder, port: await freePort(), settings });
  await cp(template, folder, { recursive: true });
  await own(folder);
  await server.start();
  return server;
}

/** Creates an empty database; answers with its URL. */
export async function createMariadb(
  server: Pick<MariadbServer, 'url'>,
  name: string,
): Promise<string> {
  await query(server.url, `CREATE DATABASE \`${name}\` CHARACTER SET utf8mb4`);
  return server.url + name;
}

/** A session of somebody else. */
export const connect = (url: string): Promise<mysql.Connection> =>
  mysql.createConnection({
    uri: url,
    multipleStatements: true,
    dateStrings: true,
    supportBigNumbers: true,
  });

/** Statements on a connection of their own; the rows of the last one. */
export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = await connect(url);
  try {
    const [result, fields] = await client.query(text);
    const isList =
      Array.isArray(fields) && fields.some((of) => of === undefined || Array.isArray(of));
    const last: unknown = isList && Array.isArray(result) ? result.at(-1) : result;
    return Array.isArray(last) ? (last as Record<string, unknown>[]) : [];
  } finally {
    await client.end();
  }
}
