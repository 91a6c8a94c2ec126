// The lane rows: takeover, reading, the guard of a batch, and the fate of one whose COMMIT was not
// answered. Whoever decides anything from a lane row holds its lock; lanes are locked in ascending
// order.

import type { Batch } from '../../merge/batch.ts';
import { toLane } from '../rows.ts';
import type { Claim, LaneState, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection, Row } from './connection.ts';
import { altered, fingerprintOf } from './describe.ts';
import { startedAt } from './server.ts';
import { integers, literal, tableName } from './text.ts';

const columns = `lane, epoch, staged, settled, merged, duplicates, superseded,
  dead_letters AS \`deadLetters\``;

export const ofStream = ({ writer, stream }: StreamId): string =>
  `writer = ${literal(writer)} AND stream = ${literal(stream)}`;

/** Rows of one INSERT that makes lanes. */
const lanesPerInsert = 1000;

/** How often `resolve` waits for the locks; after the first it ends the suspect each time. */
const resolveTriesMax = 5;

export async function claim(
  connection: Connection,
  { writer, stream, lanes: count, owner }: Claim,
): Promise<{ epoch: number; lanes: LaneState[] }> {
  const own = ofStream({ writer, stream });
  const inserts: string[] = [];
  for (let lane = 0; lane < count; lane += lanesPerInsert) {
    const many = Math.min(lanesPerInsert, count - lane);
    const values = Array.from(
      { length: many },
      (_, i) => `(${literal(writer)}, ${literal(stream)}, ${lane + i})`,
    );
    inserts.push(`INSERT INTO holdfast_lanes (writer, stream, lane) VALUES ${values.join()}
      ON DUPLICATE KEY UPDATE lane = holdfast_lanes.lane`);
  }
  return connection.transaction(async () => {
    const answers = await connection.script(`START TRANSACTION; ${inserts.join(';')};
      SELECT ${columns} FROM holdfast_lanes FORCE INDEX (PRIMARY) WHERE ${own}
      ORDER BY lane FOR UPDATE`);
    const found = (answers.at(-1)?.rows ?? []).map(toLane);
    const epoch = 1 + found.reduce((highest, lane) => Math.max(highest, lane.epoch), 0);
    await connection.script(
      `UPDATE holdfast_lanes SET owner = ${literal(owner)}, epoch = ${epoch} WHERE ${own}`,
    );
    await connection.commit();
    return { epoch, lanes: found.map((lane) => ({ ...lane, epoch })) };
  });
}

export async function lanes(connection: Connection, stream: StreamId): Promise<LaneState[]> {
  const rows = await connection.query(
    `SELECT ${columns} FROM holdfast_lanes WHERE ${ofStream(stream)} ORDER BY lane`,
  );
  return rows.map(toLane);
}

const lockLanes = (batch: Batch): string =>
  `SELECT ${columns} FROM holdfast_lanes FORCE INDEX (PRIMARY)
   WHERE ${ofStream({ writer: batch.writer, stream: batch.rules.stream })}
     AND lane IN ${integers([-1, ...batch.slices.map((slice) => slice.lane)])}
   ORDER BY lane FOR UPDATE`;

/**
 * Opens the transaction of a batch, in one round trip, and throws unless it may go on: the table's
 * metadata is locked until the end, so that the fingerprint read behind it stays true (P5); the
 * lanes are locked, of this owner's epoch, and where the batch begins (P1). Nothing else was sent
 * before this was answered, so the comparison can be ours: no right to create procedures is needed.
 * `of` may lack slices.
 */
export async function beginGuarded(connection: Connection, of: Batch): Promise<void> {
  const table = tableName(of.table.name);
  const [, , locked, shown] = await connection.script(`START TRANSACTION;
    SELECT 1 FROM ${table} LIMIT 0 FOR UPDATE; ${lockLanes(of)}; SHOW CREATE TABLE ${table}`);
  checkLanes(of, locked?.rows ?? []);
  if (fingerprintOf(shown?.rows[0]) !== of.table.fingerprint) throw altered(of.table.name);
}

function checkLanes(batch: Batch, rows: readonly Row[]): void {
  const found = new Map(rows.map(toLane).map((lane) => [lane.lane, lane]));
  for (const { lane } of batch.slices) {
    const epoch = found.get(lane)?.epoch ?? 0;
    if (epoch <= batch.epoch) continue;
    const message = `Lane ${lane} belongs to epoch ${epoch} now; this is ${batch.epoch}.`;
    throw new TargetError('fenced', '', message);
  }
  for (const { lane, first } of batch.slices) {
    const state = found.get(lane);
    // An older epoch: the database was put back to an earlier state.
    if (state?.epoch === batch.epoch && state.settled === first - 1) continue;
    const stands = `is settled to ${state?.settled ?? 'nothing'}`;
    const message = `Lane ${lane} ${stands}; the batch begins at ${first}.`;
    throw new TargetError('moved', '', message);
  }
}

/** The batch's lanes, read when no transaction that could still move them is left. */
export async function resolve(
  connection: Connection,
  batch: Batch,
  options: { readonly suspect: string; readonly lockMsMax: number; readonly usualMsMax: number },
): Promise<LaneState[]> {
  await connection.script(lockSeconds(options.lockMsMax));
  for (let tries = 1; ; tries++) {
    try {
      const found = await connection.transaction(async () => {
        const [, locked] = await connection.script(`START TRANSACTION; ${lockLanes(batch)}`);
        const states = (locked?.rows ?? []).map(toLane);
        await connection.commit();
        return states;
      });
      await connection.script(lockSeconds(options.usualMsMax));
      return found;
    } catch (error) {
      const isHeld = error instanceof TargetError && error.code === 'ER_LOCK_WAIT_TIMEOUT';
      if (!isHeld || tries === resolveTriesMax) throw error;
    }
    await terminate(connection, options.suspect);
  }
}

const lockSeconds = (ms: number): string =>
  `SET SESSION innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(ms / 1000))}`;

/** Ends the session, unless the server has started since: numbers begin anew then. */
async function terminate(connection: Connection, suspect: string): Promise<void> {
  const [thread = 0, start = 0] = suspect.split(' ').map(Number);
  const started = await startedAt(connection);
  if (!(thread > 0) || thread === connection.threadId || Math.abs(start - started) > 2) return;
  await connection.script(`KILL ${thread}`).catch((error: unknown) => {
    const isGone = error instanceof TargetError && error.code === 'ER_NO_SUCH_THREAD';
    if (!isGone) throw error;
  });
}
