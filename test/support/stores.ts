// A folder with a configuration and a database of either dialect, for tests that do not care which.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { OpenOptions } from '../../src/options.ts';
import { openShop, type Shop } from './command-line.ts';
import { createDatabase, type PostgresServer, query } from './postgres.ts';

export type Dialect = 'PostgreSQL' | 'SQLite';
export const dialects: readonly Dialect[] = ['PostgreSQL', 'SQLite'];

export interface Store extends Shop {
  /** A complete configuration, also written to the folder's holdfast.config.json. */
  readonly options: OpenOptions;
  /** One statement on the database itself, by a connection that is not ours. */
  sql(statement: string): Promise<Record<string, unknown>[]>;
}

let made = 0;

export interface StoreOptions extends Partial<Omit<OpenOptions, 'journal' | 'target'>> {
  readonly dialect: Dialect;
  /** Where databases of PostgreSQL are made. */
  readonly postgres: PostgresServer;
}

/** All of it goes away with the test, but for the database, which goes with its server. */
export async function openStore(t: TestContext, given: StoreOptions): Promise<Store> {
  const { dialect, postgres, ...rest } = given;
  const shop = openShop(t, null);
  made++;
  const url =
    dialect === 'PostgreSQL' ? await createDatabase(postgres, `store_${made}`) : undefined;
  const options: OpenOptions = {
    streams: {},
    ...rest,
    journal: join(shop.folder, 'journal'),
    target: url ?? `sqlite:${join(shop.folder, 'shop.db')}`,
    limits: { segmentBytes: 4 * 1024 * 1024, ...rest.limits },
    server: { port: 0, ...rest.server },
  };
  shop.write('holdfast.config.json', JSON.stringify(options));
  const sql = async (statement: string) =>
    url === undefined ? shop.query(statement) : query(url, statement);
  return { ...shop, options, sql };
}

/** The one number that a statement answers with. */
export async function number(store: Pick<Store, 'sql'>, statement: string): Promise<number> {
  const [row = {}] = await store.sql(statement);
  return Number(Object.values(row)[0]);
}
