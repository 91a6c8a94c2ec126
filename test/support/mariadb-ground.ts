// The contract's ground on a server of MariaDB or MySQL.
import { systemClock } from '../../src/clock.ts';
import { mysqlTarget } from '../../src/target/mysql/target.ts';
import type { Route } from '../../src/target/target.ts';
import { connect, createMariadb, type MariadbVersion, query, startMariadb } from './mariadb.ts';
import type { Ground, StagedGround } from './target-stream.ts';

/** MySQL 5.6 reads a CHECK and forgets it: triggers stand in for it there. */
const hasChecks = (version: MariadbVersion): boolean => version !== 'MySQL 5.6';

const refusing = (table: string): string =>
  ['INSERT', 'UPDATE']
    .map(
      (event) => `CREATE TRIGGER ${table}_${event} BEFORE ${event} ON ${table} FOR EACH ROW
        BEGIN
          IF NEW.note = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'bad'; END IF;
        END`,
    )
    .join(';');

export async function mariadbGround(
  version: MariadbVersion,
  { settings = [], route = 'direct' }: { settings?: readonly string[]; route?: Route } = {},
): Promise<Ground> {
  const server = await startMariadb(version, settings);
  const url = await createMariadb(server, 'contract');
  const target = mysqlTarget(url, { clock: systemClock });
  const sql = (text: string) => query(url, text);
  return {
    target,
    route,
    create: async (table, shape) => {
      const key = shape === 'keyed' ? 'PRIMARY KEY' : '';
      // Before 8.0 a TEXT of MySQL has no default.
      await sql(`CREATE TABLE ${table} (id bigint NOT NULL ${key},
        amount bigint NOT NULL DEFAULT 1, note varchar(200) DEFAULT 'none' CHECK (note <> 'bad'),
        version bigint NOT NULL DEFAULT 0)`);
      if (!hasChecks(version)) await sql(refusing(table));
    },
    rows: async (table) => {
      const rows = await sql(`SELECT CAST(id AS CHAR) AS id, CAST(amount AS CHAR) AS amount, note,
        CAST(version AS CHAR) AS version FROM ${table} t ORDER BY t.id, t.amount, t.note`);
      return rows as { [column: string]: string | null }[];
    },
    remove: async (table, id) => {
      await sql(`DELETE FROM ${table} WHERE id = ${id}`);
    },
    widen: async (table, column) => {
      await sql(`ALTER TABLE ${table} ADD COLUMN ${column} bigint`);
    },
    dropKey: async (table) => {
      await sql(`ALTER TABLE ${table} DROP PRIMARY KEY`);
    },
    makeKey: async (table) => {
      await sql(`ALTER TABLE ${table} ADD PRIMARY KEY (id)`);
    },
    drop: async (table) => {
      await sql(`DROP TABLE ${table}`);
    },
    staged: stagedOn(url),
    close: async () => {
      await target.close();
      await server.stop();
    },
  };
}

function stagedOn(url: string): StagedGround {
  const sql = (text: string) => query(url, text);
  return {
    wipe: async (stream) => {
      await sql(`TRUNCATE \`holdfast_stage_${stream}\``);
    },
    lose: async (stream, id) => {
      await sql(`DELETE FROM \`holdfast_stage_${stream}\` WHERE id = ${id}`);
    },
    retag: async (stream) => {
      const table = `\`holdfast_stage_${stream}\``;
      await sql(`UPDATE ${table} SET holdfast_digest = holdfast_digest + 1`);
    },
    claimed: async (stream, lane, work) => {
      const other = await connect(url);
      await other.query('START TRANSACTION');
      await other.query(`SELECT 1 FROM holdfast_claims
        WHERE stream = '${stream}' AND lane = ${lane} FOR UPDATE`);
      try {
        await work();
      } finally {
        await other.query('ROLLBACK');
        await other.end();
      }
    },
    age: async (stream, days) => {
      const table = `\`holdfast_stage_${stream}\``;
      const [row = {}] = await sql(`SELECT UTC_DATE() + 0 AS today,
        (UTC_DATE() - INTERVAL ${days} DAY) + 0 AS day,
        UTC_DATE() - INTERVAL ${days} DAY AS first,
        UTC_DATE() - INTERVAL ${days - 1} DAY AS next, UTC_DATE() + INTERVAL 1 DAY AS tomorrow`);
      const text = (name: string) => String(row[name]);
      await sql(`ALTER TABLE ${table} REORGANIZE PARTITION p${text('today')} INTO (
          PARTITION p${text('day')} VALUES LESS THAN ('${text('next')}'),
          PARTITION p${text('today')} VALUES LESS THAN ('${text('tomorrow')}'));
        UPDATE ${table} SET holdfast_day = '${text('first')}'`);
    },
  };
}
