// The statements that put the typed rows of a part into the table, and those that ask what became of
// the rows that did not go in. Text only.
import type { OnConflict } from '../../merge/batch.ts';
import { type Part, staged } from './stage.ts';
import { list, name, tableName } from './text.ts';

/** Rows that did not go in, by `seq`; `winner`: the row that stood for its key in the statement. */
export const restTable = `CREATE TEMP TABLE IF NOT EXISTS holdfast_rest (seq int, winner boolean)
  ON COMMIT DELETE ROWS`;

/** How a part's rows meet a row of their key: as the stream says, as far as they can. */
export type Meeting = 'none' | 'insert' | 'update' | { readonly newest: string };

export function meetingOf(part: Part, onConflict: OnConflict): Meeting {
  if (part.key.length === 0) return 'none';
  const isOnlyKey = part.columns.every((column) => part.key.includes(column));
  if (onConflict === 'dead-letter' || onConflict === 'ignore' || isOnlyKey) return 'insert';
  return onConflict === 'update' ? 'update' : { newest: onConflict.newest };
}

/** Without a key: all rows go in, or the statement fails. `pick` chooses rows of the part. */
export const insertAll = (table: string, part: Part, pick: string): string =>
  `INSERT INTO ${tableName(table)} ${columnList(part)}
   SELECT ${part.columns.map((_, i) => `c${i}`).join()} FROM ${part.typed}
   WHERE wave = ${part.wave} AND ${pick} ORDER BY ord`;

/** Identity columns take the given value too, as COPY has it. */
const columnList = (part: Part): string => `(${list(part.columns)}) OVERRIDING SYSTEM VALUE`;

/**
 * One row of each key goes in, or is merged with the row that is there; all others are noted in
 * holdfast_rest. Keys are compared by the server, as the table compares them. Answers with counts:
 * `inserted` rows, how many of them are known again by their key, and how many are in the rest.
 */
export function insertWinners(
  table: string,
  part: Part,
  { meeting, pick }: { readonly meeting: Meeting; readonly pick: string },
): string {
  const keys = part.key.map((column) => staged(part, column));
  const matches = part.key.map((column) => `w.${staged(part, column)} = i.${name(column)}`);
  const rows = `${part.typed} WHERE wave = ${part.wave} AND ${pick}`;
  return `WITH winners AS MATERIALIZED (
      SELECT DISTINCT ON (${keys.join()}) * FROM ${rows}
      ORDER BY ${keys.join()}, ${precedence(part, meeting)}
    ), ins AS (
      INSERT INTO ${tableName(table)} AS t ${columnList(part)}
      SELECT ${part.columns.map((_, i) => `c${i}`).join()} FROM winners ORDER BY ord
      ON CONFLICT (${list(part.key)}) ${action(part, meeting)}
      RETURNING ${list(part.key, 't.')}
    ), won AS MATERIALIZED (
      SELECT w.seq FROM winners w JOIN ins i ON ${matches.join(' AND ')}
    ), rest AS (
      INSERT INTO pg_temp.holdfast_rest
      SELECT seq, seq IN (SELECT seq FROM winners) FROM ${rows}
        AND seq NOT IN (SELECT seq FROM won)
      RETURNING 1
    ) SELECT (SELECT count(*) FROM ins) AS inserted, (SELECT count(*) FROM won) AS known,
      (SELECT count(*) FROM rest) AS rest`;
}

/** Which row stands for its key: the first, the last, or that with the highest version. */
function precedence(part: Part, meeting: Meeting): string {
  if (meeting === 'update') return 'seq DESC';
  const isNewest = typeof meeting === 'object' && part.columns.includes(meeting.newest);
  return isNewest ? `${staged(part, meeting.newest)} DESC, seq` : 'seq';
}

function action(part: Part, meeting: Meeting): string {
  if (meeting === 'insert' || meeting === 'none') return 'DO NOTHING';
  const changed = part.columns.filter((column) => !part.key.includes(column));
  const set = changed.map((column) => `${name(column)} = excluded.${name(column)}`).join(', ');
  const condition =
    meeting === 'update'
      ? `NOT ${sameBytes(list(changed, 't.'), list(changed, 'excluded.'))}`
      : `excluded.${name(meeting.newest)} > t.${name(meeting.newest)}`;
  return `DO UPDATE SET ${set} WHERE ${condition}`;
}

// `*=` compares records by their stored bytes; json has no other equality, and 1.0 is not 1.00 here.
// Without the casts it would be taken for a comparison column by column.
const sameBytes = (one: string, other: string): string =>
  `(ROW(${one})::record *= ROW(${other})::record)`;

/** What the table holds under a row's key, compared on the row's columns, bytewise (P7). */
export type Verdict = 'equal' | 'different' | 'absent' | 'older' | 'newer';

/**
 * `seq`, `winner` and Verdict of the part's rows in holdfast_rest; `version`: rows of other versions
 * are told apart first.
 */
export const judgeRest = (table: string, part: Part, version?: string): string =>
  `SELECT s.seq, r.winner, ${verdictOf(part, version)} AS verdict
   FROM (SELECT seq, bool_or(winner) AS winner FROM pg_temp.holdfast_rest GROUP BY seq) r
   JOIN ${part.typed} s ON s.seq = r.seq AND s.wave = ${part.wave} ${beside(table, part)}`;

/** `seq` and Verdict of all rows of the part that are not equal. */
export const judgeAll = (table: string, part: Part): string =>
  `SELECT * FROM (SELECT s.seq, ${verdictOf(part)} AS verdict FROM ${part.typed} s
   ${beside(table, part)} WHERE s.wave = ${part.wave}) v WHERE verdict <> 'equal'`;

// LIMIT keeps the planner to one look-up by the key for each row, however large the table.
function beside(table: string, part: Part): string {
  const matches = part.key.map((column) => `t.${name(column)} = s.${staged(part, column)}`);
  return `LEFT JOIN LATERAL (SELECT true AS found, ${list(part.columns, 't.')}
    FROM ${tableName(table)} t WHERE ${matches.join(' AND ')} LIMIT 1) t ON true`;
}

function verdictOf(part: Part, version?: string): string {
  const own = part.columns.map((_, i) => `s.c${i}`).join();
  const versions =
    version === undefined
      ? ''
      : `WHEN s.${staged(part, version)} < t.${name(version)} THEN 'older'
         WHEN s.${staged(part, version)} > t.${name(version)} THEN 'newer'`;
  return `CASE WHEN t.found IS NULL THEN 'absent' ${versions}
    WHEN ${sameBytes(list(part.columns, 't.'), own)} THEN 'equal' ELSE 'different' END`;
}
