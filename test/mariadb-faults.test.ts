// MariaDB in bad times: connections cut at every point of a commit, old sessions that wake up,
// read-only servers, crashes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { Connection } from 'mysql2/promise';
import { systemClock } from '../src/clock.ts';
import { deadLetterJson } from '../src/dead-letter-json.ts';
import { open } from '../src/holdfast.ts';
import { mysqlTarget } from '../src/target/mysql/target.ts';
import type { Rung } from '../src/target/target.ts';
import { temporaryFolder } from './support/journals.ts';
import { connect, createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig } from './support/mariadb-rig.ts';
import { type Fault, type FaultProxy, startProxy } from './support/proxy.ts';
import { fails, rungs } from './support/target-stream.ts';
import type { Turn } from './support/turns.ts';

const rows = [{ id: 1_000_001n }, { id: 1_000_002n }];
const commits = ({ text }: Turn): boolean => text === 'COMMIT';

let server: MariadbServer;
let proxy: FaultProxy;
/** Straight to the server, and through the proxy with short deadlines. */
let direct: Rig;
let faulty: Rig;
before(async () => {
  server = await startMariadb();
  proxy = await startProxy(server.port, 'mysql');
  const url = await createMariadb(server, 'faults');
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
const newHolder = (): Promise<Connection> => connect(direct.url);

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
  const own = `stream = '${stream.id.stream}'`;
  await holder.query(`START TRANSACTION; SELECT 1 FROM holdfast_lanes WHERE ${own} FOR UPDATE`);
  const [, start, server] = stream.session.id.split(' ');
  // Its number, but of a server that started at another time, and of another one.
  const suspects = [`1577836800 ${server}`, `${start} other/2`];
  await Promise.all(
    suspects.map(async (suspect) => {
      const session = await direct.connect();
      const resolved = session.resolve(batch, `${holder.threadId} ${suspect}`);
      await assert.rejects(resolved, fails('transient'));
    }),
  );
  await holder.query('COMMIT');
  const [lane] = await stream.session.resolve(batch, `${holder.threadId} ${suspects[0]}`);
  assert.equal(lane?.settled, 0);
  await holder.end();
});

test('a killed session is lost, and the next one works', async () => {
  const table = await looseTable();
  const stream = await direct.stream(table);
  const [thread] = stream.session.id.split(' ');
  await direct.sql(`KILL ${thread}`);
  await assert.rejects(stream.merge('optimistic', rows), fails('lost'));
  stream.session = await direct.connect();
  assert.deepEqual(await stream.merge('optimistic', rows), ['merged', 'merged']);
});

test('a lock that somebody else holds is transient, and the session goes on', async () => {
  const table = await looseTable();
  const rig = new Rig(direct.url, { lockMsMax: 100 });
  const stream = await rig.stream(table);
  const holder = await newHolder();
  await holder.query(`LOCK TABLES ${table} WRITE`);
  const attempt = async (rung: Rung) => {
    const session = await rig.connect();
    return session.merge(stream.batch(rows), rung);
  };
  await assert.rejects(attempt('optimistic'), fails('transient'));
  await holder.query('UNLOCK TABLES');
  const own = `stream = '${stream.id.stream}'`;
  await holder.query(`START TRANSACTION; SELECT 1 FROM holdfast_lanes WHERE ${own} FOR UPDATE`);
  // 1205 undoes one statement only: nothing of the batch may stay behind.
  for (const rung of rungs) await assert.rejects(stream.merge(rung, rows), fails('transient'));
  await holder.end();
  assert.deepEqual(await stream.merge('merge', rows), ['merged', 'merged']);
  assert.equal(await count(table), 2);
  await rig.close();
});

