// confirm: 'standby' on a real PostgreSQL: whose flush counts, and who may see it.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, type TestContext, test } from 'node:test';
import { open } from '../src/holdfast.ts';
import { pause } from './support/machine.ts';
import { debian15, hasPostgres, type PostgresServer, startPostgres } from './support/postgres.ts';
import { Rig } from './support/postgres-rig.ts';
import { openStore, type Servers } from './support/stores.ts';
import { reasonOfHold, streamWhere } from './support/waits.ts';

const missing = 'Debian’s PostgreSQL 15 IS MISSING: NOTHING TESTED';
const needs = { skip: hasPostgres('15') || process.env['CI'] ? false : missing };

let server: PostgresServer;
let rig: Rig;
before(async () => {
  if (needs.skip !== false) return;
  server = await startPostgres('15');
  rig = new Rig(server.url, { positions: true });
  await rig.sql("ALTER SYSTEM SET wal_level = 'logical'");
  await server.restart();
  await rig.sql('CREATE TABLE t (id bigint PRIMARY KEY)');
});
after(async () => {
  await rig?.close();
  await server?.stop();
});

/** A program that receives the server's log and says how far it has flushed it. */
function receiving(t: TestContext, program: string, args: readonly string[]): ChildProcess {
  const child = spawn(join(debian15, program), [...args, '-d', server.url], { stdio: 'ignore' });
  t.after(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  return child;
}

/** How many rows of the view would count if all did. */
const seen = async (position: string): Promise<number> =>
  (
    await rig.sql(`SELECT FROM pg_stat_replication
      WHERE state = 'streaming' AND flush_lsn >= '${position}'`)
  ).length;

async function reached(position: string, count: number): Promise<void> {
  while ((await seen(position)) < count) await pause(50);
}

test('only the flush of a standby confirms: no decoder’s, no archiver’s', needs, async (t) => {
  const stream = await rig.stream('t');
  const { position } = await stream.session.merge(stream.batch([{ id: 1n }]), 'optimistic');
  await rig.sql(`SELECT pg_create_logical_replication_slot('decoder', 'test_decoding')`);
  receiving(t, 'pg_recvlogical', ['--slot=decoder', '--start', '-f', '-', '-s', '1', '-F', '1']);
  await reached(position, 1);
  assert.equal(await stream.session.isReplicated(position), false, 'a logical slot is no copy');

  const folder = await mkdtemp(join(tmpdir(), 'holdfast-archive-'));
  t.after(() => rm(folder, { recursive: true }));
  await chmod(folder, 0o700);
  receiving(t, 'pg_receivewal', ['-D', folder, '--synchronous', '-s', '1']);
  await reached(position, 2);
  assert.equal(await stream.session.isReplicated(position), false, 'an archive is no standby');

  const standby = await server.standby();
  t.after(() => standby.stop());
  await reached(position, 3);
  assert.equal(await stream.session.isReplicated(position), true);
});

test('a role that may not see its standbys is told what to GRANT', needs, async (t) => {
  const servers = { postgres: server } as Servers;
  const streams = { t: { table: 't', key: ['id'] } };
  const store = await openStore(t, { dialect: 'PostgreSQL', servers, streams, confirm: 'standby' });
  await store.sql(`CREATE ROLE "a writer" LOGIN; GRANT CREATE ON SCHEMA public TO "a writer";
    CREATE TABLE t (id bigint PRIMARY KEY); GRANT ALL ON t TO "a writer"`);
  const target = store.options.target.replace('postgres@', 'a%20writer@');
  const openAs = () => open({ ...store.options, target });
  const told = /confirm: 'standby' .* GRANT pg_read_all_stats TO "a writer"\. \(42501\)/;
  await assert.rejects(openAs(), { name: 'HoldfastError', code: 'HF_TARGET', message: told });

  await store.sql('GRANT pg_monitor TO "a writer"');
  const first = await openAs();
  await (await first.write('t', { id: 1 })).settled;
  await first.close({ drainMs: 0 });

  await store.sql('REVOKE pg_monitor FROM "a writer"');
  // Its table is known now: it opens, and the stream says what is missing until it is there.
  const again = await openAs();
  t.after(() => again.close({ drainMs: 0 }));
  assert.match(await reasonOfHold(again, 't'), told);
  await store.sql('GRANT pg_read_all_stats TO "a writer"');
  await streamWhere(again, 't', ({ state }) => state === 'running');
});
