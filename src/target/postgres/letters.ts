// Dead letters: reading, replaying, dropping. A letter is locked before its state is believed, the
// lane before the letter; every change moves the books in the same transaction (P11).
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
import { ledger } from './books.ts';
import type { Connection, Row } from './connection.ts';
import { opening } from './merge.ts';
import { placeRows } from './place.ts';

const ofLetter = 'writer = $1 AND stream = $2 AND lane = $3 AND sequence = $4';
const idValues = (id: DeadLetterId) => [id.writer, id.stream, id.lane, id.sequence];

const columns = `writer, stream, lane, sequence, code, sqlstate, message, row_json,
  coalesce(raw, convert_to(row_json, 'UTF8')) AS raw, attempts, state,
  extract(epoch FROM first_at)::float8 * 1000 AS "firstAt",
  extract(epoch FROM last_at)::float8 * 1000 AS "lastAt"`;

/** See Session.deadLetters. */
export async function readLetters(
  connection: Connection,
  { id, ...filter }: LetterFilter,
): Promise<DeadLetter[]> {
  const rows = id
    ? await connection.query(
        `SELECT ${columns} FROM holdfast_dead_letters WHERE ${ofLetter}`,
        idValues(id),
      )
    : await listLetters(connection, filter);
  return rows.map(toLetter);
}

function listLetters(connection: Connection, filter: LetterFilter): Promise<readonly Row[]> {
  const { stream, after, limit = limits.lettersListedMax } = filter;
  const read = (piece: Piece): Promise<Row[]> => {
    const values: unknown[] = [];
    const parameter = (value: unknown): string => `$${values.push(value)}`;
    const sql = pieceSql(piece, {
      table: 'holdfast_dead_letters',
      stream: stream === undefined ? undefined : parameter(stream),
      key: (id) => idValues(id).map(parameter).join(),
    });
    return connection.query(sql, values);
  };
  return readPage({ columns, after, limit }, read);
}

function toLetter(row: Row): DeadLetter {
  const raw = row['raw'];
  assert(raw instanceof Uint8Array, 'a dead letter has its bytes');
  return {
    writer: String(row['writer']),
    stream: String(row['stream']),
    lane: Number(row['lane']),
    sequence: Number(row['sequence']),
    code: row['code'] as RowCode,
    sqlState: row['sqlstate'] as string | null,
    message: String(row['message']),
    row: row['row_json'] as string | null,
    raw,
    attempts: Number(row['attempts']),
    firstAt: Math.floor(Number(row['firstAt'])),
    lastAt: Math.floor(Number(row['lastAt'])),
    state: row['state'] as DeadLetterState,
  };
}

const notDead = (id: DeadLetterId): TargetError =>
  new TargetError('moved', '', `Dead letter ${id.lane}/${id.sequence} is not dead any more.`);

export async function dropLetter(connection: Connection, id: DeadLetterId): Promise<void> {
  const changed = await connection.query(
    `UPDATE holdfast_dead_letters SET state = 'dropped', last_at = clock_timestamp()
     WHERE ${ofLetter} AND state = 'dead' RETURNING 1`,
    idValues(id),
  );
  if (changed.length === 0) throw notDead(id);
}

export async function replayLetter(
  connection: Connection,
  id: DeadLetterId,
  { batch, encoding }: { readonly batch: Batch; readonly encoding: string },
): Promise<RowEnd> {
  assert.equal(batch.count, 1, 'a replay is of one row');
  return connection.transaction(async () => {
    await connection.script(opening(batch));
    const settled = await lockLane(connection, id);
    const [found] = await connection.query(
      `SELECT state FROM holdfast_dead_letters WHERE ${ofLetter} FOR UPDATE`,
      idValues(id),
    );
    if (found?.['state'] !== 'dead') throw notDead(id);
    if (settled < id.sequence) throw notSettled(id);
    // The row is older than whatever replaced its key since, so a replay never overwrites.
    const { onConflict } = batch.rules;
    const rule = onConflict === 'update' ? 'ignore' : onConflict;
    const placed = await placeRows(connection, batch, { opening: '', encoding, onConflict: rule });
    const end = (placed.ends?.[0] ?? rowEnd.merged) as RowEnd;
    const [letter] = placed.letters;
    if (letter) await renew(connection, id, letter);
    else await move(connection, id, end);
    await connection.commit();
    return end;
  });
}

/** A record that is staged is counted only when it is merged. */
const notSettled = (id: DeadLetterId): TargetError => {
  const message = `Record ${id.lane}/${id.sequence} waits for its merge; replay it after that.`;
  return new TargetError('transient', '', message);
};

/**
 * Up to where the lane is settled; nobody else moves that until the transaction ends. The claim
 * comes first, as it does for a merger, which moves the lane's totals only after its rows.
 */
async function lockLane(connection: Connection, id: DeadLetterId): Promise<number> {
  await connection.query(
    'SELECT 1 FROM holdfast_claims WHERE stream = $1 AND lane = $2 FOR UPDATE',
    [id.stream, id.lane],
  );
  for (const table of totalsTables) {
    const [lane] = await connection.query(
      `SELECT settled FROM ${table} WHERE writer = $1 AND stream = $2 AND lane = $3 FOR UPDATE`,
      [id.writer, id.stream, id.lane],
    );
    if (lane) return Number(lane['settled']);
  }
  return 0;
}

async function renew(
  connection: Connection,
  id: DeadLetterId,
  reason: { readonly code: string; readonly sqlState: string | null; readonly message: string },
): Promise<void> {
  await connection.query(
    `UPDATE holdfast_dead_letters SET attempts = attempts + 1, last_at = clock_timestamp(),
       code = $5, sqlstate = $6, message = $7 WHERE ${ofLetter}`,
    [...idValues(id), reason.code, reason.sqlState, reason.message],
  );
}

/** Where a lane's totals stand: in the first of these that has the lane. */
const totalsTables = ['holdfast_merges', 'holdfast_lanes'];

const totals: { readonly [end: number]: string } = {
  [rowEnd.merged]: 'merged',
  [rowEnd.duplicate]: 'duplicates',
  [rowEnd.superseded]: 'superseded',
};

/** From the dead letters to another end: in the letter, the lane's totals and the ledger. */
async function move(connection: Connection, id: DeadLetterId, end: RowEnd): Promise<void> {
  const total = totals[end];
  assert(total, 'a replayed row has an end');
  await connection.query(
    `UPDATE holdfast_dead_letters SET state = 'replayed', attempts = attempts + 1,
       last_at = clock_timestamp() WHERE ${ofLetter}`,
    idValues(id),
  );
  for (const table of totalsTables) {
    const changed = await connection.query(
      `UPDATE ${table} SET dead_letters = dead_letters - 1, ${total} = ${total} + 1
       WHERE writer = $1 AND stream = $2 AND lane = $3 RETURNING 1`,
      [id.writer, id.stream, id.lane],
    );
    if (changed.length > 0) break;
  }
  const { lane, sequence } = id;
  const [before] = await ledger(connection, id, { lane, first: sequence, last: sequence });
  if (!before) return;
  const after = withEnd(before, sequence, end);
  await connection.query(
    `UPDATE holdfast_ledger SET merged = $5, duplicates = $6, superseded = $7, dead_letters = $8,
       ends = $9 WHERE writer = $1 AND stream = $2 AND lane = $3 AND last_sequence = $4`,
    [
      id.writer,
      id.stream,
      lane,
      after.last,
      after.merged,
      after.duplicates,
      after.superseded,
      after.deadLetters,
      after.ends && Buffer.from(after.ends),
    ],
  );
}
