// A connection that only one side knows to be lost must not keep a stream from its table.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { systemDisk } from '../../src/disk.ts';
import { open } from '../../src/holdfast.ts';
import { postgresTarget } from '../../src/target/postgres/target.ts';
import { temporaryFolder } from '../support/journals.ts';
import { type PostgresServer, query, startPostgres } from '../support/postgres.ts';
import { startProxy } from '../support/proxy.ts';

let server: PostgresServer;
before(async () => {
  server = await startPostgres();
});
after(() => server.stop());

test('a server that waits for the rows of a lost connection does not hold its lanes', async (t) => {
  await query(server.url, 'CREATE TABLE rows (id bigint)');
  const proxy = await startProxy(server.port, 'postgres');
  t.after(() => proxy.close());
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const url = server.url.replace(`:${server.port}/`, `:${proxy.port}/`);
  // Neither its statement_timeout nor its idle timeout ends a COPY that waits for rows.
  const deadlines = { answerMsMax: 1_500, lockMsMax: 500, resolveLockMsMax: 200 };
  const target = postgresTarget(url, { clock: systemClock, ...deadlines });
  const holdfast = await open(
    { journal: folder.path, target: url, streams: { rows: { table: 'rows' } } },
    { disk: systemDisk, clock: systemClock, target },
  );
  t.after(() => holdfast.close({ drainMs: 0 }));
  const strike = proxy.strike('hang', ({ text }) => text.includes('COPY "rows"'));
  const { settled } = await holdfast.write('rows', { id: 1 });
  await strike.hit;
  const inTransaction = 'SELECT pid FROM pg_stat_activity WHERE xact_start < now()';
  const waiting = await query(server.url, inTransaction);
  assert.equal(waiting.length, 1, 'the server waits for rows, and keeps the lanes');
  assert.equal((await settled).merged, 1);
  assert.deepEqual(await query(server.url, inTransaction), [], 'it was ended');
  assert.equal((await query(server.url, 'SELECT FROM rows')).length, 1);
});
