// BullMQ: jobs in Redis; a submission is one job of 500 rows, which its worker inserts at once. (A
// worker that takes many jobs at once belongs to its Pro version; with a job a row the open one is
// many times slower.)
//
// Good at: the database may be away while jobs are taken; priorities, rate limits, flows of jobs,
// schedules, and a large community.
//
// Acknowledged: in the append-only file of Redis, synced (redis.ts): disk. The same `jobId` is added
// once as long as that job is kept. A worker that is killed between the insert and the end of its
// job has it done again, after its lock has run out and that was noticed (30 s each by default, 5 s
// here): rows come at least once.
import { loadBullmq, queue } from './bullmq-library.ts';
import { Mover } from './mover.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { lackOfRedis, startRedis } from './redis.ts';
import { paymentsOf } from './rows.ts';

/** Its documents: a handful, to see the last ones. */
const kept = { count: 100 };

async function open({ ground, url, run }: Place): Promise<OpenPeer> {
  const redis = await startRedis(ground, `redis-${run}`);
  const { Queue } = await loadBullmq();
  const jobs = new Queue(queue, { connection: { path: redis.socket } });
  const argument = { url, socket: redis.socket };
  const mover = await Mover.start(ground, { file: 'peers/bullmq-worker.ts', argument });
  return {
    async submit(unit) {
      const options = { jobId: `payments-${unit.first}`, removeOnComplete: kept };
      await jobs.add('insert', { rows: paymentsOf(unit) }, options);
    },
    crash: () => mover.crash(),
    restart: () => mover.restart(),
    async waiting() {
      const counts = await jobs.getJobCounts('waiting', 'active', 'delayed', 'prioritized');
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    async close() {
      await mover.end();
      await jobs.close();
      await redis.program.end();
    },
  };
}

export const bullmq: Peer = {
  name: 'bullmq',
  acknowledges: 'disk',
  unitRows: 500,
  inFlight: 4,
  rows: 300_000,
  lack: async () => lackOfRedis() ?? (await lackOfPackages()),
  open,
};
