// `holdfast init` from outside: the configuration that it writes is used, not compared.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { LoadResult } from '../src/types.ts';
import { type Ended, jsonOf, openShop, payments } from './support/command-line.ts';
import { createMariadb, query, startMariadb } from './support/mariadb.ts';

const messageOf = (ended: Ended): string => jsonOf<{ readonly message: string }>(ended).message;

test('init reads the key from the table, and keeps a configuration that is there', async (t) => {
  const shop = openShop(t, null);
  const args = ['init', '--target', 'sqlite:./shop.db', '--table', 'payments', '--json'];
  const written = await shop.run(args);
  assert.equal(written.exit, 0, written.stderr);
  const text = readFileSync(join(shop.folder, 'holdfast.config.ts'), 'utf8');
  assert.match(text, /key: \['tx_id'\]/);
  shop.write('p.csv', `tx_id,user_id,amount,status\n${payments(1, 5)}`);
  const loaded = await shop.run(['load', 'p.csv', '--json']);
  assert.equal(jsonOf<LoadResult>(loaded).merged, 5, loaded.stderr);
  assert.match(messageOf(await shop.run(args)), /--force/);
  const unknown = await shop.run([...args.slice(0, 3), '--table', 'payment', '--force', '--json']);
  assert.match(messageOf(unknown), /did you mean "payments"/);
  const asked = await shop.run(['init', '--json', '--force']);
  assert.match(messageOf(asked), /give --target/);
  const sql = await shop.run(['init', '--sql', '--target', 'sqlite:./shop.db']);
  assert.match(sql.stdout, /CREATE TABLE IF NOT EXISTS holdfast_ledger/);
});

test('init writes a configuration that is read, also under commonjs', async (t) => {
  const shop = openShop(t, null);
  shop.write('package.json', '{ "type": "commonjs" }');
  const args = ['init', '--target', 'sqlite:./shop.db', '--table', 'payments', '--json'];
  assert.equal((await shop.run(args)).exit, 0);
  const read = await shop.run(['status', '--json']);
  assert.equal(read.exit, 0, read.stderr);
  const text = readFileSync(join(shop.folder, 'holdfast.config.mts'), 'utf8');
  shop.write('other.ts', text);
  const other = messageOf(await shop.run(['status', '--config', 'other.ts', '--json']));
  assert.match(other, /cannot be read: .*let the name end in \.mts/);
});

test('init takes no journal that is there for a new configuration', async (t) => {
  const shop = openShop(t, null);
  mkdirSync(join(shop.folder, 'data/journal'), { recursive: true });
  shop.write('data/journal/owner.json', '{}');
  const args = ['init', '--target', 'sqlite:./shop.db', '--table', 'payments', '--json'];
  assert.match(messageOf(await shop.run(args)), /holds a journal already.*--journal/);
  assert.equal((await shop.run([...args, '--journal', './data/shop-journal'])).exit, 0);
});

test('init reads a table of MariaDB, and what it wrote loads into it', async (t) => {
  const server = await startMariadb();
  t.after(() => server.stop());
  const target = await createMariadb(server, 'shop');
  await query(
    target,
    `CREATE TABLE payments (tx_id bigint PRIMARY KEY, user_id int NOT NULL,
       amount decimal(18,2) NOT NULL, status varchar(20) NOT NULL)`,
  );
  const shop = openShop(t, null);
  const written = await shop.run(['init', '--target', target, '--table', 'payments', '--json']);
  assert.equal(written.exit, 0, written.stderr);
  shop.write('p.csv', `tx_id,user_id,amount,status\n${payments(1, 5)}`);
  const loaded = await shop.run(['load', 'p.csv', '--json']);
  assert.equal(jsonOf<LoadResult>(loaded).merged, 5, loaded.stderr);
  const sql = await shop.run(['init', '--sql', '--target', target]);
  const own = await createMariadb(server, 'by_hand');
  await query(own, sql.stdout);
  const [{ tables } = {}] = await query(
    own,
    `SELECT COUNT(*) AS tables FROM information_schema.tables WHERE table_schema = 'by_hand'`,
  );
  assert.equal(Number(tables), 8);
});
