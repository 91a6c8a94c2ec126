// A real file through the command line, to the last digit; what was changed behind our back is
// found.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, type TestContext, test } from 'node:test';
import type { VerifyResult } from '../../src/types.ts';
import {
  berkaAmount,
  berkaLoad,
  berkaMissing,
  berkaPath,
  berkaRows,
  hundredths,
  transTable,
} from '../support/berka.ts';
import { jsonOf } from '../support/command-line.ts';
import {
  type Dialect,
  dialects,
  number,
  openStore,
  type Servers,
  type Store,
  startServers,
} from '../support/stores.ts';

let servers: Servers;
before(async () => {
  servers = await startServers();
});
after(() => servers.stop());

interface Counts {
  readonly accepted: number;
  readonly merged: number;
  readonly duplicates: number;
  readonly superseded: number;
  readonly deadLetters: number;
  readonly rejected: readonly { readonly line: number; readonly code: string }[];
}

interface Letters {
  readonly deadLetters: readonly { readonly id: string; readonly code: string }[];
}

/** A load that must end well; without what differs from run to run. */
async function load(store: Store, file = berkaPath): Promise<Counts> {
  const ended = await store.run(berkaLoad('trans', file));
  assert.equal(ended.exit, 0, ended.stderr);
  const { accepted, merged, duplicates, superseded, deadLetters, rejected } = jsonOf<Counts>(ended);
  const lines = rejected.map(({ line, code }) => ({ line, code }));
  return { accepted, merged, duplicates, superseded, deadLetters, rejected: lines };
}

/** Of the whole file: its cut line is a dead letter each time. */
const counts = (ends: { merged?: number; duplicates?: number; conflicts?: number }): Counts => ({
  accepted: berkaRows + 1,
  merged: ends.merged ?? 0,
  duplicates: ends.duplicates ?? 0,
  superseded: 0,
  deadLetters: 1 + (ends.conflicts ?? 0),
  rejected: [{ line: 49_104, code: 'cut-off' }],
});

/** Its first lines, whole: the same each time costs little. */
const startOfFile = (): string[] =>
  readFileSync(berkaPath, 'latin1')
    .split('\n', 5_000)
    .map((line) => `${line}\n`);

const bytesOf = (lines: readonly (string | undefined)[]): Buffer =>
  Buffer.from(lines.join(''), 'latin1');

async function amountIn(store: Store): Promise<bigint> {
  const rows = await store.sql('SELECT concat(amount) AS amount FROM trans');
  return rows.reduce((sum, { amount }) => sum + hundredths(String(amount)), 0n);
}

async function verify(store: Store, exit: number): Promise<VerifyResult> {
  const ended = await store.run(['verify', '--json']);
  assert.equal(ended.exit, exit, ended.stdout + ended.stderr);
  return jsonOf<VerifyResult>(ended);
}

const storeWithTrans = async (t: TestContext, dialect: Dialect): Promise<Store> => {
  const streams = { trans: { table: 'trans', key: ['trans_id'] } };
  const store = await openStore(t, { dialect, servers, streams });
  await store.sql(transTable('trans', 'keyed'));
  return store;
};

for (const dialect of dialects) {
  test(`${dialect} has each row of a file once, however often it is loaded`, {
    skip: berkaMissing,
  }, async (t) => {
    const store = await storeWithTrans(t, dialect);
    assert.deepEqual(await load(store), counts({ merged: berkaRows }));
    assert.equal(await number(store, 'SELECT count(*) FROM trans'), berkaRows);
    assert.equal(await amountIn(store), berkaAmount());
    assert.deepEqual(await load(store), counts({ duplicates: berkaRows }));

    const [header, first = '', ...others] = startOfFile();
    const amount = ';700.00;';
    assert(first.includes(amount));
    store.write('changed.asc', bytesOf([header, first.replace(amount, ';700.01;'), ...others]));
    const third = counts({ duplicates: others.length, conflicts: 1 });
    const accepted = others.length + 1;
    const expected = { ...third, accepted, deadLetters: 1, rejected: [] };
    assert.deepEqual(await load(store, 'changed.asc'), expected);
    const letters = jsonOf<Letters>(await store.run(['dead-letters', 'list', '--json']));
    const codes = letters.deadLetters.map(({ code }) => code).sort();
    assert.deepEqual(codes, ['cut-off', 'cut-off', 'key-conflict']);

    assert.equal(await amountIn(store), berkaAmount(), 'the table keeps what it has');
    const { differences, notCheckable, checked } = await verify(store, 0);
    const kept = [{ stream: 'trans', records: 1, reason: 'a dead letter' }];
    assert.deepEqual({ differences, notCheckable }, { differences: [], notCheckable: kept });
    assert.equal(checked, 2 * berkaRows + others.length);
  });

  test(`verify finds a row that was deleted from ${dialect} or changed there by hand`, {
    skip: berkaMissing,
  }, async (t) => {
    const store = await storeWithTrans(t, dialect);
    store.write('some.asc', bytesOf(startOfFile()));
    await load(store, 'some.asc');
    await store.sql('CREATE TABLE aside AS SELECT * FROM trans WHERE trans_id = 171812');
    await store.sql('DELETE FROM trans WHERE trans_id = 171812');
    const found = async () => {
      const { ok, differences } = await verify(store, 1);
      assert.equal(ok, false);
      return differences.map(({ kind, key }) => [kind, key]);
    };
    const key = JSON.stringify({ trans_id: 171812 });
    assert.deepEqual(await found(), [['missing', key]]);
    await store.sql('INSERT INTO trans SELECT * FROM aside');
    await verify(store, 0);
    await store.sql('UPDATE trans SET amount = amount + 0.01 WHERE trans_id = 171812');
    assert.deepEqual(await found(), [['different', key]]);
  });
}
