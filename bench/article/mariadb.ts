// MariaDB under bench article. It counts waits for row locks, their time, and deadlocks.
import mysql from 'mysql2/promise';
import { startMariadb } from '../../test/support/mariadb.ts';
import type { Payment } from './load.ts';
import type { Locks, Pool, RunDatabase, Server } from './servers.ts';

const createTable = `CREATE TABLE payments (
  tx_id bigint PRIMARY KEY,
  user_id bigint NOT NULL,
  amount decimal(18,2) NOT NULL,
  status varchar(20) NOT NULL,
  version int NOT NULL,
  note text,
  created_at datetime(6) NOT NULL DEFAULT current_timestamp(6)
) ENGINE=InnoDB`;

const columns = ['tx_id', 'user_id', 'amount', 'status', 'version', 'note'] as const;
const insert = `INSERT INTO payments (${columns.join(', ')}) VALUES`;
// Assignments are made from left to right, so `version`, which the others compare, comes last.
const update = ['user_id', 'amount', 'status', 'note', 'version']
  .map((name) => `${name} = IF(VALUES(version) > version, VALUES(${name}), ${name})`)
  .join(', ');
const onConflict = `ON DUPLICATE KEY UPDATE ${update}`;
const one = `${insert} (?, ?, ?, ?, ?, ?) ${onConflict}`;
const many = `${insert} ? ${onConflict}`;

/** Lock wait timeout, deadlock. */
const retryable = new Set([1205, 1213]);

const valuesOf = (row: Payment) => columns.map((column) => row[column]);

function openPool(url: string, connections: number): Pool {
  const pool = mysql.createPool({ uri: url, connectionLimit: connections });
  return {
    async upsertOne(row) {
      await pool.execute(one, valuesOf(row));
    },
    async upsertMany(rows) {
      await pool.query(many, [rows.map(valuesOf)]);
    },
    isRetryable: (error) =>
      error instanceof Error && 'errno' in error && retryable.has(Number(error.errno)),
    close: () => pool.end(),
  };
}

interface Count extends mysql.RowDataPacket {
  readonly VARIABLE_NAME: string;
  readonly VARIABLE_VALUE: string;
}

/** Of the whole server since its start; nothing else runs on it. */
async function counted(admin: mysql.Connection): Promise<Locks> {
  const [rows] = await admin.query<Count[]>(
    "SELECT * FROM information_schema.global_status WHERE VARIABLE_NAME LIKE 'INNODB_%LOCK%'",
  );
  const values = new Map(rows.map((row) => [row.VARIABLE_NAME, Number(row.VARIABLE_VALUE)]));
  return {
    waits: values.get('INNODB_ROW_LOCK_WAITS') ?? Number.NaN,
    waitMs: values.get('INNODB_ROW_LOCK_TIME') ?? Number.NaN,
    deadlocks: values.get('INNODB_DEADLOCKS') ?? Number.NaN,
  };
}

type Place = [key: number, version: number];

export async function startMariadbServer(): Promise<Server> {
  const server = await startMariadb('MariaDB 10.11', ['--innodb-buffer-pool-size=128M']);
  const admin = await mysql.createConnection(server.url);
  let made = 0;
  return {
    name: 'mariadb',
    async createDatabase(): Promise<RunDatabase> {
      const name = `run${++made}`;
      await admin.query(`CREATE DATABASE ${name}`);
      await admin.query(`USE ${name}`);
      await admin.query(createTable);
      const address = new URL(server.url);
      address.pathname = `/${name}`;
      const url = address.href;
      return {
        url,
        pool: (connections) => openPool(url, connections),
        async watchLocks() {
          const before = await counted(admin);
          return async () => {
            const after = await counted(admin);
            return {
              waits: after.waits - before.waits,
              waitMs: after.waitMs - before.waitMs,
              deadlocks: after.deadlocks - before.deadlocks,
            };
          };
        },
        async contents() {
          const sql = `SELECT tx_id, version FROM ${name}.payments`;
          const [rows] = await admin.query({ sql, rowsAsArray: true });
          return rows as unknown as Place[];
        },
        async drop() {
          await admin.query(`DROP DATABASE ${name}`);
        },
      };
    },
    async stop() {
      await admin.end();
      await server.stop();
    },
  };
}
