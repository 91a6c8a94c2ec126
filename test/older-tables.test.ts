// Tables that an earlier version has made are brought up when they are prepared, with all that
// they hold. Their CHECKs would not let lost records be passed over (P3). What `holdfast
// init --sql` prints may be run again at any time.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { schemaSqlOf } from '../src/target/open.ts';
import type { Session, StreamId, Target } from '../src/target/target.ts';
import { createMariadb, startMariadb } from './support/mariadb.ts';
import { Rig as MariadbRig } from './support/mariadb-rig.ts';
import { connect, createDatabase, type PostgresServer, startPostgres } from './support/postgres.ts';
import { Rig as PostgresRig } from './support/postgres-rig.ts';
import { newGround } from './support/sqlite.ts';
import type { TargetRig } from './support/target-rig.ts';
import { fails, joinTable } from './support/target-stream.ts';

const passOver = async (session: Session, id: StreamId): Promise<void> => {
  const { epoch } = await session.claim({ ...id, lanes: 2, owner: 'test', route: 'direct' });
  await session.passOver({ ...id, epoch, ranges: [{ lane: 0, first: 2, last: 4 }] });
};

/** Nothing was passed over before; one record of the stream's lane 0 is merged. */
async function isBroughtUp(target: Target, id: StreamId, hold: RegExp): Promise<void> {
  const [older, session] = [await target.connect(), await target.connect()];
  await assert.rejects(passOver(older, id), fails('row'), 'the older tables do not allow it');
  older.destroy();
  await assert.rejects(session.prepare(false), hold);
  await session.prepare(true);
  await session.prepare(false);
  await passOver(session, id);
  const [lane] = await session.lanes(id);
  assert.deepEqual([lane?.settled, lane?.merged], [4, 1]);
  assert.equal((await session.ledger(id, { lane: 0, first: 1, last: 9 })).length, 2);
  await session.close();
}

/** With lost records in the ledger; no version that is there is set back. `own`: this program's. */
async function mayRunAgain(rig: TargetRig, own: number): Promise<void> {
  const newest = 'SELECT max(version) AS newest FROM holdfast_version';
  const sql = await schemaSqlOf(rig.url);
  await rig.sql(sql);
  await rig.sql('DELETE FROM holdfast_version WHERE version >= 3');
  const session = await rig.connect();
  await session.prepare(true);
  assert.equal((await rig.sql(newest))[0]?.['newest'], own);
  await rig.sql(`UPDATE holdfast_version SET version = 99 WHERE version = ${own}`);
  await rig.sql(sql);
  assert.equal((await rig.sql(newest))[0]?.['newest'], 99);
}

const totals = 'merged + duplicates + superseded + dead_letters';

