// The worker of BullMQ: each job's rows by one insert.
import pg from 'pg';
import { answerCalls } from '../children.ts';
import { loadBullmq, queue } from './bullmq-library.ts';
import { insertUnnested } from './insert.ts';
import type { Payment } from './rows.ts';

const concurrency = 4;
const stalledMs = 5_000;

interface Start {
  readonly url: string;
  readonly socket: string;
}

async function start({ url, socket }: Start): Promise<void> {
  const pool = new pg.Pool({ connectionString: url, max: concurrency });
  const { Worker } = await loadBullmq();
  const work = ({ data }: { readonly data: unknown }): Promise<void> =>
    insertUnnested(pool, (data as { readonly rows: readonly Payment[] }).rows);
  const worker = new Worker(queue, work, {
    connection: { path: socket },
    concurrency,
    lockDuration: stalledMs,
    stalledInterval: stalledMs,
  });
  worker.on('error', (error) => {
    throw error;
  });
}

answerCalls({ start });
