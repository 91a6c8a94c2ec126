// What only PostgreSQL does: triggers, deferred constraints, types, altered tables, rights.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { systemClock } from '../src/clock.ts';
import { Connection } from '../src/target/postgres/connection.ts';
import { classify, sqlStates } from '../src/target/postgres/sqlstates.ts';
import { NotDecoded } from './support/batches.ts';
import { createDatabase, type PostgresServer, startPostgres } from './support/postgres.ts';
import { Rig } from './support/postgres-rig.ts';
import { fails } from './support/target-stream.ts';

let server: PostgresServer;
let rig: Rig;
before(async () => {
  server = await startPostgres();
  rig = new Rig(await createDatabase(server, 'only'));
});
after(async () => {
  await rig.close();
  await server.stop();
});

test('a deferred constraint refuses its row, not the batch (P6)', async () => {
  await rig.sql(`CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
    CREATE TABLE children (id int PRIMARY KEY,
      parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED)`);
  const stream = await rig.stream('children');
  const rows = [
    { id: 1n, parent: 1n },
    { id: 2n, parent: 9n },
    { id: 3n, parent: null },
  ];
  await assert.rejects(stream.merge('optimistic', rows), fails('row'));
  stream.session = await rig.connect();
  assert.deepEqual(await stream.merge('merge', rows), ['merged', 'deadLetter', 'merged']);
  const [letter] = await stream.letters();
  assert.deepEqual([letter?.sqlState, letter?.row], ['23503', '{"id":2,"parent":9}']);
});

test('a deferrable, partial, invalid, nullable or computed index is no key (P6)', async () => {
  await rig.sql(`CREATE TABLE unfit (id bigint NOT NULL UNIQUE DEFERRABLE, a int NOT NULL,
      b int UNIQUE, c text NOT NULL);
    CREATE UNIQUE INDEX unfit_partial ON unfit (a) WHERE a > 0;
    CREATE UNIQUE INDEX unfit_computed ON unfit (lower(c));
    CREATE UNIQUE INDEX unfit_fit ON unfit (c, a) INCLUDE (b)`);
  const { table } = await rig.stream('unfit');
  assert.deepEqual(table.keys, [['c', 'a']]);
  assert.equal(table.warnings.length, 4, table.warnings.join('\n'));
});

test('a row that a trigger swallows is a dead letter, its neighbours are merged (P7)', async () => {
  await rig.sql(`CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.note = 'gone' THEN RETURN NULL; END IF; RETURN NEW; END $$;
    CREATE TABLE keyed (id int PRIMARY KEY, note text);
    CREATE TABLE loose (id int, note text);
    CREATE TRIGGER a BEFORE INSERT ON keyed FOR EACH ROW EXECUTE FUNCTION swallow();
    CREATE TRIGGER a BEFORE INSERT ON loose FOR EACH ROW EXECUTE FUNCTION swallow()`);
  for (const table of ['keyed', 'loose']) {
    const stream = await rig.stream(table);
    const rows = [1n, 2n, 3n, 4n].map((id) => ({ id, note: id === 3n ? 'gone' : 'kept' }));
    await assert.rejects(stream.merge('optimistic', rows), fails('row'));
    stream.session = await rig.connect();
    const ends = await stream.merge('merge', rows);
    assert.deepEqual(ends, ['merged', 'merged', 'deadLetter', 'merged'], table);
    assert.deepEqual(
      (await stream.letters()).map(({ code }) => code),
      ['swallowed'],
    );
  }
});

test('an update that a trigger swallows is a dead letter too', async () => {
  await rig.sql(`CREATE FUNCTION freeze() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RETURN NULL; END $$;
    CREATE TABLE frozen (id int PRIMARY KEY, note text);
    CREATE TRIGGER a BEFORE UPDATE ON frozen FOR EACH ROW EXECUTE FUNCTION freeze()`);
  const stream = await rig.stream('frozen', { onConflict: 'update' });
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: 'a' }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ id: 1n, note: 'b' }]), ['deadLetter']);
  assert.deepEqual(
    (await stream.letters()).map(({ code }) => code),
    ['swallowed'],
  );
});

