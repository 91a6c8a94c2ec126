// The lane rows: takeover, reading, the guard of a batch, and the fate of one whose COMMIT was not
// answered. Whoever decides anything from a lane row holds its lock; lanes are locked in ascending
// order.

import type { Batch } from '../../merge/batch.ts';
import { checkKey } from '../key.ts';
import { requireUnclaimed, toLane } from '../rows.ts';
import type { Claim, LaneState, StreamId } from '../target.ts';
import { TargetError } from '../target.ts';
import type { Connection, Row } from './connection.ts';
import { altered, fingerprintOf } from './describe.ts';
import { integers, literal, tableName } from './text.ts';

/** What the guard of a batch judges. */
const guarded = 'lane, epoch, staged, settled';

// A lane of a staged stream has its settled end in a row of its own.
const selectLanes = `SELECT l.lane, l.epoch, l.staged, COALESCE(m.settled, l.settled) AS settled,
    COALESCE(m.merged, l.merged) AS merged, COALESCE(m.duplicates, l.duplicates) AS duplicates,
    COALESCE(m.superseded, l.superseded) AS superseded,
    COALESCE(m.dead_letters, l.dead_letters) AS \`deadLetters\`
  FROM holdfast_lanes l LEFT JOIN holdfast_merges m
    ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane`;

export const ofStream = ({ writer, stream }: StreamId, table = ''): string =>
  `${table}writer = ${literal(writer)} AND ${table}stream = ${literal(stream)}`;

/** Rows of one INSERT that makes lanes. */
const lanesPerInsert = 1000;

/** How often `resolve` waits for the locks; after the first it ends the suspect each time. */
const resolveTriesMax = 5;

