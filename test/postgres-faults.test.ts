// PostgreSQL in bad times: connections cut at every point of a commit, old sessions that wake up,
// standbys, an old primary that comes back.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { systemClock } from '../src/clock.ts';
import { postgresTarget } from '../src/target/postgres/target.ts';
import type { Rung } from '../src/target/target.ts';
import { createDatabase, type PostgresServer, query, startPostgres } from './support/postgres.ts';
import { Rig } from './support/postgres-rig.ts';
import { type Fault, type FaultProxy, startProxy } from './support/proxy.ts';
import { fails, rungs } from './support/target-stream.ts';
import type { Turn } from './support/turns.ts';

let server: PostgresServer;
let proxy: FaultProxy;
/** The statement that ends a transaction, not the words in ON COMMIT DELETE ROWS. */
const commits = ({ text }: Turn): boolean => text.startsWith('COMMIT;');
/** Straight to the server, and through the proxy with short deadlines. */
let direct: Rig;
let faulty: Rig;
before(async () => {
  server = await startPostgres();
  proxy = await startProxy(server.port, 'postgres');
  const url = await createDatabase(server, 'faults');
  direct = new Rig(url, { resolveLockMsMax: 200 });
  const through = url.replace(`:${server.port}/`, `:${proxy.port}/`);
  faulty = new Rig(through, { answerMsMax: 1500 });
});
after(async () => {
  proxy.release();
  await faulty.close();
  await direct.close();
  await proxy.close();
  await server.stop();
});

let made = 0;
/** Without a key nothing but the books protects against doubling. */
async function looseTable(): Promise<string> {
  made++;
  await direct.sql(`CREATE TABLE loose_${made} (id bigint)`);
  return `loose_${made}`;
}

const count = async (table: string): Promise<number> =>
  (await direct.sql(`SELECT * FROM ${table}`)).length;

/** A session of somebody else, who holds locks. */
async function newHolder(): Promise<pg.Client> {
  const holder = new pg.Client({ connectionString: direct.url });
  await holder.connect();
  return holder;
}

const rows = [{ id: 1n }, { id: 2n }];

const cuts: readonly (readonly [Fault, number, string])[] = [
  ['before', 0, 'cut before COMMIT arrives'],
  ['after', 1, 'cut after COMMIT'],
  ['half', 1, 'cut in the answer to COMMIT'],
  ['hang', 1, 'hanging after COMMIT'],
];
for (const [fault, committed, how] of cuts) {
  for (const rung of rungs) {
    test(`a connection ${how} is ambiguous, and its fate is found (${rung})`, async () => {
      const table = await looseTable();
      const stream = await faulty.stream(table);
      const batch = stream.batch(rows);
      const suspect = stream.session.id;
      const strike = proxy.strike(fault, commits);
      await assert.rejects(stream.merge(rung, rows), fails('ambiguous'));
      assert(strike.isHit);
      await assert.rejects(stream.session.lanes(stream.id), fails('lost'));
      stream.session = await direct.connect();
      const lanes = await stream.session.resolve(batch, suspect);
      assert.deepEqual(
        lanes.map((lane) => lane.settled),
        [committed * 2],
      );
      if (committed === 0) await stream.merge(rung, rows);
      assert.equal(await count(table), 2);
    });
  }
}

test('a connection cut among the rows is lost, and nothing is written', async () => {
  const table = await looseTable();
  for (const rung of rungs) {
    const stream = await faulty.stream(table);
    proxy.strike('before', ({ isRows }) => isRows);
    await assert.rejects(stream.merge(rung, rows), fails('lost'));
    stream.session = await direct.connect();
    assert.equal(await stream.settled(), 0);
  }
  assert.equal(await count(table), 0);
});

test('an old session that wakes up after its batch was sent again is dead (P1)', async () => {
  const table = await looseTable();
  // With the usual deadlines: the server would not end the session by itself for a long time.
  const patient = new Rig(faulty.url);
  const stream = await patient.stream(table);
  const batch = stream.batch(rows);
  const suspect = stream.session.id;
  const { hit } = proxy.strike('hold', commits);
  const merged = stream.merge('optimistic', rows);
  await hit;
  stream.session.destroy();
  await assert.rejects(merged, fails('ambiguous'));
  await patient.close();
  stream.session = await direct.connect();
  // The old session holds the lanes: it is waited for, then ended.
  const [lane] = await stream.session.resolve(batch, suspect);
  assert.equal(lane?.settled, 0);
  await stream.merge('optimistic', rows);
  proxy.release();
  const other = await direct.connect();
  assert.equal((await other.resolve(batch, suspect))[0]?.settled, 2);
  assert.equal(await count(table), 2);
});

test('a session that is not the suspect is waited for in vain, and left alone', async () => {
  const table = await looseTable();
  const stream = await direct.stream(table);
  const batch = stream.batch(rows);
  const holder = await newHolder();
  const found = await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  await holder.query(`BEGIN; SELECT FROM holdfast_lanes WHERE stream = '${stream.id.stream}'
    FOR UPDATE`);
  // Its pid, but another start: somebody else had that pid once.
  const suspect = `${found.rows[0]?.pid} 2020-01-01 00:00:00+00`;
  await assert.rejects(stream.session.resolve(batch, suspect), fails('transient'));
  await holder.query('COMMIT');
  assert.equal((await stream.session.resolve(batch, suspect))[0]?.settled, 0);
  await holder.end();
});

