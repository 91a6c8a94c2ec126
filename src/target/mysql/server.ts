// What a server says of itself on a new connection, and what follows from it: whether it can be
// used at all, and by which statements. By settings where there are some, else by vendor and
// version.
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import type { Vendor } from './errnos.ts';
import { literal } from './text.ts';

export interface Server {
  readonly vendor: Vendor;
  readonly version: readonly number[];
  /** Of server and history, as far as the server has one. */
  readonly identity: string;
  /**
   * The connection's number, the second at which the server started, its identity: enough to end
   * this connection from another one, and never one of the same number that is later or elsewhere.
   */
  readonly session: string;
  /** Whether rows may go in by LOAD DATA LOCAL. */
  readonly canLoad: boolean;
  /** Whether a query may leave out rows that others have locked. */
  readonly canSkip: boolean;
  /** max_allowed_packet. */
  readonly packetBytesMax: number;
  /** The last second that a TIMESTAMP holds. */
  readonly timestampMax: number;
}

const variables = [
  'version',
  'hostname',
  'port',
  'server_id',
  'server_uid',
  'server_uuid',
  'read_only',
  'super_read_only',
  'innodb_read_only',
  'local_infile',
  'wsrep_load_data_splitting',
  'max_allowed_packet',
  'sql_mode',
  'note_verbosity',
] as const;

/** What `sql_mode` must say on our sessions: no value may be changed without an error. */
const modes = [
  'STRICT_ALL_TABLES',
  'STRICT_TRANS_TABLES',
  'NO_ZERO_DATE',
  'NO_ZERO_IN_DATE',
  'ERROR_FOR_DIVISION_BY_ZERO',
  'NO_ENGINE_SUBSTITUTION',
  'NO_AUTO_VALUE_ON_ZERO',
];

const oldest: { readonly [vendor in Vendor]: readonly [number, number] } = {
  MariaDB: [10, 5],
  MySQL: [5, 6],
};

/** SKIP LOCKED. */
const skipping: { readonly [vendor in Vendor]: readonly [number, number] } = {
  MariaDB: [10, 6],
  MySQL: [8, 0],
};

const isAtLeast = ([major = 0, minor = 0]: readonly number[], [x, y]: readonly [number, number]) =>
  major > x || (major === x && minor >= y);

/** 2038-01-19 and, from MariaDB 11.5 on, 2106-02-07. */
const seconds32 = 2_147_483_647;

/** The books of a batch of all lanes go into one statement. */
const packetBytesMin = 1024 * 1024;

/** Settings of a session, in whole seconds where they are times. */
export interface SessionTimes {
  readonly answerMsMax: number;
  readonly lockMsMax: number;
}

const wholeSeconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));

/** Sets the session up, asks the server, and throws where it cannot be written to as it must be. */
export async function enter(connection: Connection, times: SessionTimes): Promise<Server> {
  const [first] = await connection.query('SELECT VERSION() AS version');
  const text = String(first?.['version']);
  const vendor: Vendor = /mariadb/i.test(text) ? 'MariaDB' : 'MySQL';
  connection.vendor = vendor;
  // MariaDB behind replication may call itself 5.5.5-10.11.19-MariaDB.
  const version = (/(\d+)\.(\d+)\.(\d+)/.exec(text.replace(/^5\.5\.5-/, '')) ?? [])
    .slice(1)
    .map(Number);
  if (!isAtLeast(version, oldest[vendor])) {
    const least = oldest[vendor].join('.');
    throw new TargetError('hold', '', `The server is older than ${vendor} ${least}: ${text}.`);
  }
  await connection.script(settings(times, vendor, version));
  const rows = await connection.query(
    `SHOW VARIABLES WHERE Variable_name IN (${variables.map(literal).join()})`,
  );
  const values = new Map(rows.map((row) => [String(row['Variable_name']), String(row['Value'])]));
  const value = (of: (typeof variables)[number]): string => values.get(of) ?? '';
  checkWritable(value);
  const lacking = modes.filter((mode) => !value('sql_mode').split(',').includes(mode));
  if (lacking.length > 0) {
    const message = `The session’s sql_mode lacks ${lacking.join()}: something sets it back.`;
    throw new TargetError('hold', '', message);
  }
  // That a decimal was rounded is only a note. Not every MariaDB has this switch of them.
  if (values.has('note_verbosity') && !value('note_verbosity').includes('basic')) {
    await connection.script("SET SESSION note_verbosity = 'basic'");
  }
  const packetBytesMax = Number(value('max_allowed_packet'));
  if (packetBytesMax < packetBytesMin) {
    const message = `max_allowed_packet is ${packetBytesMax}; it must be ${packetBytesMin}.`;
    throw new TargetError('hold', '', message);
  }
  const isLong = vendor === 'MariaDB' && isAtLeast(version, [11, 5]);
  const identity = identityOf(value);
  return {
    vendor,
    version,
    identity,
    session: `${connection.threadId} ${await startedAt(connection)} ${identity}`,
    // A Galera node that splits a LOAD commits it in pieces.
    canLoad: value('local_infile') === 'ON' && value('wsrep_load_data_splitting') !== 'ON',
    canSkip: isAtLeast(version, skipping[vendor]),
    packetBytesMax,
    timestampMax: isLong ? 2 * seconds32 + 1 : seconds32,
  };
}

