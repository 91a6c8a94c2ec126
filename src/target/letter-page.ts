// One page of dead letters in the order of their ids: so many at most, and so many bytes. Ids never
// change, and every dialect has them as the table's key: no page needs a sort, and none leaves out
// what another attempt has made younger. Lengths are read first, of more and more letters while
// little is found, so that no server reads what a page does not hold.
import { limits } from '../limits.ts';
import type { DeadLetterId } from './target.ts';

const identity = 'writer, stream, lane, sequence';

const size =
  'coalesce(octet_length(raw), 0) + coalesce(octet_length(row_json), 0) + octet_length(message)';

/** Lengths are asked of so many letters first. */
const sizedMin = 8;

/** Letters that are still dead, between two of them. */
export interface Piece {
  readonly columns: string;
  readonly after: DeadLetterId | undefined;
  readonly upTo?: DeadLetterId | undefined;
  readonly limit: number;
}

/** The statement for a piece; `key` gives an id's four values as SQL, or as parameters. */
export function pieceSql(
  { columns, after, upTo, limit }: Piece,
  of: {
    readonly table: string;
    readonly stream?: string | undefined;
    key(id: DeadLetterId): string;
  },
): string {
  const where = ["state = 'dead'"];
  if (of.stream !== undefined) where.push(`stream = ${of.stream}`);
  if (after) where.push(`(${identity}) > (${of.key(after)})`);
  if (upTo) where.push(`(${identity}) <= (${of.key(upTo)})`);
  return `SELECT ${columns} FROM ${of.table} WHERE ${where.join(' AND ')}
    ORDER BY ${identity} LIMIT ${Math.trunc(limit)}`;
}

type Row = { readonly [column: string]: unknown };

/** Letters that end between the statements are missing in the page, and nothing comes for them. */
export async function readPage<R extends Row>(
  page: {
    readonly columns: string;
    readonly after: DeadLetterId | undefined;
    readonly limit: number;
  },
  read: (piece: Piece) => Promise<readonly R[]>,
): Promise<readonly R[]> {
  const columns = `${identity}, ${size} AS size`;
  const most = Math.max(page.limit, 0);
  let upTo: DeadLetterId | undefined;
  let [count, bytes] = [0, 0];
  for (let wanted = sizedMin; ; wanted *= 2) {
    const limit = Math.min(wanted, most - count);
    const sized = await read({ columns, after: upTo ?? page.after, limit });
    for (const row of sized) {
      if (bytes >= limits.lettersListedBytes) break;
      bytes += Number(row['size']);
      count++;
      upTo = idOf(row);
    }
    const isAll = sized.length < limit || count === most;
    if (isAll || bytes >= limits.lettersListedBytes) break;
  }
  return upTo ? read({ ...page, upTo, limit: count }) : [];
}

const idOf = (row: Row): DeadLetterId => ({
  writer: String(row['writer']),
  stream: String(row['stream']),
  lane: Number(row['lane']),
  sequence: Number(row['sequence']),
});
