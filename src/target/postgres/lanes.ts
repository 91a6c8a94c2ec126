// The lane rows: takeover, reading, and the fate of a batch whose COMMIT was not answered. Whoever
// decides anything from a lane row holds its lock; lanes are locked in ascending order.

import type { Batch } from '../../merge/batch.ts';
import { requireUnclaimed, toLane } from '../rows.ts';
import type { Claim, LaneState, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { integers, literal } from './text.ts';

// A lane of a staged stream has its settled end in a row of its own.
const selectLanes = `SELECT l.lane, l.epoch, l.staged, coalesce(m.settled, l.settled) AS settled,
    coalesce(m.merged, l.merged) AS merged, coalesce(m.duplicates, l.duplicates) AS duplicates,
    coalesce(m.superseded, l.superseded) AS superseded,
    coalesce(m.dead_letters, l.dead_letters) AS "deadLetters"
  FROM holdfast_lanes l LEFT JOIN holdfast_merges m
    ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane`;

const ofStream = ({ writer, stream }: StreamId, table = ''): string =>
  `${table}writer = ${literal(writer)} AND ${table}stream = ${literal(stream)}`;

export const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/** How often `resolve` waits for the locks; after the first it ends the suspect each time. */
const resolveTriesMax = 5;

export async function claim(
  connection: Connection,
  { writer, stream, lanes: count, owner, after, route }: Claim,
): Promise<{ epoch: number; lanes: LaneState[] }> {
  const own = ofStream({ writer, stream });
  return connection.transaction(async () => {
    const answers = await connection.script(`${begin};
      INSERT INTO holdfast_lanes (writer, stream, lane)
        SELECT ${literal(writer)}::uuid, ${literal(stream)}, lane
        FROM generate_series(0, ${count - 1}) AS lane ON CONFLICT DO NOTHING;
      SELECT lane, epoch, owner FROM holdfast_lanes WHERE ${own} ORDER BY lane FOR UPDATE`);
    requireUnclaimed(answers.at(-1)?.rows ?? [], { owner, after });
    await connection.script(`
      UPDATE holdfast_lanes SET owner = ${literal(owner)},
        epoch = (SELECT greatest(max(epoch) + 1,
            floor(extract(epoch FROM statement_timestamp()) * 1000000)::bigint)
          FROM holdfast_lanes WHERE ${own}) WHERE ${own}`);
    if (route === 'staged') await toStaged(connection, { writer, stream });
    else await toDirect(connection, { writer, stream });
    const found = await lanes(connection, { writer, stream });
    await connection.commit();
    return { epoch: found[0]?.epoch ?? 0, lanes: found };
  });
}

/** The lanes' settled ends move to rows that mergers may move without the lane rows' locks. */
async function toStaged(connection: Connection, of: StreamId): Promise<void> {
  await connection.script(`
    INSERT INTO holdfast_merges (writer, stream, lane, settled, merged, duplicates, superseded,
        dead_letters)
      SELECT writer, stream, lane, settled, merged, duplicates, superseded, dead_letters
      FROM holdfast_lanes WHERE ${ofStream(of)} ORDER BY lane ON CONFLICT DO NOTHING;
    INSERT INTO holdfast_claims (stream, lane)
      SELECT stream, lane FROM holdfast_lanes WHERE ${ofStream(of)} ORDER BY lane
      ON CONFLICT DO NOTHING`);
}

/** And back, once nothing waits in the staging table. */
async function toDirect(connection: Connection, of: StreamId): Promise<void> {
  const [, waiting] = await connection.script(`
    SELECT 1 FROM holdfast_merges WHERE ${ofStream(of)} ORDER BY lane FOR UPDATE;
    SELECT coalesce(sum(row_count), 0) AS records FROM holdfast_ledger
      WHERE ${ofStream(of)} AND merged_at IS NULL`);
  const records = Number(waiting?.rows[0]?.['records']);
  if (records > 0) {
    const message =
      `${records} records of stream ${of.stream} wait in its staging table. ` +
      "Open it with route: 'staged' until they are merged.";
    throw new TargetError('hold', '', message);
  }
  await connection.script(`
    UPDATE holdfast_lanes l SET staged = m.settled, settled = m.settled, merged = m.merged,
        duplicates = m.duplicates, superseded = m.superseded, dead_letters = m.dead_letters
      FROM holdfast_merges m WHERE ${ofStream(of, 'm.')}
        AND l.writer = m.writer AND l.stream = m.stream AND l.lane = m.lane;
    DELETE FROM holdfast_merges WHERE ${ofStream(of)}`);
}

export async function lanes(connection: Connection, stream: StreamId): Promise<LaneState[]> {
  const [result] = await connection.script(
    `${selectLanes} WHERE ${ofStream(stream, 'l.')} ORDER BY l.lane`,
  );
  return (result?.rows ?? []).map(toLane);
}

/** The batch's lanes, read when no transaction that could still move them is left. */
export async function resolve(
  connection: Connection,
  batch: Batch,
  options: { readonly suspect: string; readonly lockMsMax: number },
): Promise<LaneState[]> {
  const own = ofStream({ writer: batch.writer, stream: batch.rules.stream }, 'l.');
  const numbers = integers(batch.slices.map((slice) => slice.lane));
  const locked = `${begin}; SET LOCAL lock_timeout = ${options.lockMsMax};
    ${selectLanes} WHERE ${own} AND l.lane = ANY (${numbers}::int[])
    ORDER BY l.lane FOR UPDATE OF l`;
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
