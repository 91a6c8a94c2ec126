// A folder with a configuration and a database of any dialect, for tests that do not care which.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { OpenOptions } from '../../src/options.ts';
import { openShop, type Shop } from './command-line.ts';
import * as mariadb from './mariadb.ts';
import * as postgres from './postgres.ts';

/** A database, and the route to it where that is not the direct one. */
export type Dialect =
  | 'PostgreSQL'
  | 'PostgreSQL, staged'
  | 'MariaDB'
  | 'MariaDB, staged'
  | 'SQLite';
export const dialects: readonly Dialect[] = [
  'PostgreSQL',
  'PostgreSQL, staged',
  'MariaDB',
  'MariaDB, staged',
  'SQLite',
];

export const isMariadb = (dialect: Dialect): boolean => dialect.startsWith('MariaDB');

/** Merges come soon, so that tests do. */
function routed(dialect: Dialect, streams: OpenOptions['streams']): OpenOptions['streams'] {
  if (!dialect.endsWith('staged')) return streams;
  const route = { route: 'staged', mergeEveryMs: 50 } as const;
  const all = Object.entries(streams).map(([name, stream]) => [name, { ...route, ...stream }]);
  return Object.fromEntries(all) as OpenOptions['streams'];
}

/** The servers that stores are made on. */
export interface Servers {
  readonly postgres: postgres.PostgresServer;
  readonly mariadb: mariadb.MariadbServer;
  stop(): Promise<void>;
}

export async function startServers(): Promise<Servers> {
  const own = {
    postgres: await postgres.startPostgres(),
    mariadb: await mariadb.startMariadb(),
  };
  return {
    ...own,
    stop: async () => {
      await own.postgres.stop();
      await own.mariadb.stop();
    },
  };
}

export interface Store extends Shop {
  /** A complete configuration, also written to the folder's holdfast.config.json. */
  readonly options: OpenOptions;
  /** One statement on the database itself, by a connection that is not ours. */
  sql(statement: string): Promise<Record<string, unknown>[]>;
}

let made = 0;

export interface StoreOptions extends Partial<Omit<OpenOptions, 'journal' | 'target'>> {
  readonly dialect: Dialect;
  readonly servers: Servers;
}

/** A new database, and how to ask it; SQLite's stands in the shop's folder already. */
async function createStore(dialect: Dialect, servers: Servers, shop: Shop) {
  made++;
  const name = `store_${made}`;
  if (dialect.startsWith('PostgreSQL')) {
    const url = await postgres.createDatabase(servers.postgres, name);
    return { url, sql: (statement: string) => postgres.query(url, statement) };
  }
  if (isMariadb(dialect)) {
    const url = await mariadb.createMariadb(servers.mariadb, name);
    return { url, sql: (statement: string) => mariadb.query(url, statement) };
  }
  const url = `sqlite:${join(shop.folder, 'shop.db')}`;
  return { url, sql: async (statement: string) => shop.query(statement) };
}

/** All of it goes away with the test, but for the database, which goes with its server. */
export async function openStore(t: TestContext, given: StoreOptions): Promise<Store> {
  const { dialect, servers, streams = {}, ...rest } = given;
  const shop = openShop(t, null);
  const { url, sql } = await createStore(dialect, servers, shop);
  const options: OpenOptions = {
    ...rest,
    streams: routed(dialect, streams),
    journal: join(shop.folder, 'journal'),
    target: url,
    limits: { segmentBytes: 4 * 1024 * 1024, ...rest.limits },
    server: { port: 0, ...rest.server },
  };
  shop.write('holdfast.config.json', JSON.stringify(options));
  return { ...shop, options, sql };
}

/** The one number that a statement answers with. */
export async function number(store: Pick<Store, 'sql'>, statement: string): Promise<number> {
  const [row = {}] = await store.sql(statement);
  return Number(Object.values(row)[0]);
}
