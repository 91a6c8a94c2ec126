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
