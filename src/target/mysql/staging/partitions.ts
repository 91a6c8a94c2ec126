// The days of a staging table: which there are, which may go, and how one goes without stopping
// those who write to the others.
import type { StagingDay, StagingPartition } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { literal, name } from '../text.ts';
import { partitionNames } from './table.ts';

interface Day extends StagingDay {
  readonly isPast: boolean;
}

/**
 * A day is past when no transaction can be left that was told it: staging asks for the day when it
 * begins, and takes no hour. So nothing comes into a day that is past.
 */
const lateness = 'INTERVAL 1 HOUR';

export async function days(connection: Connection, staging: string): Promise<Day[]> {
  const [named, clock] = await connection.script(
    `${partitionNames(staging)}; SELECT DATE(UTC_TIMESTAMP() - ${lateness}) AS today`,
  );
  const today = String(clock?.rows[0]?.['today']);
  return (named?.rows ?? []).map((row) => {
    const partition = String(row['name']);
    const day = partition.replace(/^p(....)(..)(..)$/, '$1-$2-$3');
    return { name: partition, day, isPast: day < today };
  });
}

const rowsOf = (staging: string, partition: string): string =>
  `${name(staging)} PARTITION (${name(partition)})`;

// One look into the index for each lane. A source that is gone belonged to a stream that went over
// to the direct route: all was merged.
const openRows = (staging: string, partition: string): string => `SELECT 1 FROM holdfast_stages g
  JOIN holdfast_merges m ON m.stream = g.stream
  JOIN holdfast_lanes l ON l.writer = m.writer AND l.stream = m.stream AND l.lane = m.lane
  WHERE g.staging = ${literal(staging)}
    AND (SELECT p.holdfast_sequence FROM ${rowsOf(staging, partition)} p FORCE INDEX (PRIMARY)
      WHERE p.holdfast_source = m.source ORDER BY p.holdfast_sequence DESC LIMIT 1)
      > LEAST(l.confirmed, m.settled)
  LIMIT 1`;

const countSql = (staging: string, partition: string): string =>
  `SELECT COUNT(*) AS \`rows\` FROM ${rowsOf(staging, partition)}`;

export async function partitions(
  connection: Connection,
  staging: string,
): Promise<StagingPartition[]> {
  const found: StagingPartition[] = [];
  for (const { name: partition, day, isPast } of await days(connection, staging)) {
    const [counted, open] = await unlessGone([], () =>
      connection.script(`${countSql(staging, partition)}; ${openRows(staging, partition)}`),
    );
    if (!counted) continue;
    const isConfirmed = isPast && open?.rows.length === 0;
    const rows = Number(counted.rows[0]?.['rows']);
    found.push({ name: partition, day, isConfirmed, rows });
  }
  return found;
}

/** Other processes drop days too: what such a step answers with where its day is gone. */
async function unlessGone<T>(gone: T, step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (error instanceof TargetError && goneCodes.has(error.code)) return gone;
    throw error;
  }
}

/** No such partition, asked for or dropped. */
const goneCodes = new Set(['ER_UNKNOWN_PARTITION', 'ER_DROP_PARTITION_NON_EXISTENT']);

/** How long others may stand in the way; who waits behind us waits no longer either. */
const lockSecondsMax = 1;

export async function dropPartition(
  connection: Connection,
  staging: string,
  of: { readonly name: string; readonly rows: number | undefined },
): Promise<boolean> {
  return unlessGone(false, () => dropDay(connection, staging, of));
}

async function dropDay(
  connection: Connection,
  staging: string,
  of: { readonly name: string; readonly rows: number | undefined },
): Promise<boolean> {
  const partition = of.name;
  const all = await days(connection, staging);
  const found = all.find((day) => day.name === partition);
  if (found?.isPast !== true || all.length === 1) return false;
  if ((await connection.query(openRows(staging, partition))).length > 0) return false;
  if (of.rows !== undefined) {
    const [counted] = await connection.query(countSql(staging, partition));
    if (Number(counted?.['rows']) !== of.rows) return false;
  }
  const [before] = await connection.query('SELECT @@lock_wait_timeout AS seconds');
  await connection.script(`SET SESSION lock_wait_timeout = ${lockSecondsMax}`);
  try {
    await connection.script(`ALTER TABLE ${name(staging)} DROP PARTITION ${name(partition)}`);
    return true;
  } catch (error) {
    const isInTheWay = error instanceof TargetError && error.kind === 'transient';
    if (!isInTheWay) throw error;
    return false;
  } finally {
    if (!connection.isClosed) {
      await connection.script(`SET SESSION lock_wait_timeout = ${Number(before?.['seconds'])}`);
    }
  }
}