test('SQLite: tables of version 1', async (t) => {
  const ground = await newGround(t, 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
  const stream = await joinTable(ground, 't');
  await stream.settle('optimistic', [{ id: 1n }]);
  const { identity } = stream.session;
  const { database } = ground;
  for (const table of ['holdfast_lanes', 'holdfast_ledger']) {
    const sql = `SELECT sql FROM sqlite_schema WHERE name = '${table}'`;
    const made = String(database.prepare(sql).get()?.['sql']);
    const older = made
      .replace(`settled >= ${totals}`, `settled = ${totals}`)
      .replace(`route = 'lost' OR `, '');
    assert.notEqual(older, made);
    database.exec(`ALTER TABLE ${table} RENAME TO newer; ${older};
      INSERT INTO ${table} SELECT * FROM newer; DROP TABLE newer`);
  }
  const views = `CREATE VIEW seen AS SELECT lane, settled FROM holdfast_lanes;
    CREATE VIEW broken AS SELECT * FROM nowhere`;
  database.exec(`UPDATE holdfast_version SET version = 1; ${views}`);
  database.exec(await schemaSqlOf('sqlite:'));
  await isBroughtUp(ground.target, stream.id, /of version 1; .* needs 2\. .*`createTables: true`/);
  const again = await ground.target.connect();
  assert.equal(again.identity, identity);
  const seen = database.prepare('SELECT settled FROM seen ORDER BY lane').all();
  assert.deepEqual(
    seen.map(({ settled }) => settled),
    [4, 0, 0],
  );
});

let server: PostgresServer;
before(async () => {
  server = await startPostgres('18');
});
after(() => server.stop());

const toVersion2 = `
  ALTER TABLE holdfast_lanes DROP CONSTRAINT holdfast_lanes_ends,
    ADD CONSTRAINT holdfast_lanes_check1 CHECK (settled = ${totals});
  ALTER TABLE holdfast_merges DROP CONSTRAINT holdfast_merges_ends,
    ADD CONSTRAINT holdfast_merges_check CHECK (settled = ${totals});
  ALTER TABLE holdfast_ledger DROP CONSTRAINT holdfast_ledger_ends,
    ADD CONSTRAINT holdfast_ledger_ends CHECK (row_count >= ${totals}
      AND (merged_at IS NULL OR row_count = ${totals}));
  DROP TABLE holdfast_copies;
  DELETE FROM holdfast_version; INSERT INTO holdfast_version VALUES (2)`;

test('PostgreSQL: tables of version 2', async () => {
  const rig = new PostgresRig(await createDatabase(server, 'version_2'));
  try {
    await rig.sql('CREATE TABLE t (id int PRIMARY KEY)');
    const stream = await rig.stream('t');
    await stream.merge('optimistic', [{ id: 1 }]);
    await rig.sql(toVersion2);
    await isBroughtUp(rig.target, stream.id, /of version 2; .* needs 5\. .*`holdfast init --sql`/);
    assert.deepEqual(await rig.sql('SELECT * FROM holdfast_copies'), []);
    await mayRunAgain(rig, 5);
  } finally {
    await rig.close();
  }
});

test('PostgreSQL: tables of version 1', async () => {
  const rig = new PostgresRig(await createDatabase(server, 'version_1'));
  try {
    const folder = new URL('../sql/postgres/', import.meta.url);
    for (const file of ['1-tables.sql', '2-guard.sql']) {
      await rig.sql(await readFile(new URL(file, folder), 'utf8'));
    }
    await rig.sql(`INSERT INTO holdfast_version VALUES (1); CREATE TABLE t (id int PRIMARY KEY);
      INSERT INTO holdfast_ledger VALUES
        (gen_random_uuid(), 'other', 0, 1, 1, 1, 1, 0, 0, 0, 0, NULL, 'direct')`);
    const stream = await rig.stream('t');
    await stream.merge('optimistic', [{ id: 1 }]);
    await passOver(await rig.connect(), stream.id);
    await mayRunAgain(rig, 5);
  } finally {
    await rig.close();
  }
});

/** How long fingerprints were: of the columns alone, with the keys, with what columns ask for. */
const fingerprints = { 3: 32, 4: 64 };
for (const [version, length] of Object.entries(fingerprints)) {
  test(`PostgreSQL: rows of version ${version}, and who still runs, go on`, async () => {
    const rig = new PostgresRig(await createDatabase(server, `version_${version}`));
    try {
      await rig.sql('CREATE TABLE t (id int PRIMARY KEY)');
      const stream = await rig.stream('t');
      const older = { ...stream.table, fingerprint: stream.table.fingerprint.slice(0, length) };
      const batch = (id: number) => ({ ...stream.batch([{ id }]), journaled: older });
      await rig.sql(`DELETE FROM holdfast_version WHERE version > ${version};
        INSERT INTO holdfast_version VALUES (${version}) ON CONFLICT DO NOTHING`);
      const needs = new RegExp(`of version ${version}; .* needs 5`);
      await assert.rejects(stream.session.prepare(false), needs);
      await stream.session.prepare(true);
      await stream.session.merge(batch(1), 'merge');
      stream.next = 2;
      await stream.session.merge({ ...batch(2), table: older }, 'optimistic');
      stream.next = 3;
      await rig.sql('ALTER TABLE t ADD COLUMN n int');
      await assert.rejects(
        stream.session.merge({ ...batch(3), table: older }, 'merge'),
        fails('altered'),
      );
      assert.equal((await rig.sql('SELECT FROM t')).length, 2);
    } finally {
      await rig.close();
    }
  });
}

test('PostgreSQL: batches and merges of a process that still runs go on to their end', async () => {
  const rig = new PostgresRig(await createDatabase(server, 'live'));
  const session = await rig.connect();
  await session.prepare(true);
  const inTheirOrder = {
    batch: ['lanes', 'ledger', 'lanes'],
    merge: ['claims', 'ledger', 'merges'],
    claim: ['lanes', 'merges', 'claims', 'ledger'],
  };
  const other = await connect(rig.url);
  try {
    for (const [what, [first, ...then]] of Object.entries(inTheirOrder)) {
      await rig.sql(toVersion2);
      const lock = (table = '') =>
        other.query(`LOCK TABLE holdfast_${table} IN ROW EXCLUSIVE MODE`);
      await other.query('BEGIN');
      await lock(first);
      const prepared = session.prepare(true);
      while ((await rig.sql('SELECT 1 FROM pg_locks WHERE NOT granted')).length === 0);
      for (const table of then) await lock(table);
      await other.query('COMMIT');
      await assert.doesNotReject(prepared, what);
    }
  } finally {
    await other.end();
    await rig.close();
  }
});

test('MariaDB: tables of version 2', async () => {
  const mariadb = await startMariadb();
  const rig = new MariadbRig(await createMariadb(mariadb, 'older'));
  try {
    await rig.sql('CREATE TABLE t (id int PRIMARY KEY)');
    const stream = await rig.stream('t');
    await stream.merge('optimistic', [{ id: 1 }]);
    await rig.sql(`
      ALTER TABLE holdfast_lanes DROP CONSTRAINT holdfast_lanes_ends,
        ADD CONSTRAINT CONSTRAINT_2 CHECK (settled = ${totals});
      ALTER TABLE holdfast_merges DROP CONSTRAINT holdfast_merges_ends,
        ADD CONSTRAINT CONSTRAINT_1 CHECK (settled = ${totals});
      ALTER TABLE holdfast_ledger DROP CONSTRAINT holdfast_ledger_ends,
        ADD CONSTRAINT CONSTRAINT_3 CHECK (merged_at IS NULL OR row_count = ${totals});
      DROP TABLE holdfast_copies; UPDATE holdfast_version SET version = 2`);
    await isBroughtUp(rig.target, stream.id, /of version 2; .* needs 4\. .*`holdfast init --sql`/);
    assert.deepEqual(await rig.sql('SELECT * FROM holdfast_copies'), []);
    await mayRunAgain(rig, 4);
  } finally {
    await rig.close();
    await mariadb.stop();
  }
});
