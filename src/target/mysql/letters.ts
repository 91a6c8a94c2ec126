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
import { beginGuarded, ofStream } from './lanes.ts';
import { placeRows } from './place.ts';
import { Stage, type Ways } from './stage.ts';
import { bytes, literal } from './text.ts';

const ofLetter = (id: DeadLetterId): string =>
  `${ofStream(id)} AND lane = ${id.lane} AND sequence = ${id.sequence}`;

const key = ({ writer, stream, lane, sequence }: DeadLetterId): string =>
  [literal(writer), literal(stream), lane, sequence].join();

const millis = (column: string): string =>
  `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ${column}) DIV 1000`;

const columns = `writer, stream, lane, sequence, code, \`sqlstate\`, message, row_json, raw,
  attempts, state, ${millis('first_at')} AS \`firstAt\`, ${millis('last_at')} AS \`lastAt\``;

/** See Session.deadLetters. */
export async function readLetters(
  connection: Connection,
  { id, stream, after, limit = limits.lettersListedMax }: LetterFilter,
): Promise<DeadLetter[]> {
  const table = 'holdfast_dead_letters FORCE INDEX (PRIMARY)';
  const how = { table, stream: stream === undefined ? undefined : literal(stream), key };
  const read = (piece: Piece) => connection.query(pieceSql(piece, how));
  const rows = id
    ? await connection.query(`SELECT ${columns} FROM ${table} WHERE ${ofLetter(id)}`)
    : await readPage({ columns, after, limit }, read);
  return rows.map(toLetter);
}

function toLetter(row: Row): DeadLetter {
  const json = row['row_json'] as string | null;
  const raw = row['raw'];
  return {
    writer: String(row['writer']),
    stream: String(row['stream']),
    lane: Number(row['lane']),
    sequence: Number(row['sequence']),
    code: row['code'] as RowCode,
    sqlState: row['sqlstate'] as string | null,
    message: String(row['message']),
    row: json,
    raw: raw instanceof Uint8Array ? raw : Buffer.from(json ?? ''),
    attempts: Number(row['attempts']),
    firstAt: Number(row['firstAt']),
    lastAt: Number(row['lastAt']),
    state: row['state'] as DeadLetterState,
  };
}

const notDead = (id: DeadLetterId): TargetError =>
  new TargetError('moved', '', `Dead letter ${id.lane}/${id.sequence} is not dead any more.`);

export async function dropLetter(connection: Connection, id: DeadLetterId): Promise<void> {
  const [changed] = await connection.script(
    `UPDATE holdfast_dead_letters SET state = 'dropped', last_at = UTC_TIMESTAMP(6)
     WHERE ${ofLetter(id)} AND state = 'dead'`,
  );
  if (changed?.affected === 0) throw notDead(id);
}

export async function replayLetter(
  connection: Connection,
  id: DeadLetterId,
  { batch, ways }: { readonly batch: Batch; readonly ways: Ways },
): Promise<RowEnd> {
  assert.equal(batch.count, 1, 'a replay is of one row');
  const stage = await Stage.make(connection, batch, ways);
  return connection.transaction(async () => {
    await beginGuarded(connection, batch);
    const settled = await lockLane(connection, id);
    const [found] = await connection.query(
      `SELECT state FROM holdfast_dead_letters WHERE ${ofLetter(id)} FOR UPDATE`,
    );
    if (found?.['state'] !== 'dead') throw notDead(id);
    if (settled < id.sequence) throw notSettled(id);
    // The row is older than whatever replaced its key since, so a replay never overwrites.
    const { onConflict } = batch.rules;
    const rule = onConflict === 'update' ? 'ignore' : onConflict;
    const placed = await placeRows(connection, batch, { stage, onConflict: rule });
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
    `SELECT 1 FROM holdfast_claims
     WHERE stream = ${literal(id.stream)} AND lane = ${id.lane} FOR UPDATE`,
  );
  for (const table of totalsTables) {
    const [lane] = await connection.query(
      `SELECT settled FROM ${table} WHERE ${ofStream(id)} AND lane = ${id.lane} FOR UPDATE`,
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
  const { code, sqlState, message } = reason;
  await connection.script(
    `UPDATE holdfast_dead_letters SET attempts = attempts + 1, last_at = UTC_TIMESTAMP(6),
       code = ${literal(code)}, \`sqlstate\` = ${sqlState === null ? 'NULL' : literal(sqlState)},
       message = ${literal(message)} WHERE ${ofLetter(id)}`,
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
  const { lane, sequence } = id;
  await connection.script(
    `UPDATE holdfast_dead_letters SET state = 'replayed', attempts = attempts + 1,
       last_at = UTC_TIMESTAMP(6) WHERE ${ofLetter(id)}`,
  );
  for (const table of totalsTables) {
    const [moved] = await connection.script(
      `UPDATE ${table} SET dead_letters = dead_letters - 1, ${total} = ${total} + 1
       WHERE ${ofStream(id)} AND lane = ${lane}`,
    );
    if (moved?.affected === 1) break;
  }
  const [before] = await ledger(connection, id, { lane, first: sequence, last: sequence });
  if (!before) return;
  const after = withEnd(before, sequence, end);
  await connection.script(
    `UPDATE holdfast_ledger SET merged = ${after.merged}, duplicates = ${after.duplicates},
       superseded = ${after.superseded}, dead_letters = ${after.deadLetters},
       ends = ${after.ends === null ? 'NULL' : bytes(after.ends)}
     WHERE ${ofStream(id)} AND lane = ${lane} AND last_sequence = ${after.last}`,
  );
}
