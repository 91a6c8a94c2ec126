// What the server counts of waits for row locks and of deadlocks, since its start.
import type { Contention } from '../target.ts';
import type { Connection } from './connection.ts';

/** MariaDB counts deadlocks among its status; MySQL in a table that may be switched off. */
export async function contention(connection: Connection): Promise<Contention> {
  const rows = await connection.query(
    `SHOW GLOBAL STATUS WHERE Variable_name IN
       ('Innodb_row_lock_waits', 'Innodb_row_lock_time', 'Innodb_deadlocks')`,
  );
  const counters = new Map(
    rows.map((row) => [String(row['Variable_name']).toLowerCase(), Number(row['Value'])]),
  );
  return {
    lockWaits: counters.get('innodb_row_lock_waits') ?? 0,
    lockTimeMs: counters.get('innodb_row_lock_time') ?? 0,
    deadlocks: counters.get('innodb_deadlocks') ?? 0,
    isSampled: false,
  };
}
