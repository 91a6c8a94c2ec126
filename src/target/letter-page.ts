// One page of dead letters as SQL that every dialect takes: the oldest first, so many at most, and
// so many bytes. Only keys and lengths are ordered and added up; of letters themselves no more is
// read than the page.
import { limits } from '../limits.ts';

/** Total: a page can begin behind any letter. */
const order = ['first_at', 'stream', 'lane', 'sequence', 'writer'];
const identity = 'writer, stream, lane, sequence';

const size =
  'coalesce(octet_length(raw), 0) + coalesce(octet_length(row_json), 0) + octet_length(message)';

/** `columns` are the letter's, whose table is `d`; `where` and `limit` may be parameters. */
export function letterPage(of: {
  readonly columns: string;
  readonly where: string;
  readonly limit: string | number;
}): string {
  const { columns, where, limit } = of;
  return `SELECT ${columns} FROM (
      SELECT ${identity}, sum(size) OVER (ORDER BY ${order.join()} ROWS UNBOUNDED PRECEDING) - size
        AS bytes_before
      FROM (SELECT ${order.join()}, ${size} AS size FROM holdfast_dead_letters
        WHERE ${where} ORDER BY ${order.join()} LIMIT ${limit}) s
    ) k JOIN holdfast_dead_letters d USING (${identity})
    WHERE bytes_before < ${limits.lettersListedBytes}
    ORDER BY ${order.map((column) => `d.${column}`).join()}`;
}

/** Of the letters behind the one that `which` finds; of none where it finds none. */
export const behindLetter = (which: string): string =>
  `(${order.join()}) > (SELECT ${order.join()} FROM holdfast_dead_letters WHERE ${which})`;
