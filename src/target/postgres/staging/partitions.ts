// The days of a staging table: which there are, which may go, and how one goes without stopping
// those who write to the others.
import type { StagingDay, StagingPartition } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import { literal, name } from '../text.ts';

/** Also one that was cut off and not dropped yet. */
const namesSql = `SELECT c.relname AS name, i.inhrelid IS NOT NULL AS "isAttached",
    coalesce((to_json(i.*) ->> 'inhdetachpending')::boolean, false) AS "isPending",
    to_date(right(c.relname, 8), 'YYYYMMDD')::text AS day,
    to_date(right(c.relname, 8), 'YYYYMMDD') < (now() AT TIME ZONE 'UTC')::date AS "isPast"
  FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
  WHERE c.relnamespace =
      (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(quote_ident($1)))
    AND c.relkind = 'r' AND c.relname ~ '_p[0-9]{8}$'
    AND left(c.relname, length(c.relname) - 10) = $1
  ORDER BY day`;

// One look into the index for each lane. A source that is gone belonged to a stream that went over
// to the direct route: all was merged.
const openRows = (partition: string): string => `SELECT 1 FROM holdfast_stages g
  JOIN holdfast_merges m ON m.stream = g.stream
  JOIN holdfast_lanes l ON l.writer = m.writer AND l.stream = m.stream AND l.lane = m.lane
  WHERE g.staging = ${literal(partition.slice(0, -'_p20261231'.length))}
    AND (SELECT max(p.holdfast_sequence) FROM ${name(partition)} p
      WHERE p.holdfast_source = m.source) > least(l.confirmed, m.settled)`;

const countSql = (partition: string): string => `SELECT count(*) AS rows FROM ${name(partition)}`;

export async function days(connection: Connection, staging: string): Promise<StagingDay[]> {
  const rows = await connection.query(namesSql, [staging]);
  return rows.map((row) => ({ name: String(row['name']), day: String(row['day']) }));
}

export async function partitions(
  connection: Connection,
  staging: string,
): Promise<StagingPartition[]> {
  const found: StagingPartition[] = [];
  for (const row of await connection.query(namesSql, [staging])) {
    const partition = String(row['name']);
    const counted = await count(connection, partition);
    if (!counted) continue;
    found.push({
      name: partition,
      day: String(row['day']),
      isConfirmed: row['isPast'] === true && counted['isOpen'] === false,
      rows: Number(counted['rows']),
    });
  }
  return found;
}

/** Undefined where somebody has dropped it just now. */
async function count(connection: Connection, partition: string): Promise<Row | undefined> {
  try {
    const [row] = await connection.query(
      `SELECT (${countSql(partition)}) AS rows, EXISTS (${openRows(partition)}) AS "isOpen"`,
    );
    return row;
  } catch (error) {
    if (error instanceof TargetError && error.code === '42P01') return undefined;
    throw error;
  }
}

/**
 * How long the others may stand in the way: somebody who waits behind us waits no longer either.
 */
const lockMsMax = 200;

export async function dropPartition(
  connection: Connection,
  staging: string,
  of: { readonly name: string; readonly rows: number | undefined },
): Promise<boolean> {
  const partition = of.name;
  const all = await connection.query(namesSql, [staging]);
  const found = all.find((row) => row['name'] === partition);
  if (found?.['isPast'] !== true) return false;
  if ((await connection.query(openRows(partition))).length > 0) return false;
  const table = `ALTER TABLE ${name(staging)} DETACH PARTITION ${name(partition)}`;
  const [version] = await connection.query('SHOW server_version_num');
  // 13 has no other way than to lock the whole table for a moment.
  const concurrently = Number(version?.['server_version_num']) >= 140_000 ? 'CONCURRENTLY' : '';
  try {
    if (found['isAttached'] === true) {
      const how = found['isPending'] === true ? 'FINALIZE' : concurrently;
      await bounded(connection, `${table} ${how}`);
    }
    // Cut off, it gets no row any more.
    if (of.rows !== undefined) {
      const [counted] = await connection.query(countSql(partition));
      if (Number(counted?.['rows']) !== of.rows) return false;
    }
    await bounded(connection, `DROP TABLE ${name(partition)}`);
    return true;
  } catch (error) {
    if (error instanceof TargetError && isInTheWay(error)) return false;
    throw error;
  }
}

/** Other processes drop days too: this one is gone (42P01), or one is half cut off (55000). */
const isInTheWay = ({ kind, code }: TargetError): boolean =>
  kind === 'transient' || code === '42P01' || code === '55000';

/**
 * CONCURRENTLY takes no transaction, so the bound on waiting is set for the session and put back.
 */
async function bounded(connection: Connection, statement: string): Promise<void> {
  const [before] = await connection.query('SHOW lock_timeout');
  await connection.query(`SET lock_timeout = ${lockMsMax}`);
  try {
    await connection.query(statement);
  } finally {
    if (!connection.isClosed) {
      await connection.query(`SET lock_timeout = ${literal(String(before?.['lock_timeout']))}`);
    }
  }
}
