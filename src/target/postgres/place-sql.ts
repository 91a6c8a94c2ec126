// The statements that put the typed rows of a part into the table, and those that ask what became
// of the rows that did not go in. Text only.
import type { OnConflict } from '../../merge/batch.ts';
import { fieldOf, type Part, seqArray } from './temporary.ts';
import { list, name, tableName } from './text.ts';

/** How a part's rows meet a row of their key: as the stream says, as far as they can. */
export type Meeting = 'none' | 'insert' | 'update' | { readonly newest: string };

export function meetingOf(part: Part, onConflict: OnConflict): Meeting {
  if (part.key.length === 0) return 'none';
  const isOnlyKey = changedBy(part).length === 0;
  if (onConflict === 'dead-letter' || onConflict === 'ignore' || isOnlyKey) return 'insert';
  return onConflict === 'update' ? 'update' : { newest: onConflict.newest };
}

/** What an update writes: a key, too, where another value is the same key. */
const changedBy = ({ columns, key, looseKey }: Part): readonly string[] =>
  columns.filter((column) => !key.includes(column) || looseKey.includes(column));

/** Without a key: all rows go in, or the statement fails. `pick` chooses rows of the part. */
export const insertAll = (table: string, part: Part, pick: string): string =>
  `INSERT INTO ${tableName(table)} ${columnList(part)}
   SELECT ${part.columns.map((_, i) => `c${i}`).join()} FROM ${part.typed}
   WHERE wave = ${part.wave} AND ${pick} ORDER BY ord`;

/** Identity columns take the given value too, as COPY has it. */
const columnList = (part: Part): string => `(${list(part.columns)}) OVERRIDING SYSTEM VALUE`;

/**
 * One row of each key goes in, or is merged with the row that is there. Keys are compared by the
 * server, as the table compares them. Answers with `inserted`, a count; `known`, how many of these
 * are known again by their key; `rest`, the seqs of all rows that did not go in; and `beaten`,
 * those of them that stood for their key.
 */
export function insertWinners(
  table: string,
  part: Part,
  { meeting, pick }: { readonly meeting: Meeting; readonly pick: string },
): string {
  const keys = part.key.map((column) => fieldOf(part, column)).join();
  const rows = `${part.typed} WHERE wave = ${part.wave} AND ${pick}`;
  // IN stands in the list of columns, and NOT IN elsewhere, because both are then looked up in a
  // hash table. As a join the planner, which knows nothing of new temporary tables, may compare
  // every row with every other.
  return `WITH winners AS MATERIALIZED (
      SELECT DISTINCT ON (${keys}) * FROM ${rows} ORDER BY ${keys}, ${precedence(part, meeting)}
    ), ins AS (
      INSERT INTO ${tableName(table)} AS t ${columnList(part)}
      SELECT ${part.columns.map((_, i) => `c${i}`).join()} FROM winners ORDER BY ord
      ON CONFLICT (${list(part.key)}) ${action(part, meeting)}
      RETURNING ${list(part.key, 't.')}
    ), told AS MATERIALIZED (
      SELECT seq, (${keys}) IN (SELECT ${list(part.key)} FROM ins) AS went FROM winners
    ) SELECT (SELECT count(*) FROM ins) AS inserted,
      (SELECT count(*) FROM told WHERE went) AS known,
      ARRAY(SELECT seq FROM told WHERE NOT went) AS beaten,
      ARRAY(SELECT seq FROM ${rows} AND seq NOT IN (SELECT seq FROM told WHERE went)) AS rest`;
}

/** Which row stands for its key: the first, the last, or that with the highest version. */
function precedence(part: Part, meeting: Meeting): string {
  if (meeting === 'update') return 'seq DESC';
  const isNewest = typeof meeting === 'object' && part.columns.includes(meeting.newest);
  return isNewest ? `${fieldOf(part, meeting.newest)} DESC, seq` : 'seq';
}

function action(part: Part, meeting: Meeting): string {
  if (meeting === 'insert' || meeting === 'none') return 'DO NOTHING';
  const changed = changedBy(part);
  const set = changed.map((column) => `${name(column)} = excluded.${name(column)}`).join(', ');
  const condition =
    meeting === 'update'
      ? `NOT ${sameBytes(list(changed, 't.'), list(changed, 'excluded.'))}`
      : `excluded.${name(meeting.newest)} > t.${name(meeting.newest)}`;
  return `DO UPDATE SET ${set} WHERE ${condition}`;
}

// `*=` compares records by their stored bytes; json has no other equality, and 1.0 is not 1.00
// here. Without the casts it would be taken for a comparison column by column.
const sameBytes = (one: string, other: string): string =>
  `(ROW(${one})::record *= ROW(${other})::record)`;

/** What the table holds under a row's key, compared on the row's columns, bytewise (P7). */
export type Verdict = 'equal' | 'different' | 'absent' | 'older' | 'newer';

/**
 * `seq` and Verdict of the part's rows `seqs`; with `version` other versions are told apart first.
 */
export const judgeRows = (
  table: string,
  part: Part,
  { seqs, version }: { readonly seqs: readonly number[]; readonly version: string | undefined },
): string =>
  `SELECT s.seq, ${verdictOf(part, version)} AS verdict FROM ${part.typed} s
   ${beside(table, part)} WHERE s.wave = ${part.wave} AND s.${seqArray(seqs)}`;

/** `seq` and Verdict of all rows of the part that are not equal. */
export const judgeAll = (table: string, part: Part): string =>
  `SELECT * FROM (SELECT s.seq, ${verdictOf(part, undefined)} AS verdict FROM ${part.typed} s
   ${beside(table, part)} WHERE s.wave = ${part.wave}) v WHERE verdict <> 'equal'`;

// LIMIT keeps the planner to one look-up by the key for each row, however large the table.
function beside(table: string, part: Part): string {
  const matches = part.key.map((column) => `t.${name(column)} = s.${fieldOf(part, column)}`);
  return `LEFT JOIN LATERAL (SELECT true AS found, ${list(part.columns, 't.')}
    FROM ${tableName(table)} t WHERE ${matches.join(' AND ')} LIMIT 1) t ON true`;
}

function verdictOf(part: Part, version: string | undefined): string {
  const own = part.columns.map((_, i) => `s.c${i}`).join();
  const versions =
    version === undefined
      ? ''
      : `WHEN s.${fieldOf(part, version)} < t.${name(version)} THEN 'older'
         WHEN s.${fieldOf(part, version)} > t.${name(version)} THEN 'newer'`;
  return `CASE WHEN t.found IS NULL THEN 'absent' ${versions}
    WHEN ${sameBytes(list(part.columns, 't.'), own)} THEN 'equal' ELSE 'different' END`;
}
