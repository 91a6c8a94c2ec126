// Dead letters: reading, replay, drop. A dead letter's key is its identity; each of these moves
// it in the books in the transaction that decides it (P11).
import assert from 'node:assert/strict';
import type { RowCode } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { type Batch, type RowEnd, rowEnd } from '../../merge/batch.ts';
import { withEnd } from '../../merge/ledger.ts';
import { type Piece, pieceSql, readPage } from '../letter-page.ts';
import {
  type DeadLetter,
  type DeadLetterId,
  type DeadLetterState,
  type LetterFilter,
  TargetError,
} from '../target.ts';
import { Refused } from './bind.ts';
import { correct, ledger, moveTotals } from './books.ts';
import type { Connection, Row } from './connection.ts';
import { type Fingerprints, guardTable } from './lanes.ts';
import { endOf, judgeOrphans, rowsOf, withSentences } from './merge.ts';

const mine = 'writer = ? AND stream = ? AND lane = ? AND sequence = ?';
const keyOf = ({ writer, stream, lane, sequence }: DeadLetterId) =>
  [writer, stream, lane, sequence] as const;

function readLetter(connection: Connection, id: DeadLetterId): DeadLetter[] {
  const sql = `SELECT * FROM holdfast_dead_letters WHERE ${mine}`;
  return connection.query(sql, ...keyOf(id)).map(toLetter);
}

/** See Session.deadLetters. */
export async function readLetters(
  connection: Connection,
  { id, stream, after, limit = limits.lettersListedMax }: LetterFilter,
): Promise<DeadLetter[]> {
  if (id) return readLetter(connection, id);
  const read = async (piece: Piece): Promise<Row[]> => {
    const values: (string | number)[] = stream === undefined ? [] : [stream];
    const sql = pieceSql(piece, {
      table: 'holdfast_dead_letters',
      stream: stream === undefined ? undefined : '?',
      key: (of) => {
        values.push(...keyOf(of));
        return '?, ?, ?, ?';
      },
    });
    return connection.query(sql, ...values);
  };
  return (await readPage({ columns: '*', after, limit }, read)).map(toLetter);
}

const textOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null);

const toLetter = (row: Row): DeadLetter => ({
  writer: String(row['writer']),
  stream: String(row['stream']),
  lane: Number(row['lane']),
  sequence: Number(row['sequence']),
  code: row['code'] as RowCode,
  sqlState: textOrNull(row['sqlstate']),
  message: String(row['message']),
  row: textOrNull(row['row_json']),
  raw: row['raw'] instanceof Uint8Array ? row['raw'] : new Uint8Array(0),
  attempts: Number(row['attempts']),
  firstAt: Number(row['first_at']),
  lastAt: Number(row['last_at']),
  state: row['state'] as DeadLetterState,
});

/** In a transaction: throws 'moved' unless the letter is still dead. */
function mustBeDead(connection: Connection, id: DeadLetterId): void {
  const [letter] = readLetter(connection, id);
  if (letter?.state === 'dead') return;
  const message = letter ? `The dead letter is ${letter.state} already.` : 'There is no such one.';
  throw new TargetError('moved', '', message);
}

export function dropLetter(connection: Connection, id: DeadLetterId, atMs: number): void {
  connection.transaction(() => {
    mustBeDead(connection, id);
    setState(connection, id, { state: 'dropped', atMs });
  });
}

function setState(
  connection: Connection,
  id: DeadLetterId,
  { state, atMs }: { readonly state: DeadLetterState; readonly atMs: number },
): void {
  connection.write(
    `UPDATE holdfast_dead_letters SET state = ?, last_at = ? WHERE ${mine}`,
    state,
    atMs,
    ...keyOf(id),
  );
}

interface Replaying {
  readonly connection: Connection;
  readonly known: Fingerprints;
}

export function replayLetter(
  { connection, known }: Replaying,
  id: DeadLetterId,
  given: Batch,
): RowEnd {
  assert.equal(given.count, 1, 'one row is replayed');
  const batch = withoutBlindUpdate(given);
  return withSentences((sentences) => {
    mustBeDead(connection, id);
    guardTable(connection, known, batch.table);
    const rows = rowsOf(connection, batch);
    const end = endOf(connection, { rows, row: 0, sentences });
    if (end instanceof Refused) return refuseAgain(connection, id, { refused: end, batch });
    judgeOrphans(connection, batch, { rows, ends: Uint8Array.of(end), sentences });
    moveTotals(connection, id, end);
    const { lane, sequence } = id;
    const [booked] = ledger(connection, id, { lane, first: sequence, last: sequence });
    // Pruned where it is older than the journal: the totals alone remember then.
    if (booked) correct(connection, id, withEnd(booked, sequence, end));
    setState(connection, id, { state: 'replayed', atMs: batch.wallMs });
    return end;
  }, connection);
}

/** `update` means last in journal order, which an old row is not: it gives way (P11). */
function withoutBlindUpdate(batch: Batch): Batch {
  if (batch.rules.onConflict !== 'update') return batch;
  return { ...batch, rules: { ...batch.rules, onConflict: 'ignore' } };
}

function refuseAgain(
  connection: Connection,
  id: DeadLetterId,
  { refused, batch }: { readonly refused: Refused; readonly batch: Batch },
): RowEnd {
  connection.write(
    `UPDATE holdfast_dead_letters SET attempts = attempts + 1, last_at = ?, code = ?,
       sqlstate = ?, message = ? WHERE ${mine}`,
    batch.wallMs,
    refused.code,
    refused.sqlState,
    refused.message,
    ...keyOf(id),
  );
  return rowEnd.deadLetter;
}
