// Dead letters on their way into their table, in parts of some MiB: neither what one statement is
// sent nor what of them is in memory grows with their number. All parts go in the transaction of
// the books, and the last one in their statement: an ordinary batch needs no round trip for them.
import type { Letter, Letters } from '../letter.ts';
import type { Connection } from './connection.ts';

/**
 * A letter that is larger is a part of its own. V8 and PostgreSQL take the largest, too: 1,100
 * numbers of ten bytes and 131 KB of text, which is what a row of a temporary table holds, or a
 * record's 32 MiB in JSON's escapes and an array's, 224 MiB.
 */
const partCharactersMax = 4 * 1024 * 1024;

const parameters = ['uuid', 'int', 'bigint', 'text', 'bytea', 'text', 'text', 'text'];

/** The letters of stream $`stream`; letterValues are its parameters from $`first` on. */
export function insertLetters(stream: number, first: number): string {
  const values = parameters.map((type, i) => `$${first + i}::${type}[]`);
  return `INSERT INTO holdfast_dead_letters (stream, writer, lane, sequence, row_json, raw, code,
    sqlstate, message) SELECT $${stream}, * FROM unnest(${values.join(', ')})`;
}

export const letterValues = (letters: readonly Letter[]): unknown[] => [
  letters.map((letter) => letter.writer),
  letters.map((letter) => letter.lane),
  letters.map((letter) => letter.sequence),
  letters.map((letter) => letter.row),
  letters.map((letter) => letter.raw && Buffer.from(letter.raw)),
  letters.map((letter) => letter.code),
  letters.map((letter) => letter.sqlState),
  letters.map((letter) => letter.message),
];

const insertSql = insertLetters(1, 2);

/** Inserts all parts but the last, which it returns. */
export async function keepButLast(
  connection: Connection,
  stream: string,
  letters: Letters,
): Promise<readonly Letter[]> {
  let part: Letter[] = [];
  let characters = 0;
  for await (const letter of letters) {
    const size = charactersOf(letter);
    if (part.length > 0 && characters + size > partCharactersMax) {
      await connection.query(insertSql, [stream, ...letterValues(part)]);
      part = [];
      characters = 0;
    }
    part.push(letter);
    characters += size;
  }
  return part;
}

/** Bytes go in hexadecimal. */
const charactersOf = ({ row, raw, message }: Letter): number =>
  (row?.length ?? 0) + 2 * (raw?.length ?? 0) + message.length;
