// A server of PostgreSQL or MariaDB with a database for tests, alone or with a standby that can
// take over: one shape for what happens to both.

import { pause } from './machine.ts';
import * as mariadb from './mariadb.ts';
import * as postgres from './postgres.ts';

export const engines = ['PostgreSQL', 'MariaDB'] as const;
export type Engine = (typeof engines)[number];

export interface DatabaseServer {
  readonly engine: Engine;
  readonly port: number;
  /** Statements on the database by a connection that is not ours; the rows of the last. */
  sql(text: string): Promise<Record<string, unknown>[]>;
  /** After a kill. */
  start(): Promise<void>;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export interface Pair {
  readonly primary: DatabaseServer;
  readonly standby: DatabaseServer;
  /** Waits until the standby has all that the primary has committed. */
  catchUp(): Promise<void>;
  /** The standby follows no more, and may take over as it is. */
  standStill(): Promise<void>;
  /** The primary is killed, and the standby takes writes with what it has. */
  failOver(): Promise<void>;
  stop(): Promise<void>;
}

/** Of a database on servers at these ports of this machine. */
export function targetUrl(engine: Engine, ports: readonly number[]): string {
  const hosts = ports.map((port) => `127.0.0.1:${port}`).join();
  return engine === 'PostgreSQL'
    ? `postgres://postgres@${hosts}/postgres`
    : `mysql://root@${hosts}/shop`;
}

function asServer(
  engine: Engine,
  server: postgres.PostgresServer | mariadb.MariadbServer,
): DatabaseServer {
  const url = targetUrl(engine, [server.port]);
  const { query } = engine === 'PostgreSQL' ? postgres : mariadb;
  return {
    engine,
    port: server.port,
    sql: (text) => query(url, text),
    start: () => server.start(),
    kill: () => server.kill(),
    stop: () => server.stop(),
  };
}

/** Room for the sessions of many processes' worth of streams. */
const settings = ['--max-connections=500', '--log-slave-updates'];

const startMariadb = (more: readonly string[] = []): Promise<mariadb.MariadbServer> =>
  mariadb.startMariadb('MariaDB 10.11', [...settings, ...more]);

/** With an empty database. `stop` it; it dies with the process at the latest. */
export async function startServer(engine: Engine): Promise<DatabaseServer> {
  if (engine === 'PostgreSQL') return asServer(engine, await postgres.startPostgres());
  const server = await startMariadb();
  await mariadb.createMariadb(server, 'shop');
  return asServer(engine, server);
}

/** Two of them, of which the second follows the first, asynchronously. */
export function startPair(engine: Engine): Promise<Pair> {
  return engine === 'PostgreSQL' ? postgresPair() : mariadbPair();
}

/** Where the second does not start, the first does not stay. */
async function beside<T>(
  first: { readonly stop: () => Promise<void> },
  start: () => Promise<T>,
): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await first.stop();
    throw error;
  }
}

async function postgresPair(): Promise<Pair> {
  const first = await postgres.startPostgres();
  const second = await beside(first, () => first.standby());
  const primary = asServer('PostgreSQL', first);
  const standby = asServer('PostgreSQL', second);
  return {
    primary,
    standby,
    catchUp: async () => {
      const [row] = await primary.sql('SELECT pg_current_wal_insert_lsn() AS lsn');
      const reached = `SELECT pg_last_wal_replay_lsn() >= '${String(row?.['lsn'])}' AS reached`;
      while ((await standby.sql(reached))[0]?.['reached'] !== true) await pause(10);
    },
    standStill: async () => {
      await standby.sql("ALTER SYSTEM SET primary_conninfo = ''");
      await standby.sql('SELECT pg_reload_conf()');
      while ((await standby.sql('SELECT 1 FROM pg_stat_wal_receiver')).length > 0) await pause(10);
    },
    failOver: async () => {
      await first.kill();
      // Without waiting there: its snapshot would stand in the way of the replay that it waits for.
      await standby.sql('SELECT pg_promote(false)');
      const isStandby = 'SELECT pg_is_in_recovery() AS "isIt"';
      while ((await standby.sql(isStandby))[0]?.['isIt'] === true) await pause(10);
    },
    stop: async () => {
      await second.stop();
      await first.stop();
    },
  };
}

async function mariadbPair(): Promise<Pair> {
  const first = await startMariadb();
  // It begins as the first did, empty, and reads all of its log.
  const second = await beside(first, () => startMariadb(['--server-id=2', '--read-only']));
  const stop = async (): Promise<void> => {
    await second.stop();
    await first.stop();
  };
  return beside({ stop }, async () => {
    await mariadb.query(
      second.url,
      `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${first.port},
         MASTER_USER = 'root', MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1;
       START SLAVE`,
    );
    await mariadb.createMariadb(first, 'shop');
    const primary = asServer('MariaDB', first);
    const catchUp = async (): Promise<void> => {
      const [row] = await primary.sql('SELECT @@gtid_binlog_pos AS pos');
      // Of no database: there may be none yet.
      const reached = () => mariadb.query(second.url, 'SELECT @@gtid_slave_pos AS pos');
      while ((await reached())[0]?.['pos'] !== row?.['pos']) await pause(10);
    };
    await catchUp();
    const standby = asServer('MariaDB', second);
    return {
      primary,
      standby,
      catchUp,
      standStill: async () => {
        await standby.sql('STOP SLAVE');
      },
      failOver: async () => {
        await first.kill();
        await standby.sql('STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0');
      },
      stop,
    };
  });
}