test('two batches that meet crosswise: one is transient and leaves nothing behind', async () => {
  await direct.sql('CREATE TABLE crossed (id bigint PRIMARY KEY)');
  const [a, b] = [await direct.stream('crossed'), await direct.stream('crossed')];
  const holder = await newHolder();
  await holder.query('START TRANSACTION; INSERT INTO crossed VALUES (2)');
  const both = [{ id: 1n }, { id: 2n }];
  // It has 1 and waits for 2, while the holder asks for 1.
  const merging = a.merge('optimistic', both);
  const waits = async () =>
    (await direct.sql(
      "SELECT trx_id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    )) as unknown[];
  // The server reads that table anew only where nobody has asked for 0.1 s.
  while ((await waits()).length === 0) await pause(150);
  const ended = await Promise.allSettled([merging, holder.query('INSERT INTO crossed VALUES (1)')]);
  await holder.query('ROLLBACK');
  await holder.end();
  const [ours] = ended;
  if (ours.status === 'rejected') {
    fails('transient')(ours.reason);
    assert.deepEqual(await a.merge('merge', both), ['merged', 'merged']);
  }
  assert.equal(await a.settled(), 2);
  assert.equal(await b.settled(), 0);
  assert.equal(await count('crossed'), 2);
});

test('why there is no connection: nobody there, no such database, wrong password', async () => {
  const closed = await startProxy(1, 'mysql');
  await closed.close();
  const reject = async (url: string, kind: Parameters<typeof fails>[0], code: string) => {
    const target = mysqlTarget(url, { clock: systemClock, connectMsMax: 2000 });
    await assert.rejects(target.connect(), { kind, code });
    await target.close();
  };
  const nobody = `127.0.0.1:${closed.port}`;
  await reject(`mysql://root@${nobody}/x`, 'lost', 'ECONNREFUSED');
  await reject(`${server.url}missing`, 'hold', 'ER_BAD_DB_ERROR');
  await direct.sql(`CREATE USER guarded IDENTIFIED BY 'right'; GRANT ALL ON faults.* TO guarded`);
  const guarded = (password: string, hosts = `127.0.0.1:${server.port}`) =>
    `mysql://guarded:${password}@${hosts}/faults`;
  await reject(guarded('wrong'), 'hold', 'ER_ACCESS_DENIED_ERROR');
  // Of several hosts the failure that somebody must repair is told.
  const both = `${nobody},127.0.0.1:${server.port}`;
  await reject(guarded('wrong', both), 'hold', 'ER_ACCESS_DENIED_ERROR');
  const right = mysqlTarget(guarded('right', both), { clock: systemClock });
  (await right.connect()).destroy();
  await right.close();
  // No TLS there: an answer, and no plain connection instead.
  const secret = mysqlTarget(`${direct.url}?ssl=true`, { clock: systemClock });
  await assert.rejects(secret.connect(), fails('hold'));
  await secret.close();
});

test('a server set read-only refuses the session, and a running one says so (1290)', async () => {
  const rig = new Rig(`${server.url}ro`.replace('root@', 'writer@'));
  await direct.sql('CREATE DATABASE ro; CREATE USER writer; GRANT ALL ON ro.* TO writer');
  await rig.sql('CREATE TABLE t (id bigint)');
  const stream = await rig.stream('t');
  await direct.sql('SET GLOBAL read_only = 1');
  try {
    await assert.rejects(rig.connect(), fails('readonly'));
    await assert.rejects(stream.merge('optimistic', rows), fails('readonly'));
    // Nothing more is to be had from it: the next one goes to the writable server.
    await assert.rejects(stream.session.lanes(stream.id), fails('lost'));
  } finally {
    await direct.sql('SET GLOBAL read_only = 0');
  }
  stream.session = await rig.connect();
  assert.deepEqual(await stream.merge('optimistic', rows), ['merged', 'merged']);
  await rig.close();
});

test('of two servers the writable one is used, and sessions on the other end (P2)', async () => {
  const other = await startMariadb('MariaDB 10.11', ['--server-id=2']);
  try {
    await createMariadb(other, 'faults');
    const hosts = `127.0.0.1:${server.port},127.0.0.1:${other.port}`;
    const rig = new Rig(`mysql://writer@${hosts}/faults`);
    await direct.sql('GRANT ALL ON faults.* TO writer');
    const others = new Rig(`${other.url}faults`);
    await others.sql('CREATE USER writer; GRANT ALL ON faults.* TO writer');
    const first = await rig.connect();
    await direct.sql('SET GLOBAL read_only = 1');
    const second = await rig.connect();
    assert.notEqual(second.identity, first.identity);
    await assert.rejects(first.tableNames(), fails('lost'));
    assert.deepEqual(await second.tableNames(), []);
    await rig.close();
    await others.close();
  } finally {
    await direct.sql('SET GLOBAL read_only = 0');
    await other.stop();
  }
});

test('after a crash of the server the books are as the last commit left them', async () => {
  const table = await looseTable();
  const stream = await direct.stream(table);
  await stream.merge('optimistic', rows);
  await server.kill();
  await assert.rejects(stream.merge('optimistic', rows), fails('lost'));
  await assert.rejects(direct.connect(), fails('lost'));
  await server.start();
  stream.session = await direct.connect();
  assert.equal(await stream.settled(), 2);
  assert.equal(await count(table), 2);
});

test('a replay whose COMMIT was not answered says that nobody knows its outcome', async (t) => {
  await direct.sql('CREATE TABLE replayed (id bigint PRIMARY KEY, CHECK (id <> 7))');
  const folder = temporaryFolder();
  t.after(() => folder.remove());
  const holdfast = await open({
    journal: join(folder.path, 'journal'),
    target: faulty.url,
    streams: { replayed: { table: 'replayed', key: ['id'] } },
  });
  t.after(() => holdfast.close({ drainMs: 0 }));
  const { settled } = await holdfast.write('replayed', { id: 7 });
  assert.equal((await settled).deadLetters, 1);
  await direct.sql('ALTER TABLE replayed DROP CONSTRAINT CONSTRAINT_1');
  const [letter] = await holdfast.deadLetters.list();
  assert(letter);
  let isReplay = false;
  proxy.onTurn = ({ text }) => {
    isReplay ||= /FROM holdfast_dead_letters WHERE .*FOR UPDATE/s.test(text);
  };
  const strike = proxy.strike('after', (turn) => isReplay && commits(turn));
  const { id: name } = JSON.parse(deadLetterJson(letter)) as { id: string };
  await assert.rejects(holdfast.deadLetters.replay(name), { outcome: 'unknown' });
  assert(strike.isHit);
  assert.equal(await count('replayed'), 1);
});