test('a terminated session is lost, and the next one works (57P01)', async () => {
  const table = await looseTable();
  const stream = await direct.stream(table);
  const [pid] = stream.session.id.split(' ');
  await direct.sql(`SELECT pg_terminate_backend(${pid}, 5000)`);
  await assert.rejects(stream.merge('optimistic', rows), fails('lost'));
  stream.session = await direct.connect();
  assert.deepEqual(await stream.merge('optimistic', rows), ['merged', 'merged']);
});

test('a lock that somebody else holds is transient, and the session goes on', async () => {
  const table = await looseTable();
  const rig = new Rig(direct.url, { lockMsMax: 100 });
  const stream = await rig.stream(table);
  const holder = await newHolder();
  await holder.query(`BEGIN; LOCK TABLE ${table}`);
  const attempt = async (rung: Rung) => {
    const session = await rig.connect();
    return session.merge(stream.batch(rows), rung);
  };
  for (const rung of rungs) await assert.rejects(attempt(rung), fails('transient'));
  await holder.end();
  assert.deepEqual(await stream.merge('merge', rows), ['merged', 'merged']);
  await rig.close();
});

test('why there is no connection: nobody there, no such database, wrong password', async () => {
  const closed = await startProxy(1, 'postgres');
  await closed.close();
  const reject = async (url: string, kind: Parameters<typeof fails>[0], code: string) => {
    const target = postgresTarget(url, { clock: systemClock, connectMsMax: 2000 });
    await assert.rejects(target.connect(), { kind, code });
    await target.close();
  };
  const nobody = `127.0.0.1:${closed.port}`;
  await reject(`postgres://postgres@${nobody}/x`, 'lost', 'ECONNREFUSED');
  await reject(`${server.url}_missing`, 'hold', '3D000');
  const file = join(server.dataFolder, 'pg_hba.conf');
  const rules = await readFile(file, 'utf8');
  await writeFile(file, `host all guarded 127.0.0.1/32 scram-sha-256\n${rules}`);
  await direct.sql(`CREATE ROLE guarded LOGIN PASSWORD 'right'; SELECT pg_reload_conf()`);
  const guarded = (password: string, hosts = `127.0.0.1:${server.port}`) =>
    `postgres://guarded${password}@${hosts}/postgres`;
  while (!(await direct.sql("SELECT FROM pg_hba_file_rules WHERE user_name = '{guarded}'")).length);
  await reject(guarded(':wrong'), 'hold', '28P01');
  // Of several hosts the failure that somebody must repair is told.
  await reject(guarded(':wrong', `${nobody},127.0.0.1:${server.port}`), 'hold', '28P01');
  const right = postgresTarget(guarded(':right', `${nobody},127.0.0.1:${server.port}`), {
    clock: systemClock,
  });
  (await right.connect()).destroy();
  await right.close();
});

test('a standby takes over, and the old primary is refused when it is back (P2)', async () => {
  const primary = await startPostgres();
  const standby = await primary.standby();
  try {
    const hosts = `127.0.0.1:${standby.port},127.0.0.1:${primary.port}`;
    const both = new Rig(`postgres://postgres@${hosts}/postgres`, { positions: true });
    const alone = new Rig(standby.url);
    await assert.rejects(alone.connect(), fails('readonly'));
    await query(primary.url, 'CREATE TABLE t (id bigint)');
    const stream = await both.stream('t');
    assert.match(stream.session.identity, /^\d+\/1$/);
    const { position } = await stream.session.merge(stream.batch(rows), 'optimistic');
    while (!(await stream.session.isReplicated(position)));
    assert.equal(await stream.session.isReplicated('FFFF/0'), false);

    await primary.kill();
    await query(standby.url, 'SELECT pg_promote()');
    const promoted = await both.connect();
    assert.match(promoted.identity, /^\d+\/2$/);
    assert.deepEqual(
      (await promoted.lanes(stream.id)).map((lane) => lane.settled),
      [2, 0],
    );
    await primary.start();
    // It takes writes again; this target knows better, and goes on with the other host.
    await standby.immediate();
    await assert.rejects(both.connect(), /old primary/);
    await standby.start();
    assert.match((await both.connect()).identity, /^\d+\/2$/);
    await both.close();
    await alone.close();
  } finally {
    await standby.stop();
    await primary.stop();
  }
});

test('a database set read-only refuses the session, and a running one says so', async () => {
  const url = await createDatabase(server, 'stopped');
  const rig = new Rig(url);
  await rig.sql('CREATE TABLE t (id bigint)');
  const stream = await rig.stream('t');
  await rig.sql('ALTER DATABASE stopped SET default_transaction_read_only = on');
  await assert.rejects(rig.connect(), fails('readonly'));
  assert.deepEqual(await stream.merge('optimistic', rows), ['merged', 'merged']);
  await rig.close();
});

test('after a crash of the server the books are as the last commit left them', async () => {
  const table = await looseTable();
  const stream = await direct.stream(table);
  await stream.merge('optimistic', rows);
  await server.immediate();
  await assert.rejects(stream.merge('optimistic', rows), fails('lost'));
  await assert.rejects(direct.connect(), fails('lost'));
  await server.start();
  stream.session = await direct.connect();
  assert.equal(await stream.settled(), 2);
  assert.equal(await count(table), 2);
});
