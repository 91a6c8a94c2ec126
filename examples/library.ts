// A payment into a SQLite table, twice: `npm exec -- node examples/library.ts` in a checkout.
import { mkdirSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { open } from '../src/index.ts';

mkdirSync('data', { recursive: true });
const database = new DatabaseSync('data/shop.db');
database.exec(
  'CREATE TABLE IF NOT EXISTS payments (tx_id INTEGER PRIMARY KEY, amount DECIMAL(18,2))',
);

const holdfast = await open({
  journal: 'data/shop-journal',
  target: 'sqlite:data/shop.db', // or postgres://user@host/database
  streams: { payments: { table: 'payments', key: ['tx_id'] } },
});
const row = { tx_id: 9007199254740993n, amount: '12.50' };
const receipt = await holdfast.write('payments', row); // on disk when this returns
console.log(await receipt.settled); // in the table: { merged: 1, duplicates: 0, … }

const again = await holdfast.write('payments', row);
console.log(await again.settled); // { merged: 0, duplicates: 1, … }
await holdfast.close();
database.close();
