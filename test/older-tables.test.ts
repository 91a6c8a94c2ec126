// Tables that an earlier version has made are brought up when they are prepared, with all that
// they hold. Their CHECKs would not let lost records be passed over (P3).
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Session, StreamId, Target } from '../src/target/target.ts';
import { createMariadb, startMariadb } from './support/mariadb.ts';
import { Rig as MariadbRig } from './support/mariadb-rig.ts';
import { createDatabase, startPostgres } from './support/postgres.ts';
import { Rig as PostgresRig } from './support/postgres-rig.ts';
import { newGround } from './support/sqlite.ts';
import { fails, joinTable } from './support/target-stream.ts';

const passOver = async (session: Session, id: StreamId): Promise<void> => {
  const { epoch } = await session.claim({ ...id, lanes: 2, owner: 'test', route: 'direct' });
  await session.passOver({ ...id, epoch, ranges: [{ lane: 0, first: 2, last: 4 }] });
};

/** `session` has passed nothing over before; one record of the stream's lane 0 is merged. */
async function isBroughtUp(target: Target, id: StreamId): Promise<void> {
  const [before, after] = [await target.connect(), await target.connect()];
  await assert.rejects(passOver(before, id), fails('row'), 'the older tables do not allow it');
  before.destroy();
  await assert.rejects(after.prepare(false), fails('hold'));
  await after.prepare(true);
  await after.prepare(false);
  await passOver(after, id);
  const [lane] = await after.lanes(id);
  assert.deepEqual([lane?.settled, lane?.merged], [4, 1]);
  assert.equal((await after.ledger(id, { lane: 0, first: 1, last: 9 })).length, 2);
  await after.close();
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
  database.exec('UPDATE holdfast_version SET version = 1');
  await isBroughtUp(ground.target, stream.id);
  const again = await ground.target.connect();
  assert.equal(again.identity, identity);
});

test('PostgreSQL: tables of version 2', async () => {
  const server = await startPostgres('18');
  const rig = new PostgresRig(await createDatabase(server, 'older'));
  try {
    await rig.sql('CREATE TABLE t (id int PRIMARY KEY)');
    const stream = await rig.stream('t');
    await stream.merge('optimistic', [{ id: 1 }]);
    await rig.sql(`
      ALTER TABLE holdfast_lanes DROP CONSTRAINT holdfast_lanes_ends,
        ADD CONSTRAINT holdfast_lanes_check1 CHECK (settled = ${totals});
      ALTER TABLE holdfast_merges DROP CONSTRAINT holdfast_merges_ends,
        ADD CONSTRAINT holdfast_merges_check CHECK (settled = ${totals});
      ALTER TABLE holdfast_ledger DROP CONSTRAINT holdfast_ledger_ends,
        ADD CONSTRAINT holdfast_ledger_ends CHECK (row_count >= ${totals}
          AND (merged_at IS NULL OR row_count = ${totals}));
      UPDATE holdfast_version SET version = 2`);
    await isBroughtUp(rig.target, stream.id);
  } finally {
    await rig.close();
    await server.stop();
  }
});

test('MariaDB: tables of version 2', async () => {
  const server = await startMariadb();
  const rig = new MariadbRig(await createMariadb(server, 'older'));
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
      UPDATE holdfast_version SET version = 2`);
    await isBroughtUp(rig.target, stream.id);
  } finally {
    await rig.close();
    await server.stop();
  }
});