export async function claim(
  connection: Connection,
  { writer, stream, lanes: count, owner, after, route }: Claim,
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
      SELECT lane, owner, epoch, epoch + 1 AS next,
        CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED) AS now
      FROM holdfast_lanes FORCE INDEX (PRIMARY) WHERE ${own} ORDER BY lane FOR UPDATE`);
    const rows = answers.at(-1)?.rows ?? [];
    requireUnclaimed(rows, { owner, after });
    const epoch = Math.max(...rows.flatMap(({ next, now }) => [Number(next), Number(now)]));
    await connection.script(
      `UPDATE holdfast_lanes SET owner = ${literal(owner)}, epoch = ${epoch} WHERE ${own}`,
    );
    if (route === 'staged') await toStaged(connection, { writer, stream });
    else await toDirect(connection, { writer, stream });
    const found = await lanes(connection, { writer, stream });
    await connection.commit();
    return { epoch, lanes: found };
  });
}

/**
 * The lanes' settled ends move to rows that mergers may move without the lane rows' locks. What is
 * there stays untouched: a merger may hold it.
 */
async function toStaged(connection: Connection, of: StreamId): Promise<void> {
  await connection.script(`
    INSERT INTO holdfast_merges (writer, stream, lane, settled, merged, duplicates, superseded,
        dead_letters)
      SELECT l.writer, l.stream, l.lane, l.settled, l.merged, l.duplicates, l.superseded,
        l.dead_letters
      FROM holdfast_lanes l LEFT JOIN holdfast_merges m
        ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
      WHERE ${ofStream(of, 'l.')} AND m.lane IS NULL ORDER BY l.lane;
    INSERT INTO holdfast_claims (stream, lane)
      SELECT l.stream, l.lane FROM holdfast_lanes l LEFT JOIN holdfast_claims c
        ON c.stream = l.stream AND c.lane = l.lane
      WHERE ${ofStream(of, 'l.')} AND c.lane IS NULL ORDER BY l.lane
      ON DUPLICATE KEY UPDATE lane = holdfast_claims.lane`);
}

/** And back, once nothing waits in the staging table. */
async function toDirect(connection: Connection, of: StreamId): Promise<void> {
  const [, waiting] = await connection.script(`
    SELECT 1 FROM holdfast_merges WHERE ${ofStream(of)} ORDER BY lane FOR UPDATE;
    SELECT COALESCE(SUM(row_count), 0) AS records FROM holdfast_ledger
      WHERE ${ofStream(of)} AND merged_at IS NULL`);
  const records = Number(waiting?.rows[0]?.['records']);
  if (records > 0) {
    const message =
      `${records} records of stream ${of.stream} wait in its staging table. ` +
      "Open it with route: 'staged' until they are merged.";
    throw new TargetError('hold', '', message);
  }
  await connection.script(`
    UPDATE holdfast_lanes l JOIN holdfast_merges m
        ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
      SET l.staged = m.settled, l.settled = m.settled, l.merged = m.merged,
        l.duplicates = m.duplicates, l.superseded = m.superseded, l.dead_letters = m.dead_letters
      WHERE ${ofStream(of, 'l.')};
    DELETE FROM holdfast_merges WHERE ${ofStream(of)}`);
}

export async function lanes(
  connection: Connection,
  stream: StreamId,
  some?: readonly number[],
): Promise<LaneState[]> {
  const which = some ? `AND l.lane IN ${integers([-1, ...some])}` : '';
  const rows = await connection.query(
    `${selectLanes} WHERE ${ofStream(stream, 'l.')} ${which} ORDER BY l.lane`,
  );
  return rows.map(toLane);
}

/** A batch, or what else is guarded: it may lack slices. */
type Guarded = Pick<Batch, 'writer' | 'epoch' | 'rules' | 'slices' | 'table'>;

export const lockLanes = (of: StreamId, some: readonly number[]): string =>
  `SELECT ${guarded} FROM holdfast_lanes FORCE INDEX (PRIMARY)
   WHERE ${ofStream(of)} AND lane IN ${integers([-1, ...some])} ORDER BY lane FOR UPDATE`;

const lockLanesOf = ({ writer, rules, slices }: Guarded): string =>
  lockLanes(
    { writer, stream: rules.stream },
    slices.map(({ lane }) => lane),
  );

/**
 * Opens the transaction of a batch, in one round trip, and throws unless it may go on: the table's
 * metadata is locked until the end, so that the fingerprint read behind it stays true (P5); the
 * lanes are locked, of this owner's epoch, and where the batch begins (P1). Nothing else was sent
 * before this was answered, so the comparison can be ours: no right to create procedures is needed.
 */
export async function beginGuarded(connection: Connection, of: Guarded): Promise<void> {
  const table = tableName(of.table.name);
  const [, , locked, shown] = await connection.script(`START TRANSACTION;
    SELECT 1 FROM ${table} LIMIT 0 FOR UPDATE; ${lockLanesOf(of)}; SHOW CREATE TABLE ${table}`);
  checkLanes(of, locked?.rows ?? [], 'settled');
  if (fingerprintOf(shown?.rows[0]) !== of.table.fingerprint) throw altered(of.table.name);
  checkKey(of);
}

/** The same for a batch that is staged; answers with the server's day, YYYYMMDD. */
export async function beginStaging(connection: Connection, of: Guarded): Promise<number> {
  const [, locked, clock] = await connection.script(
    `START TRANSACTION; ${lockLanesOf(of)}; SELECT UTC_DATE() + 0 AS day`,
  );
  checkLanes(of, locked?.rows ?? [], 'staged');
  return Number(clock?.rows[0]?.['day']);
}

function checkLanes(batch: Guarded, rows: readonly Row[], mark: 'settled' | 'staged'): void {
  const found = new Map(rows.map((row) => [Number(row['lane']), row]));
  for (const { lane } of batch.slices) {
    const epoch = Number(found.get(lane)?.['epoch'] ?? 0);
    if (epoch <= batch.epoch) continue;
    const message = `Lane ${lane} belongs to epoch ${epoch} now; this is ${batch.epoch}.`;
    throw new TargetError('fenced', '', message);
  }
  for (const { lane, first } of batch.slices) {
    const row = found.get(lane);
    // An older epoch: the database was put back to an earlier state.
    if (Number(row?.['epoch']) === batch.epoch && Number(row?.[mark]) === first - 1) continue;
    const stands = `is ${mark} to ${row ? Number(row[mark]) : 'nothing'}`;
    const message = `Lane ${lane} ${stands}; the batch begins at ${first}.`;
    throw new TargetError('moved', '', message);
  }
}

/** The batch's lanes, read when no transaction that could still move them is left. */
export async function resolve(
  connection: Connection,
  batch: Batch,
  options: {
    /** Ids of sessions: see Server.session. */
    readonly suspect: string;
    readonly own: string;
    readonly lockMsMax: number;
    readonly usualMsMax: number;
  },
): Promise<LaneState[]> {
  await connection.script(lockSeconds(options.lockMsMax));
  for (let tries = 1; ; tries++) {
    try {
      const found = await connection.transaction(async () => {
        await connection.script(`START TRANSACTION; ${lockLanesOf(batch)}`);
        // Mergers may hold the rows beside them, so those are read without a lock.
        const id = { writer: batch.writer, stream: batch.rules.stream };
        const numbers = batch.slices.map(({ lane }) => lane);
        const states = await lanes(connection, id, numbers);
        await connection.commit();
        return states;
      });
      await connection.script(lockSeconds(options.usualMsMax));
      return found;
    } catch (error) {
      const isHeld = error instanceof TargetError && error.code === 'ER_LOCK_WAIT_TIMEOUT';
      if (!isHeld || tries === resolveTriesMax) throw error;
    }
    await terminate(connection, options);
  }
}

const lockSeconds = (ms: number): string =>
  `SET SESSION innodb_lock_wait_timeout = ${Math.max(1, Math.ceil(ms / 1000))}`;

/** Ends the session, unless it is another server's or of before its last start: other numbers. */
async function terminate(
  connection: Connection,
  { suspect, own }: { readonly suspect: string; readonly own: string },
): Promise<void> {
  const [thread = '', start = '', server] = suspect.split(' ');
  const [ownThread, ownStart = '', ownServer] = own.split(' ');
  // Each start is given or taken one second.
  const isSame = server === ownServer && Math.abs(Number(start) - Number(ownStart)) <= 2;
  if (!isSame || thread === ownThread || !(Number(thread) > 0)) return;
  await connection.script(`KILL ${Number(thread)}`).catch((error: unknown) => {
    const isGone = error instanceof TargetError && error.code === 'ER_NO_SUCH_THREAD';
    if (!isGone) throw error;
  });
}
