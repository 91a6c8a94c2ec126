// The worker of graphile-worker, with the batching that its documents recommend for high throughput.

import { connect } from '../../test/support/postgres.ts';
import { answerCalls } from '../children.ts';
import { openUtils, runWorker, task } from './graphile-library.ts';
import { insertUnnested } from './insert.ts';
import type { Payment } from './rows.ts';

const concurrentJobs = 4;
const worker = {
  concurrentJobs,
  localQueue: { size: concurrentJobs + 1 },
  completeJobBatchDelay: 25,
  failJobBatchDelay: 25,
};

/** Nobody else works here: who holds jobs was killed. */
async function unlockAll(url: string): Promise<void> {
  const client = await connect(url);
  const { rows } = await client.query<{ locked_by: string }>(
    'SELECT DISTINCT locked_by FROM graphile_worker.jobs WHERE locked_by IS NOT NULL',
  );
  await client.end();
  const utils = await openUtils(url);
  await utils.forceUnlockWorkers(rows.map(({ locked_by }) => locked_by));
  await utils.release();
}

async function start({ url }: { readonly url: string }): Promise<void> {
  await unlockAll(url);
  await runWorker(url, {
    noHandleSignals: true,
    preset: { worker },
    taskList: {
      [task]: (payload: { readonly rows: readonly Payment[] }, helpers) =>
        helpers.withPgClient((client) => insertUnnested(client, payload.rows)),
    },
  });
}

answerCalls({ start });
