// The worker of pg-boss: fetches jobs, inserts their rows and completes them in one transaction.
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { answerCalls } from '../children.ts';
import { insertUnnested } from './insert.ts';
import type { Place } from './peer.ts';
import { type Boss, type Job, openBoss, queue } from './pg-boss-library.ts';
import type { Payment } from './rows.ts';

const loops = 4;
const batchSize = 10;
/** Its own workers ask every 2 s, or at best every half second. */
const pollMs = 20;

interface Start {
  readonly url: string;
  readonly run: Place['run'];
}

async function start({ url, run }: Start): Promise<void> {
  const boss = await openBoss(url, run);
  const pool = new pg.Pool({ connectionString: url, max: loops });
  for (let i = 0; i < loops; i++) void work(boss, pool, { isWatch: i === 0 });
}

/** Until there is work again. */
let idle = Promise.withResolvers<void>();

/** One keeps asking an empty queue, so that it costs those little who are measured meanwhile. */
async function work(boss: Boss, pool: pg.Pool, { isWatch }: { readonly isWatch: boolean }) {
  for (;;) {
    const jobs = await boss.fetch(queue, { batchSize });
    if (jobs.length === 0) await (isWatch ? sleep(pollMs) : idle.promise);
    else {
      idle.resolve();
      idle = Promise.withResolvers<void>();
      await insertAndComplete(boss, pool, jobs);
    }
  }
}

async function insertAndComplete(boss: Boss, pool: pg.Pool, jobs: readonly Job[]): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const data = jobs.map((job) => job.data as { readonly rows: readonly Payment[] });
    await insertUnnested(
      client,
      data.flatMap(({ rows }) => rows),
    );
    const ids = jobs.map(({ id }) => id);
    const db = { executeSql: (text: string, values: unknown[]) => client.query(text, values) };
    const { affected } = await boss.complete(queue, ids, null, { db });
    // A job whose time ran out is not ours any more: another worker has it.
    await client.query(affected === jobs.length ? 'COMMIT' : 'ROLLBACK');
  } finally {
    client.release();
  }
}

answerCalls({ start });
