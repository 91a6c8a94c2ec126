// The bare bulk load of bench sqlite, in a process of its own: NDJSON bodies by JSON.parse, 100
// rows an INSERT, 20,000 a transaction, synced at each commit. Tried: 1, 50 and 100 rows an INSERT
// (96, 185 and 191 thousand rows/s beside other work), and INSERT … SELECT … FROM json_each(?) of
// the whole body (98).
import { DatabaseSync, type SQLInputValue } from 'node:sqlite';
import { answerCalls } from './children.ts';
import { Body, bodyRows } from './payments.ts';
import type { Rows } from './product.ts';

const insertRows = 100;
const transactionRows = 20_000;

export interface Contents {
  readonly count: number;
  readonly keys: number;
  readonly amounts: number;
  readonly bytes: number;
}

let opened: DatabaseSync | undefined;

function database(): DatabaseSync {
  if (!opened) throw new Error('open comes first');
  return opened;
}

/** Makes the database, as Holdfast will use it. */
function open({ path }: { readonly path: string }): void {
  opened = new DatabaseSync(path);
  opened.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=10000;
    CREATE TABLE payments (
      tx_id INTEGER PRIMARY KEY,
      user_id INTEGER NOT NULL,
      amount NUMERIC(18,2) NOT NULL,
      status TEXT NOT NULL,
      created_at TEXT NOT NULL,
      note TEXT
    )`);
}

/** Nothing of an earlier run is left to be written back. */
function empty(): void {
  database().exec('DELETE FROM payments; PRAGMA wal_checkpoint(TRUNCATE)');
}

type Payment = { readonly [column: string]: SQLInputValue };

function write({ first, rows }: Rows): void {
  const own = database();
  const places = Array.from({ length: insertRows }, () => '(?, ?, ?, ?, ?, ?)').join(', ');
  const insert = own.prepare(`INSERT INTO payments VALUES ${places}`);
  const body = new Body();
  const values: SQLInputValue[] = [];
  own.exec('BEGIN');
  for (let done = 0; done < rows; done += bodyRows) {
    if (done > 0 && done % transactionRows === 0) own.exec('COMMIT; BEGIN');
    body.setKeys(first + done);
    const text = body.bytes.toString('utf8', 0, body.bytes.length - 1).replaceAll('\n', ',');
    for (const row of JSON.parse(`[${text}]`) as Payment[]) {
      for (const column in row) values.push(row[column] ?? null);
      if (values.length < insertRows * 6) continue;
      insert.run(...values);
      values.length = 0;
    }
  }
  own.exec('COMMIT');
}

function contents(): Contents {
  const sums = database()
    .prepare(
      `SELECT count(*) AS count, sum(tx_id % 1000003) AS keys, sum(amount) AS amounts,
         sum(length(status) + length(created_at) + coalesce(length(note), 0)) AS bytes
       FROM payments`,
    )
    .get();
  return { ...sums } as unknown as Contents;
}

answerCalls({ open, empty, write, contents });