function checkWritable(value: (of: (typeof variables)[number]) => string): void {
  // MariaDB 12 has further words for a read_only that binds more users.
  const isReadOnly = !['OFF', '0', ''].includes(value('read_only'));
  const isOther = value('super_read_only') === 'ON' || value('innodb_read_only') === 'ON';
  if (!isReadOnly && !isOther) return;
  throw new TargetError('readonly', 'ER_OPTION_PREVENTS_STATEMENT', 'The server takes no writes.');
}

/**
 * MySQL makes itself a UUID. MariaDB's server_uid is of machine and port, so its number goes along;
 * where it has none, the address stands in: a failover then looks like another server, which is
 * safe.
 */
function identityOf(value: (of: (typeof variables)[number]) => string): string {
  if (value('server_uuid') !== '') return value('server_uuid');
  const own = value('server_uid') || `${value('hostname')}:${value('port')}`;
  return `${own}/${value('server_id')}`;
}

/** The second at which the server started, give or take one. */
async function startedAt(connection: Connection): Promise<number> {
  const [status, clock] = await connection.script(
    "SHOW GLOBAL STATUS LIKE 'Uptime'; SELECT UNIX_TIMESTAMP() AS now",
  );
  return Number(clock?.rows[0]?.['now']) - Number(status?.rows[0]?.['Value']);
}

function settings(
  { answerMsMax, lockMsMax }: SessionTimes,
  vendor: Vendor,
  version: readonly number[],
): string {
  // The server gives up a little earlier than the client: an error is better than a lost answer.
  const statementMs = Math.ceil(answerMsMax * 0.9);
  const lockSeconds = wholeSeconds(Math.min(lockMsMax, statementMs));
  const answerSeconds = wholeSeconds(answerMsMax);
  const values: { [setting: string]: string | number } = {
    sql_mode: literal(modes.join()),
    time_zone: "'+00:00'",
    autocommit: 1,
    completion_type: "'NO_CHAIN'",
    innodb_lock_wait_timeout: lockSeconds,
    lock_wait_timeout: lockSeconds,
    net_read_timeout: answerSeconds,
    net_write_timeout: answerSeconds,
    // Half a connection must not hold locks for eight hours.
    wait_timeout: Math.max(600, 2 * answerSeconds),
    max_error_count: 64,
    sql_notes: 1,
    // What a table is compared by (P5) is spelt in one way.
    sql_quote_show_create: 1,
    // A server may have set these for people: answers cut short, statements refused.
    sql_select_limit: '18446744073709551615',
    sql_big_selects: 1,
    sql_safe_updates: 0,
    foreign_key_checks: 1,
    unique_checks: 1,
  };
  if (vendor === 'MariaDB') {
    values['max_statement_time'] = statementMs / 1000;
    values['idle_transaction_timeout'] = answerSeconds;
    values['check_constraint_checks'] = 1;
  } else if (isAtLeast(version, [5, 8])) {
    // Of SELECTs only; the client's own deadline serves for the others.
    values['max_execution_time'] = statementMs;
  }
  const all = Object.entries(values).map(([setting, to]) => `${setting} = ${to}`);
  return `SET NAMES utf8mb4; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET SESSION TRANSACTION READ WRITE;
    SET SESSION ${all.join(', SESSION ')}`;
}
