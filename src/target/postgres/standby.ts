// What the server says of its standbys, for `confirm: 'standby'`.
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';

/**
 * Whether a standby has flushed `position`. Not every receiver of the log is one: logical decoding
 * (subscriptions, Debezium) holds no copy of the database, and what pg_receivewal and pg_basebackup
 * write takes no writes after a failover. The view tells these two by their names alone.
 */
export async function isReplicated(connection: Connection, position: string): Promise<boolean> {
  const [row] = await connection.query(
    `SELECT coalesce(bool_or(r.flush_lsn >= $1::pg_lsn), false) AS reached
     FROM pg_stat_replication r
     WHERE r.state = 'streaming' AND r.application_name NOT IN ('pg_receivewal', 'pg_basebackup')
       AND NOT EXISTS (SELECT FROM pg_replication_slots s
         WHERE s.active_pid = r.pid AND s.slot_type = 'logical')`,
    [position],
  );
  return row?.['reached'] === true;
}

/** Other roles see the standbys, and NULL in place of how far they are: nothing gets confirmed. */
export async function checkStandbyRights(connection: Connection): Promise<void> {
  const [row] = await connection.query(
    `SELECT quote_ident(current_user) AS role,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS allowed`,
  );
  if (row?.['allowed'] === true) return;
  const message =
    "confirm: 'standby' needs to see how far standbys are, which this role may not: " +
    `GRANT pg_read_all_stats TO ${String(row?.['role'])}.`;
  throw new TargetError('hold', '42501', message);
}
