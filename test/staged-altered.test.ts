// Columns that are altered between rows that were staged: each row keeps the meaning that it was
// journaled with, in the table and in dead letters.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Value } from '../src/accept/rows.ts';
import { deadLetterJson } from '../src/dead-letter-json.ts';
import { createMariadb, type MariadbServer, startMariadb } from './support/mariadb.ts';
import { Rig as MariadbRig } from './support/mariadb-rig.ts';
import { createDatabase, type PostgresServer, startPostgres } from './support/postgres.ts';
import { Rig as PostgresRig } from './support/postgres-rig.ts';
import type { TargetRig } from './support/target-rig.ts';
import { rungs, Stream } from './support/target-stream.ts';

let postgres: PostgresServer;
let mariadb: MariadbServer;
let onPostgres: PostgresRig;
let onMariadb: MariadbRig;
before(async () => {
  [postgres, mariadb] = await Promise.all([startPostgres(), startMariadb()]);
  onPostgres = new PostgresRig(await createDatabase(postgres, 'altered'));
  onMariadb = new MariadbRig(await createMariadb(mariadb, 'altered'));
});
after(async () => {
  await onPostgres.close();
  await onMariadb.close();
  await postgres.stop();
  await mariadb.stop();
});

let made = 0;

/** A stream into a new table with a key `id` and a column `v` of this type. */
async function streamInto(rig: TargetRig, type: string): Promise<Stream> {
  const table = `altered_${++made}`;
  await rig.sql(`CREATE TABLE ${table} (id bigint PRIMARY KEY, v ${type})`);
  const session = await rig.connect();
  await session.prepare(true);
  const writer = `00000000-0000-4000-9000-${String(made).padStart(12, '0')}`;
  const id = { writer, stream: table };
  const route = 'staged';
  const { epoch } = await session.claim({ ...id, lanes: 3, owner: 'test', route });
  const { target } = rig;
  const described = await session.describe(table);
  return new Stream({
    target,
    session,
    id,
    table: described,
    onConflict: 'dead-letter',
    route,
    epoch,
  });
}

/** The stream as it goes on once its table was altered and described anew. */
async function altered(rig: TargetRig, stream: Stream, how: string): Promise<Stream> {
  await rig.sql(`ALTER TABLE ${stream.table.name} ${how}`);
  const session = await rig.connect();
  const table = await session.describe(stream.table.name);
  const now = new Stream({ ...stream.parts, session, table });
  now.next.push(...stream.next);
  return now;
}

const storedIn = async (rig: TargetRig, { table }: Stream, id: number) =>
  (await rig.sql(`SELECT v FROM ${table.name} WHERE id = ${id}`))[0]?.['v'];

const turns: readonly (readonly [string, string, string, Value, Value, unknown])[] = [
  ['jsonb', 'text', 'TYPE text USING v::text', '{"a":1}', 'hello', 'hello'],
  ['jsonb', 'json', 'TYPE json USING v::json', '{"a":1}', '125', 125],
  ['text', 'jsonb', "TYPE jsonb USING '{}'", 'hello', '{"a":1}', { a: 1 }],
  ['json', 'jsonb', 'TYPE jsonb USING v::jsonb', '{"a":1}', '{"b":1}', { b: 1 }],
];
for (const [from, to, how, first, second, stored] of turns) {
  test(`PostgreSQL: staged values are what was sent after ${from} became ${to}`, async () => {
    for (const rung of rungs) {
      const stream = await streamInto(onPostgres, from);
      await stream.stage([{ id: 1n, v: first }]);
      await stream.mergeAll(rung);
      const now = await altered(onPostgres, stream, `ALTER v ${how}`);
      await now.stage([{ id: 2n, v: second }]);
      await now.mergeAll(rung);
      assert.deepEqual(await storedIn(onPostgres, now, 2), stored, rung);
      assert.equal((await now.totals()).merged, 2);
    }
  });
}

test('MariaDB: a dead letter shows what was sent after json became text', async () => {
  const stream = await streamInto(onMariadb, 'json');
  await stream.stage([{ id: 1n, v: '{"a":1}' }]);
  await stream.mergeAll();
  const now = await altered(onMariadb, stream, 'MODIFY v longtext');
  await now.stage([{ id: 1n, v: 'hello' }]);
  await now.mergeAll();
  const [letter] = await now.letters();
  assert(letter);
  assert.equal(letter.row, '{"id":1,"v":"hello"}');
  JSON.parse(deadLetterJson(letter));
});

test('MariaDB: a column that holds fewer digits now holds nobody who knows of it', async () => {
  const stream = await streamInto(onMariadb, 'datetime(6)');
  await stream.stage([{ id: 1n, v: '2024-01-01T00:00:00' }]);
  await stream.mergeAll();
  const now = await altered(onMariadb, stream, 'MODIFY v datetime(3)');
  await now.stage([{ id: 2n, v: '2024-01-01T00:00:00.123' }]);
  await now.mergeAll();
  assert.equal((await now.totals()).merged, 2);
});
