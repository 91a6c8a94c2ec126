// One page of dead letters, the oldest first: so many at most, and so many bytes. In SQL that every
// dialect takes, MySQL 5.6, too. Lengths are read first, then no more letters than fit.
import { limits } from '../limits.ts';

/** Total: a page can begin behind any letter. */
const order = 'first_at, stream, lane, sequence, writer';

const size =
  'coalesce(octet_length(raw), 0) + coalesce(octet_length(row_json), 0) + octet_length(message)';

/** Of the letters behind the one that `which` finds; of none where it finds none. */
export const behindLetter = (which: string): string =>
  `(${order}) > (SELECT ${order} FROM holdfast_dead_letters WHERE ${which})`;

interface PageOf<R> {
  /** Of a letter. */
  readonly columns: string;
  readonly where: string;
  readonly limit: number;
  query(sql: string): Promise<readonly R[]>;
}

type Row = { readonly [column: string]: unknown };

/** Who replays or drops letters between the two statements makes way for as many others. */
export async function readPage<R extends Row>(of: PageOf<R>): Promise<readonly R[]> {
  const select = (columns: string, limit: number): Promise<readonly R[]> =>
    of.query(
      `SELECT ${columns} FROM holdfast_dead_letters WHERE ${of.where}
       ORDER BY ${order} LIMIT ${Math.trunc(limit)}`,
    );
  const sizes = await select(`${size} AS size`, of.limit);
  let bytes = 0;
  let count = 0;
  for (const row of sizes) {
    if (bytes >= limits.lettersListedBytes) break;
    bytes += Number(row['size']);
    count++;
  }
  return count === 0 ? [] : select(of.columns, count);
}
