// MariaDB 10.11 for benches: each commit synced, in the binary log and in InnoDB's; else as it comes.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';

export interface MariadbServer {
  /** As root, without a database. */
  readonly url: string;
  stop(): Promise<void>;
}

/** Where Debian puts them. */
const installer = '/usr/bin/mariadb-install-db';
const program = '/usr/sbin/mariadbd';

const number = (flag: string): number =>
  Number(execFileSync('id', [flag, 'mysql'], { encoding: 'utf8' }));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return address.port;
}

async function answers(url: string): Promise<boolean> {
  try {
    const connection = await mysql.createConnection(url);
    await connection.end();
    return true;
  } catch {
    return false;
  }
}

export async function startMariadb(): Promise<MariadbServer> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-mariadb-'));
  const user = process.getuid?.() === 0 ? { uid: number('-u'), gid: number('-g') } : {};
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid);
  const port = await freePort();
  const own = ['--no-defaults', `--datadir=${folder}`, '--skip-name-resolve'];
  const install = ['--auth-root-authentication-method=normal', '--skip-test-db'];
  execFileSync(installer, [...own, ...install], { ...user, stdio: 'ignore' });
  const sockets = [`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${folder}/socket`];
  const log = ['--server-id=1', '--log-bin=bin', '--binlog-format=ROW', '--sync-binlog=1'];
  const more = ['--innodb-flush-log-at-trx-commit=1', '--character-set-server=utf8mb4'];
  const child = spawn(
    program,
    [...own, ...sockets, ...log, ...more, '--local-infile=1', `--pid-file=${folder}/pid`],
    { ...user, stdio: 'ignore' },
  );
  const url = `mysql://root@127.0.0.1:${port}`;
  const kill = (): void => void child.kill('SIGKILL');
  process.on('exit', kill);
  for (let tries = 0; !(await answers(url)); tries++) {
    if (tries === 400 || child.exitCode !== null) throw new Error('MariaDB did not start');
    await sleep(25);
  }
  return {
    url,
    async stop() {
      process.off('exit', kill);
      await end(child);
      rmSync(folder, { recursive: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  await exited;
}
