// The books of a batch: ledger rows, dead letters, and the lanes' watermarks and totals. They are
// worth something only in the transaction of the rows.

import type { Batch } from '../../merge/batch.ts';
import { type LedgerRow, ledgerRows } from '../../merge/ledger.ts';
import type { Letter, Letters } from '../letter.ts';
import { toLedgerRow } from '../rows.ts';
import type { LedgerRange, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { ofStream } from './lanes.ts';
import { bytes, literal } from './text.ts';

/** TEXT's 65,535 bytes, at up to four each. */
const messageCharactersMax = 16_000;
/** The most that one statement takes. */
const textBytesMax = 1024 * 1024;

const orNull = (text: string | null): string => (text === null ? 'NULL' : literal(text));

/** Books the batch, in the transaction that wrote its rows. `ends` absent: every row was merged. */
export async function settle(
  connection: Connection,
  batch: Batch,
  ended: {
    readonly ends: Uint8Array | undefined;
    readonly letters: Letters;
    readonly packetBytesMax: number;
  },
): Promise<void> {
  await keepLetters(connection, batch.rules.stream, ended);
  const id = `${literal(batch.writer)}, ${literal(batch.rules.stream)}`;
  const rows = ledgerRows(batch, ended.ends);
  const booked = rows.map((row) => {
    const counts = [row.merged, row.duplicates, row.superseded, row.deadLetters];
    const ends = row.ends === null ? 'NULL' : bytes(row.ends);
    const numbers = [row.lane, row.first, row.last, row.rowCount, ...counts, row.digest];
    return `(${id}, ${numbers.join()}, ${ends}, 'direct', UTC_TIMESTAMP(6))`;
  });
  const answers = await connection.script(
    `INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
       merged, duplicates, superseded, dead_letters, digest, ends, route, at)
     VALUES ${booked.join()}; ${moveLanes(batch, rows).join('; ')}`,
  );
  const moved = answers.slice(1).reduce((sum, { affected }) => sum + affected, 0);
  // The guard holds these rows' locks.
  if (moved === rows.length) return;
  const message = 'A lane row did not move; is there a trigger on holdfast_lanes?';
  throw new TargetError('hold', '', message);
}

/** Lanes of one UPDATE: its SELECTs are nested in each other while they are read. */
const lanesPerUpdate = 100;

/**
 * Not by ON DUPLICATE KEY UPDATE: MariaDB holds the CHECKs against the row that is not inserted.
 */
function moveLanes(batch: Batch, rows: readonly LedgerRow[]): string[] {
  const own = ofStream({ writer: batch.writer, stream: batch.rules.stream });
  const statements: string[] = [];
  for (let at = 0; at < rows.length; at += lanesPerUpdate) {
    const slices = rows.slice(at, at + lanesPerUpdate).map((row) => {
      const counts = `${row.merged} AS merged, ${row.duplicates} AS duplicates,
        ${row.superseded} AS superseded, ${row.deadLetters} AS dead`;
      return `SELECT ${row.lane} AS lane, ${row.first} AS first, ${row.last} AS last, ${counts}`;
    });
    statements.push(`UPDATE holdfast_lanes l JOIN (${slices.join(' UNION ALL ')}) s
        ON l.lane = s.lane
      SET l.staged = GREATEST(l.staged, s.last), l.settled = s.last,
        l.merged = l.merged + s.merged, l.duplicates = l.duplicates + s.duplicates,
        l.superseded = l.superseded + s.superseded, l.dead_letters = l.dead_letters + s.dead
      WHERE ${own} AND l.settled = s.first - 1 AND l.epoch = ${batch.epoch}`);
  }
  return statements;
}

export async function keepLetters(
  connection: Connection,
  stream: string,
  of: { readonly letters: Letters; readonly packetBytesMax: number },
): Promise<void> {
  const bound = Math.min(textBytesMax, of.packetBytesMax / 2);
  let texts: string[] = [];
  let length = 0;
  const send = async (): Promise<void> => {
    if (texts.length === 0) return;
    await connection.script(`INSERT INTO holdfast_dead_letters (writer, stream, lane, sequence,
      row_json, raw, code, \`sqlstate\`, message, first_at, last_at) VALUES ${texts.join()}`);
    texts = [];
    length = 0;
  };
  for await (const letter of of.letters) {
    const text = valuesOf(stream, letter);
    const size = Buffer.byteLength(text);
    if (size + 1024 > of.packetBytesMax) throw tooLarge(letter, size);
    if (length + size > bound) await send();
    texts.push(text);
    length += size;
  }
  await send();
}

function valuesOf(stream: string, letter: Letter): string {
  const { writer, lane, sequence, row, raw, code, sqlState, message } = letter;
  const shown = literal(message.slice(0, messageCharactersMax));
  const what = [orNull(row), raw === null ? 'NULL' : bytes(raw)];
  const why = [literal(code), orNull(sqlState), shown, 'UTC_TIMESTAMP(6)', 'UTC_TIMESTAMP(6)'];
  const id = `${literal(writer)}, ${literal(stream)}, ${lane}, ${sequence}`;
  return `(${id}, ${[...what, ...why].join()})`;
}

/** Sent, it would end the connection (1153), again and again. */
const tooLarge = ({ lane, sequence }: Letter, size: number): TargetError =>
  new TargetError(
    'hold',
    'ER_NET_PACKET_TOO_LARGE',
    `Dead letter ${lane}/${sequence} needs a max_allowed_packet of ${size + 1024} bytes or more.`,
  );

export const ledgerColumns = `lane, first_sequence AS first, last_sequence AS last,
  row_count AS \`rowCount\`, merged, duplicates, superseded, dead_letters AS \`deadLetters\`,
  digest, ends`;

/** Ledger rows that overlap [first, last] of the lane, ascending. */
export async function ledger(
  connection: Connection,
  stream: StreamId,
  range: LedgerRange,
): Promise<LedgerRow[]> {
  const rows = await connection.query(
    `SELECT ${ledgerColumns} FROM holdfast_ledger
     WHERE ${ofStream(stream)} AND lane = ${range.lane}
       AND last_sequence >= ${range.first} AND first_sequence <= ${range.last}
       ${range.isStagedToo === true ? '' : 'AND merged_at IS NOT NULL'}
     ORDER BY last_sequence`,
  );
  return rows.map(toLedgerRow);
}

export async function prune(
  connection: Connection,
  stream: StreamId,
  upTo: readonly { readonly lane: number; readonly last: number }[],
): Promise<number> {
  if (upTo.length === 0) return 0;
  const statements = upTo.map(
    ({ lane, last }) => `DELETE FROM holdfast_ledger
      WHERE ${ofStream(stream)} AND lane = ${lane} AND last_sequence <= ${last}
        AND merged_at IS NOT NULL AND route <> 'lost'`,
  );
  const answers = await connection.script(statements.join(';'));
  return answers.reduce((gone, { affected }) => gone + affected, 0);
}
