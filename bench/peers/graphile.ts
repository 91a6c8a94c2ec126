// graphile-worker: jobs in the database itself; a submission is one job of 500 rows. (With a job a row
// it is slower by a factor of 30 and more.)
//
// Good at: no other server to run; a job can be made in the transaction of other writes, by SQL too;
// it begins within milliseconds; retries, a crontab.
//
// Acknowledged: the job is committed, with fsync: disk. A job is done when its rows are committed, by
// a statement of its own: a worker killed in between does it again, so rows come at least once.
// Jobs of a killed worker are locked for 4 hours (its Pro version notices earlier): here they are
// unlocked by hand when the next one starts, as is right where no other worker can be running.
import { connect } from '../../test/support/postgres.ts';
import { openUtils, task } from './graphile-library.ts';
import { Mover } from './mover.ts';
import { lackOfPackages } from './packages.ts';
import type { OpenPeer, Peer, Place } from './peer.ts';
import { paymentsOf } from './rows.ts';

async function open({ ground, url }: Place): Promise<OpenPeer> {
  const utils = await openUtils(url);
  await utils.migrate();
  const client = await connect(url);
  const program = { file: 'peers/graphile-worker.ts', argument: { url } };
  const mover = await Mover.start(ground, program);
  return {
    async submit(unit) {
      await utils.addJob(task, { rows: paymentsOf(unit) });
    },
    crash: () => mover.crash(),
    restart: () => mover.restart(),
    async waiting() {
      const { rows } = await client.query<{ count: string }>(
        'SELECT count(*) FROM graphile_worker.jobs',
      );
      return Number(rows[0]?.count);
    },
    async close() {
      await mover.end();
      await client.end();
      await utils.release();
    },
  };
}

export const graphileWorker: Peer = {
  name: 'graphileWorker',
  acknowledges: 'disk',
  unitRows: 500,
  inFlight: 4,
  rows: 300_000,
  lack: lackOfPackages,
  open,
};
