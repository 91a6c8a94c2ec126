// pg-boss: jobs in the database itself; a submission is one job of 500 rows. (With a job a row it is
// slower by a factor of 20 and more.)
//
// Good at: no other server to run; a job can be made in the transaction of other writes, and be
// completed in the transaction of its work, as its documents describe and as is done here: then
// the rows of a job are there exactly once. Retries, schedules, dead letters, a dashboard.
//
// Acknowledged: the job is committed, with fsync: disk. Rows are written to the database twice, as
// jobs and to the table. Jobs of a worker that was killed come again when their time has run out:
// 15 minutes by default, 5 s here.
import { Mover } from './mover.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { openBoss, queue } from './pg-boss-library.ts';
import { paymentsOf } from './rows.ts';

const expireInSeconds = 5;

async function open({ ground, url, run }: Place): Promise<OpenPeer> {
  const boss = await openBoss(url, run);
  await boss.createQueue(queue, { expireInSeconds });
  const program = { file: 'peers/pg-boss-worker.ts', argument: { url, run } };
  const mover = await Mover.start(ground, program);
  return {
    async submit(unit) {
      await boss.send(queue, { rows: paymentsOf(unit) });
    },
    crash: () => mover.crash(),
    restart: () => mover.restart(),
    async close() {
      await mover.end();
      await boss.stop({ graceful: false });
    },
  };
}

export const pgBoss: Peer = {
  name: 'pgBoss',
  acknowledges: 'disk',
  unitRows: 500,
  inFlight: 4,
  rows: 300_000,
  lack: lackOfPackages,
  open,
};
