// The statements by which peers of ours insert: each is one transaction of its own, its answer says
// that it is committed and synced.
import { columns, type Payment } from './rows.ts';

/** Of `pg`, whichever of its copies a peer brings. */
export interface Connection {
  query(statement: {
    readonly name: string;
    readonly text: string;
    readonly values: unknown[];
  }): Promise<unknown>;
}

const into = `INSERT INTO payments (${columns.join(', ')})`;
const types = ['bigint', 'bigint', 'numeric', 'text', 'timestamptz', 'text'];
const arrays = types.map((type, i) => `$${i + 1}::${type}[]`).join(', ');
/** What came twice is left out where the table has a key, and is there twice where it has none. */
const once = 'ON CONFLICT DO NOTHING';

const one = `${into} VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')})`;
const unnested = `${into} SELECT * FROM unnest(${arrays}) ${once}`;

/** `($1, …, $6), ($7, …), …`: a statement for so many rows. */
function listed(rows: number): string {
  const width = columns.length;
  const row = (i: number): string =>
    `(${columns.map((_, column) => `$${i * width + column + 1}`).join(', ')})`;
  return `${into} VALUES ${Array.from({ length: rows }, (_, i) => row(i)).join(', ')} ${once}`;
}

const lists = new Map<number, string>();

export async function insertOne(to: Connection, row: Payment): Promise<void> {
  await to.query({ name: 'one', text: one, values: columns.map((column) => row[column]) });
}

/** One value after the other in one list. */
export async function insertListed(to: Connection, rows: readonly Payment[]): Promise<void> {
  const text = lists.get(rows.length) ?? listed(rows.length);
  lists.set(rows.length, text);
  const values = rows.flatMap((row) => columns.map((column) => row[column]));
  await to.query({ name: `listed ${rows.length}`, text, values });
}

/** An array a column. */
export async function insertUnnested(to: Connection, rows: readonly Payment[]): Promise<void> {
  const values = columns.map((column) => rows.map((row) => row[column]));
  await to.query({ name: 'unnested', text: unnested, values });
}
