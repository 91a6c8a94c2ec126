// The lane rows: takeover, reading, and the fate of a batch whose COMMIT was not answered. Whoever
// decides anything from a lane row holds its lock; lanes are locked in ascending order.

import type { Batch } from '../../merge/batch.ts';
import { toLane } from '../rows.ts';
import type { Claim, LaneState, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { integers, literal } from './text.ts';

const columns = `lane, epoch, staged, settled, merged, duplicates, superseded,
  dead_letters AS "deadLetters"`;

const ofStream = ({ writer, stream }: StreamId): string =>
  `writer = ${literal(writer)} AND stream = ${literal(stream)}`;

export const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/** How often `resolve` waits for the locks; after the first it ends the suspect each time. */
const resolveTriesMax = 5;

export async function claim(
  connection: Connection,
  { writer, stream, lanes: count, owner }: Claim,
): Promise<{ epoch: number; lanes: LaneState[] }> {
  const own = ofStream({ writer, stream });
  return connection.transaction(async () => {
    const results = await connection.script(`${begin};
      INSERT INTO holdfast_lanes (writer, stream, lane)
        SELECT ${literal(writer)}::uuid, ${literal(stream)}, lane
        FROM generate_series(0, ${count - 1}) AS lane ON CONFLICT DO NOTHING;
      SELECT ${columns} FROM holdfast_lanes WHERE ${own} ORDER BY lane FOR UPDATE;
      UPDATE holdfast_lanes SET owner = ${literal(owner)},
        epoch = (SELECT max(epoch) + 1 FROM holdfast_lanes WHERE ${own}) WHERE ${own}`);
    const found = (results[2]?.rows ?? []).map(toLane);
    await connection.commit();
    const epoch = 1 + found.reduce((highest, lane) => Math.max(highest, lane.epoch), 0);
    return { epoch, lanes: found.map((lane) => ({ ...lane, epoch })) };
  });
}

export async function lanes(connection: Connection, stream: StreamId): Promise<LaneState[]> {
  const [result] = await connection.script(
    `SELECT ${columns} FROM holdfast_lanes WHERE ${ofStream(stream)} ORDER BY lane`,
  );
  return (result?.rows ?? []).map(toLane);
}

/** The batch's lanes, read when no transaction that could still move them is left. */
export async function resolve(
  connection: Connection,
  batch: Batch,
  options: { readonly suspect: string; readonly lockMsMax: number },
): Promise<LaneState[]> {
  const own = ofStream({ writer: batch.writer, stream: batch.rules.stream });
  const numbers = integers(batch.slices.map((slice) => slice.lane));
  const locked = `${begin}; SET LOCAL lock_timeout = ${options.lockMsMax};
    SELECT ${columns} FROM holdfast_lanes WHERE ${own} AND lane = ANY (${numbers}::int[])
    ORDER BY lane FOR UPDATE`;
  for (let tries = 1; ; tries++) {
    try {
      return await connection.transaction(async () => {
        const results = await connection.script(locked);
        const found = (results[2]?.rows ?? []).map(toLane);
        await connection.commit();
        return found;
      });
    } catch (error) {
      const isHeld = error instanceof TargetError && error.code === '55P03';
      if (!isHeld || tries === resolveTriesMax) throw error;
    }
    await terminate(connection, options.suspect);
  }
}

/** A session's id: enough to end it from another one, and never a later one of the same pid. */
export const sessionId = (pid: number, startedAt: string): string => `${pid} ${startedAt}`;

async function terminate(connection: Connection, suspect: string): Promise<void> {
  const space = suspect.indexOf(' ');
  if (space < 0) return;
  await connection.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE pid = $1::int AND backend_start = $2::timestamptz AND pid <> pg_backend_pid()`,
    [suspect.slice(0, space), suspect.slice(space + 1)],
  );
}
