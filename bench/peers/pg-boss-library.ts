// pg-boss, as far as bench peers calls it.
import { loadPackage } from './packages.ts';
import type { Place } from './peer.ts';

export interface Job {
  readonly id: string;
  readonly data: unknown;
}

interface Database {
  executeSql(text: string, values: unknown[]): Promise<{ rows: unknown[] }>;
}

export interface Boss {
  on(event: 'error', listener: (error: Error) => void): unknown;
  start(): Promise<unknown>;
  stop(options: { readonly graceful: boolean }): Promise<void>;
  createQueue(name: string, options: { readonly expireInSeconds: number }): Promise<void>;
  send(name: string, data: object): Promise<string | null>;
  fetch(name: string, options: { readonly batchSize: number }): Promise<Job[]>;
  complete(
    name: string,
    ids: readonly string[],
    result: null,
    options: { readonly db: Database },
  ): Promise<{ readonly affected: number }>;
}

interface Options {
  readonly connectionString: string;
  readonly superviseIntervalSeconds: number;
  readonly monitorIntervalSeconds: number;
}

export const queue = 'payments';

/** By default it looks every minute for jobs whose worker is gone; when kills are tested, every second. */
export async function openBoss(url: string, run: Place['run']): Promise<Boss> {
  const { PgBoss } = await loadPackage<{ PgBoss: new (options: Options) => Boss }>('pg-boss');
  const seconds = run === 'kills' ? 1 : 60;
  const boss = new PgBoss({
    connectionString: url,
    superviseIntervalSeconds: seconds,
    monitorIntervalSeconds: seconds,
  });
  boss.on('error', (error) => {
    throw error;
  });
  await boss.start();
  return boss;
}
