// A folder with a configuration of a staged stream, `payments`, beside a direct one, on PostgreSQL.
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { open } from '../../src/holdfast.ts';
import type { OpenOptions, StreamOptions } from '../../src/options.ts';
import type { Holdfast } from '../../src/types.ts';
import { openShop, type Shop } from './command-line.ts';
import { createDatabase, type PostgresServer, query } from './postgres.ts';
import { streamWhere } from './waits.ts';

const tables = `
  CREATE TABLE payments (tx_id bigint PRIMARY KEY, note text, extra json);
  CREATE TABLE plain (id bigint PRIMARY KEY)`;

export interface Store extends Shop {
  readonly options: OpenOptions;
  sql(statement: string): Promise<Record<string, unknown>[]>;
  /** Opened, and closed with the test. */
  open(payments?: Partial<StreamOptions>): Promise<Holdfast>;
}

let made = 0;

export async function openStagedStore(t: TestContext, server: PostgresServer): Promise<Store> {
  const shop = openShop(t, null);
  made++;
  const url = await createDatabase(server, `staging_${made}`);
  await query(url, tables);
  const staged = {
    table: 'payments',
    key: ['tx_id'],
    route: 'staged',
    mergeEveryMs: 50,
    // Else the server's own upkeep drops the days, a minute after its start.
    stagingRetention: '30d',
  } as const;
  const options: OpenOptions = {
    journal: join(shop.folder, 'journal'),
    target: url,
    streams: { payments: { ...staged, lanes: 4 }, plain: { table: 'plain', key: ['id'] } },
  };
  shop.write('holdfast.config.json', JSON.stringify(options));
  const opened: Holdfast[] = [];
  t.after(() => Promise.all(opened.map((holdfast) => holdfast.close({ drainMs: 0 }))));
  return {
    ...shop,
    options,
    sql: (statement) => query(url, statement),
    open: async (payments) => {
      const streams = { ...options.streams, payments: { ...staged, lanes: 4, ...payments } };
      const holdfast = await open({ ...options, streams });
      opened.push(holdfast);
      return holdfast;
    },
  };
}

/** `count` payments from `first` on, in calls of 5,000 rows. */
export async function write(holdfast: Holdfast, first: number, count: number): Promise<void> {
  for (let from = first; from < first + count; from += 5_000) {
    const to = Math.min(from + 5_000, first + count);
    let lines = '';
    for (let id = from; id < to; id++) lines += `{"tx_id":${id},"note":"payment ${id}"}\n`;
    await holdfast.writeBytes('payments', Buffer.from(lines), { format: 'ndjson' });
  }
}

export const staged = (holdfast: Holdfast) =>
  streamWhere(holdfast, 'payments', ({ accepted, watermarks }) => watermarks.staged === accepted);

export const confirmed = (holdfast: Holdfast) =>
  streamWhere(
    holdfast,
    'payments',
    ({ accepted, watermarks }) => watermarks.confirmed === accepted,
  );
