// Each example is run as it stands, from a copy.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { tableSql } from '../src/cli/start.ts';
import type { LoadResult } from '../src/types.ts';
import { jsonOf, openShop } from './support/command-line.ts';

const examples = join(import.meta.dirname, '../examples');

test('the script makes the very rows that are shipped', (t) => {
  const { folder } = openShop(t, null);
  copyFileSync(join(examples, 'make-payments.ts'), join(folder, 'make-payments.ts'));
  execFileSync(process.execPath, [join(folder, 'make-payments.ts')]);
  const made = readFileSync(join(folder, 'payments.ndjson'));
  assert(made.equals(readFileSync(join(examples, 'payments.ndjson'))));
  assert.equal(made.toString().split('\n').length - 1, 5000);
});

test('the configuration takes the example rows into the table of npm start', async (t) => {
  const shop = openShop(t, null);
  mkdirSync(join(shop.folder, 'examples'));
  mkdirSync(join(shop.folder, 'data'));
  copyFileSync(join(examples, 'holdfast.config.ts'), join(shop.folder, 'examples/c.ts'));
  const database = new DatabaseSync(join(shop.folder, 'data/holdfast.db'));
  database.exec(tableSql);
  const file = join(examples, 'payments.ndjson');
  const ended = await shop.run(['load', file, '--config', 'examples/c.ts', '--json']);
  assert.equal(jsonOf<LoadResult>(ended).merged, 5000, ended.stderr);
  const [row] = database.prepare('SELECT count(*) AS n FROM payments').all();
  database.close();
  assert.equal(row?.['n'], 5000);
});

test('the library example merges its row once, also when it runs again', (t) => {
  const { folder } = openShop(t, null);
  const runExample = () =>
    execFileSync(process.execPath, [join(examples, 'library.ts')], { cwd: folder });
  const duplicate = '{ merged: 0, duplicates: 1, superseded: 0, deadLetters: 0 }\n';
  const merged = '{ merged: 1, duplicates: 0, superseded: 0, deadLetters: 0 }\n';
  assert.equal(runExample().toString(), merged + duplicate);
  assert.equal(runExample().toString(), duplicate + duplicate);
  const database = new DatabaseSync(join(folder, 'data/shop.db'), { readBigInts: true });
  const rows = database.prepare('SELECT * FROM payments').all();
  database.close();
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    [{ tx_id: 9007199254740993n, amount: 12.5 }],
  );
});

test('README shows the library example as it runs, by line 12', () => {
  const readme = readFileSync(join(examples, '../README.md'), 'utf8');
  const code = /```ts\n(.*?)\n```/s.exec(readme);
  assert(code?.[1] !== undefined);
  assert(readme.slice(0, code.index).split('\n').length <= 12);
  const [imported = '', ...rest] = code[1].split('\n\n');
  const example = readFileSync(join(examples, 'library.ts'), 'utf8');
  assert(example.includes(imported.replace("'holdfast'", "'../src/index.ts'")), imported);
  assert(example.includes(rest.join('\n\n')), rest.join('\n\n'));
});