test('a trigger that changes keys holds the stream: its rows cannot be told apart', async () => {
  await rig.sql(`CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN NEW.id := NEW.id + 100; RETURN NEW; END $$;
    CREATE TABLE shifted (id int PRIMARY KEY);
    CREATE TRIGGER a BEFORE INSERT ON shifted FOR EACH ROW EXECUTE FUNCTION shift()`);
  const stream = await rig.stream('shifted');
  await assert.rejects(stream.merge('merge', [{ id: 1n }]), fails('hold'));
  assert.equal(await stream.settled(), 0);
});

test('a trigger that raises refuses its row', async () => {
  await rig.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN IF NEW.id = 2 THEN RAISE 'not two'; END IF; RETURN NULL; END $$;
    CREATE TABLE raised (id int PRIMARY KEY);
    CREATE TRIGGER a AFTER INSERT ON raised FOR EACH ROW EXECUTE FUNCTION refuse()`);
  const stream = await rig.stream('raised');
  const ends = await stream.merge('merge', [{ id: 1n }, { id: 2n }, { id: 3n }]);
  assert.deepEqual(ends, ['merged', 'deadLetter', 'merged']);
  const [letter] = await stream.letters();
  assert.deepEqual([letter?.sqlState, letter?.message], ['P0001', 'not two']);
});

test('json is compared by its text, and jsonb with NUL is a dead letter (P7, P10)', async () => {
  await rig.sql('CREATE TABLE documents (id int PRIMARY KEY, a json, b jsonb)');
  const stream = await rig.stream('documents');
  const row = { id: 1n, a: '{"x": 1}', b: '{"x": 1}' };
  assert.deepEqual(await stream.merge('merge', [row, row, { ...row, a: '{"x":1}' }]), [
    'merged',
    'duplicate',
    'deadLetter',
  ]);
  // jsonb keeps no spaces: another spelling is the same value.
  assert.deepEqual(await stream.merge('merge', [{ ...row, b: '{ "x":1}' }]), ['duplicate']);
  // json takes what jsonb cannot hold: the table was altered behind a journaled row.
  await rig.sql('ALTER TABLE documents ALTER a TYPE jsonb');
  const altered = await stream.session.describe('documents');
  const nul = { id: 2n, a: '{"x":"\\u0000"}' };
  assert.deepEqual(await stream.merge('merge', [{ id: 3n }, nul], altered), [
    'merged',
    'deadLetter',
  ]);
  const letter = (await stream.letters()).at(-1);
  assert.equal(letter?.sqlState, '22P05');
  assert.equal(letter?.row, '{"id":2,"a":{"x":"\\u0000"}}');
});

test('every kind of column arrives the same on both rungs', async () => {
  await rig.sql(`CREATE TYPE mood AS ENUM ('sad', 'très gai');
    CREATE DOMAIN short AS varchar(5) CHECK (value <> 'no');
    CREATE TABLE kinds (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b bool, i2 int2, i8 int8,
      f4 float4, f8 float8, n numeric, n2 numeric(38,4), t text, v varchar(8), c char(4), y bytea,
      d date, tm time(3), ts timestamp, tz timestamptz(3), u uuid, j json, jb jsonb, m mood,
      s short,
      g int GENERATED ALWAYS AS (i2 + 1) STORED)`);
  const row = {
    b: true,
    i2: -7n,
    i8: 9007199254740993n,
    f4: 1.5,
    f8: -0.1,
    n: '0.1000000000000000055',
    n2: '-1234567890123456789012345678901234.5678',
    t: 'é\t"\\',
    v: '12345678',
    c: 'ab',
    y: new Uint8Array([0, 255, 13]),
    d: '1999-12-31',
    tm: '23:59:59.125',
    ts: '2024-02-29T12:00:00.000001',
    tz: '2024-02-29T12:00:00.125+02:00',
    u: '00112233-4455-6677-8899-aabbccddeeff',
    j: '{"a": [1,  2]}',
    jb: '{"a": [1,  2]}',
    m: 'très gai',
    s: 'short',
  }; // prettier: one row
  const stream = await rig.stream('kinds');
  assert.deepEqual(await stream.merge('optimistic', [{ id: 1n, ...row }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ id: 2n, ...row }]), ['merged']);
  assert.deepEqual(
    await stream.merge('merge', [
      { id: 1n, ...row },
      { id: 2n, ...row },
    ]),
    ['duplicate', 'duplicate'],
  );
  const stored = await rig.sql(`SELECT (to_jsonb(k) - 'id')::text || f8::text || j::text AS all
    FROM kinds k`);
  assert.equal(stored[0]?.['all'], stored[1]?.['all']);
  const [first] = await rig.sql(
    `SELECT n2::text, i8::text, c, g, tz AT TIME ZONE 'UTC' = '2024-02-29 10:00:00.125' AS tz
     FROM kinds`,
  );
  assert.deepEqual(first, { n2: row.n2, i8: '9007199254740993', c: 'ab  ', g: -6, tz: true });
  assert.deepEqual([...(await stream.session.compare(stream.batch([{ id: 1n, ...row }])))], [0]);
});

test('types without a binary form of ours are cast by the server, row by row', async () => {
  await rig.sql('CREATE TABLE casts (id int PRIMARY KEY, a int[], i inet, p interval(0))');
  const stream = await rig.stream('casts');
  const rows = [
    { id: 1n, a: '{1,2}', i: '10.0.0.1/8', p: '1 day' },
    { id: 2n, a: '{1,x}' },
    { id: 3n, i: 'nowhere' },
  ];
  await assert.rejects(stream.merge('optimistic', rows), fails('row'));
  assert.deepEqual(await stream.merge('merge', rows), ['merged', 'deadLetter', 'deadLetter']);
  assert.deepEqual(
    (await stream.letters()).map(({ sqlState }) => sqlState),
    ['22P02', '22P02'],
  );
});

test('keys that the table folds are one key (citext)', async () => {
  await rig.sql(`CREATE EXTENSION citext; CREATE TABLE folded (k citext PRIMARY KEY, n int)`);
  const stream = await rig.stream('folded');
  assert.match(stream.table.warnings.join(), /abc and ABC may be one key/);
  const rows = [
    { k: 'abc', n: 1n },
    { k: 'ABC', n: 1n },
    { k: 'Abd', n: 2n },
  ];
  assert.deepEqual(await stream.merge('merge', rows), ['merged', 'deadLetter', 'merged']);
});

test('an update writes the key, too, where another text is the same key', async () => {
  await rig.sql(`CREATE COLLATION lettered (provider = icu, locale = 'und-u-ks-level2',
      deterministic = false);
    CREATE TABLE rekeyed (k text COLLATE lettered PRIMARY KEY, note text)`);
  const stream = await rig.stream('rekeyed', { onConflict: 'update' });
  assert.deepEqual(await stream.merge('merge', [{ k: 'abc', note: 'a' }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ k: 'ABC', note: 'a' }]), ['merged']);
  assert.deepEqual(await stream.merge('merge', [{ k: 'AbC' }]), ['merged']);
  assert.deepEqual(await rig.sql('SELECT * FROM rekeyed'), [{ k: 'AbC', note: 'a' }]);
  assert.deepEqual(await stream.merge('merge', [{ k: 'AbC' }]), ['duplicate']);
});

test('a partitioned table in a schema is written like any other', async () => {
  await rig.sql(`CREATE SCHEMA "Old Shop"; CREATE TABLE "Old Shop"."Sold" (id int, day date,
      PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
    CREATE TABLE "Old Shop".y24 PARTITION OF "Old Shop"."Sold"
      FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')`);
  const stream = await rig.stream('Old Shop.Sold');
  const rows = [
    { id: 1n, day: '2024-05-01' },
    { id: 2n, day: '2030-01-01' },
  ];
  assert.deepEqual(await stream.merge('optimistic', rows.slice(0, 1)), ['merged']);
  assert.deepEqual(await stream.merge('merge', rows), ['duplicate', 'deadLetter']);
  const names = await stream.session.tableNames();
  assert(names.includes('Old Shop.Sold') && !names.includes('Old Shop.y24'), names.join());
});

test('what the database cannot spell is kept as bytes (P10)', async () => {
  await rig.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
  const latin = new Rig(rig.url.replace(/only$/, 'latin'));
  try {
    await latin.sql('CREATE TABLE t (id int PRIMARY KEY, note text)');
    const stream = await latin.stream('t');
    const rows = [
      { id: 1n, note: 'é' },
      { id: 2n, note: '漢' },
    ];
    await assert.rejects(stream.merge('optimistic', rows), fails('row'));
    stream.session = await latin.connect();
    assert.deepEqual(await stream.merge('merge', rows), ['merged', 'deadLetter']);
    await stream.merge('optimistic', [new NotDecoded('漢', 'unknown-column')]);
    const [letter] = await stream.letters();
    assert.deepEqual([letter?.sqlState, letter?.row], ['22P05', null]);
    assert.equal(Buffer.from(letter?.raw ?? []).toString(), '{"id":2,"note":"漢"}');
  } finally {
    await latin.close();
  }
});

test('a role without rights, and a view, are held', async () => {
  await rig.sql(`CREATE TABLE secret (id int PRIMARY KEY); CREATE VIEW seen AS SELECT 1 AS id;
    CREATE ROLE plain LOGIN`);
  const session = await rig.connect();
  await assert.rejects(session.describe('seen'), fails('hold'));
  const other = new Rig(rig.url.replace('postgres@', 'plain@'));
  try {
    const plain = await other.connect();
    assert.equal(plain.identity, session.identity, 'the identity needs no superuser');
    await assert.rejects(plain.describe('secret'), { code: '42501', kind: 'hold' });
  } finally {
    await other.close();
  }
});

test('missing tables: it says what to run; several processes may make them at once', async () => {
  const fresh = new Rig(await createDatabase(server, 'fresh'));
  try {
    const sessions = [await fresh.connect(), await fresh.connect(), await fresh.connect()];
    await assert.rejects(sessions[0]?.prepare(false) ?? Promise.resolve(), /holdfast init --sql/);
    await Promise.all(sessions.map((session) => session.prepare(true)));
    await sessions[0]?.prepare(false);
    await fresh.sql('INSERT INTO holdfast_version VALUES (99)');
    await assert.rejects(sessions[0]?.prepare(true) ?? Promise.resolve(), fails('hold'));
  } finally {
    await fresh.close();
  }
});

test('a COMMIT that the server answers with ROLLBACK is not taken for one', async () => {
  const options = { clock: systemClock, connectMsMax: 5000, answerMsMax: 5000 };
  const connection = await Connection.open(rig.url, options);
  try {
    await connection.script('BEGIN');
    await assert.rejects(connection.script('SELECT 1 / 0'), fails('row'));
    await assert.rejects(connection.commit(), fails('transient'));
  } finally {
    connection.destroy();
  }
});

test('every SQLSTATE is listed once, and unknown ones hold', () => {
  const codes = sqlStates.map(({ code }) => code);
  assert.equal(new Set(codes).size, codes.length);
  assert(codes.every((code) => /^[0-9A-Z]{2}([0-9A-Z]{3})?$/.test(code)));
  assert.equal(classify('22003'), 'row');
  assert.equal(classify('2200H'), 'hold');
  assert.equal(classify('23505'), 'conflict');
  assert.equal(classify('0L000'), 'hold');
  assert.equal(classify(''), 'hold');
});

test('a server notices within minutes that a session of ours is gone', async () => {
  // The system’s own settings show as 7200, 75 and 9.
  const settings = ['idle', 'interval', 'count'].map((name) => `tcp_keepalives_${name}`);
  const shown = settings.map((name) => `current_setting('${name}')`).join(" || ' ' || ");
  await rig.sql(`CREATE TABLE kept (id bigint PRIMARY KEY, alive text DEFAULT ${shown})`);
  const stream = await rig.stream('kept');
  await stream.merge('optimistic', [{ id: 1n }]);
  assert.deepEqual(await rig.sql('SELECT alive FROM kept'), [{ alive: '60 10 6' }]);
});

test('dead letters of many megabytes go in parts, in one transaction', async () => {
  await rig.sql('CREATE TABLE vast (id int PRIMARY KEY, n numeric CHECK (n < 10))');
  const stream = await rig.stream('vast');
  // Ten bytes that are 131 KB of text each.
  const rows = Array.from({ length: 100 }, (_, i) => ({ id: BigInt(i), n: '1e131071' }));
  const ends = await stream.merge('merge', [...rows, new NotDecoded('{')]);
  assert.deepEqual(new Set(ends), new Set(['deadLetter']));
  const [kept] = await rig.sql(
    `SELECT count(*)::int AS letters, min(length(row_json)) AS characters,
       count(DISTINCT xmin::text)::int AS transactions, count(DISTINCT cmin::text)::int AS parts
     FROM holdfast_dead_letters WHERE stream = '${stream.id.stream}'`,
  );
  const characters = '{"id":0,"n":}'.length + 131_072;
  assert.deepEqual(kept, { letters: 101, characters, transactions: 1, parts: 4 });
});
