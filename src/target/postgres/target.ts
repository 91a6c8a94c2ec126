// Finds the writable server among the hosts of a URL, and opens sessions on it. All open sessions
// of a target belong to one server and one history (P2): a promoted standby ends the sessions on
// the old primary, and an old primary that comes back, writable as it may be, is refused.
import assert from 'node:assert/strict';
import type { Clock } from '../../clock.ts';
import { splitHosts } from '../hosts.ts';
import { type Session, type Target, TargetError, type TargetErrorKind } from '../target.ts';
import { Connection, type Row } from './connection.ts';
import { sessionId } from './lanes.ts';
import { PostgresSession } from './session.ts';

export interface PostgresOptions {
  readonly clock: Clock;
  /** A round trip that takes longer ends the connection: 'lost', or 'ambiguous' after COMMIT. */
  readonly answerMsMax?: number;
  readonly connectMsMax?: number;
  /** How long a statement waits for a lock before it is 'transient'. */
  readonly lockMsMax?: number;
  /** How long `resolve` waits for the lanes before it ends the suspect, and again after that. */
  readonly resolveLockMsMax?: number;
  /** Report the log's position with every batch: what `isReplicated` asks about. */
  readonly positions?: boolean;
}

const versionMin = 130_000;

/** Which failure to tell where no host could be used: the one that somebody must repair. */
const gravity: readonly TargetErrorKind[] = ['hold', 'readonly', 'transient', 'lost'];

const factsSql = `SELECT pg_is_in_recovery() AS "isStandby",
  current_setting('default_transaction_read_only') = 'on' AS "isReadOnly",
  pg_backend_pid() AS pid, current_setting('server_encoding') AS encoding,
  (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()) AS "startedAt",
  current_setting('server_version_num')::int AS version,
  has_function_privilege('pg_control_system()', 'EXECUTE') AS "hasControl",
  coalesce(host(inet_server_addr()), 'local') || ':' || coalesce(inet_server_port(), 0) AS address`;

/**
 * A target for `postgres://user:password@host:port,host:port/database?…`. Makes no connection yet.
 * Throws HF_USAGE where the URL is not one.
 */
export function postgresTarget(url: string, options: PostgresOptions): Target {
  return new PostgresTarget(url, options);
}

class PostgresTarget implements Target {
  readonly capabilities: Target['capabilities'] = {
    loadersMax: 64,
    mergersMax: 64,
    standby: true,
  };
  readonly #hosts: readonly string[];
  readonly #options: Required<PostgresOptions>;
  readonly #sessions = new Set<PostgresSession>();
  /** The newest timeline seen of each server, by system identifier. */
  readonly #timelines = new Map<string, number>();

  constructor(url: string, options: PostgresOptions) {
    this.#hosts = splitHosts(url);
    this.#options = {
      answerMsMax: 60_000,
      connectMsMax: 10_000,
      lockMsMax: 10_000,
      resolveLockMsMax: 2_000,
      positions: false,
      ...options,
    };
  }

  async connect(): Promise<Session> {
    const failures: TargetError[] = [];
    for (const host of this.#hosts) {
      try {
        return await this.#connectTo(host);
      } catch (error) {
        if (!(error instanceof TargetError)) throw error;
        failures.push(error);
      }
    }
    failures.sort((a, b) => gravity.indexOf(a.kind) - gravity.indexOf(b.kind));
    const [gravest] = failures;
    assert(gravest, 'a URL has at least one host');
    throw gravest;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session.close()));
    this.#sessions.clear();
  }

  async #connectTo(host: string): Promise<Session> {
    const connection = await Connection.open(host, this.#options);
    try {
      return await this.#begin(connection);
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  async #begin(connection: Connection): Promise<Session> {
    await connection.script(this.#settings());
    const [facts] = await connection.query(factsSql);
    assert(facts, 'a SELECT without FROM has one row');
    if (Number(facts['version']) < versionMin) {
      throw new TargetError('hold', '', 'The server is older than PostgreSQL 13.');
    }
    if (facts['isStandby'] === true || facts['isReadOnly'] === true) {
      throw new TargetError('readonly', '25006', 'The server takes no writes.');
    }
    const identity = await this.#identify(connection, facts);
    const session = new PostgresSession(connection, {
      identity,
      id: sessionId(Number(facts['pid']), String(facts['startedAt'])),
      positions: this.#options.positions,
      encoding: String(facts['encoding']),
      resolveLockMsMax: this.#options.resolveLockMsMax,
    });
    for (const other of this.#sessions) {
      if (other.identity !== identity) other.destroy();
      if (other.isClosed) this.#sessions.delete(other);
    }
    this.#sessions.add(session);
    return session;
  }

  /**
   * Server and history. The control file's own timeline is written only by the checkpoint that
   * follows a promotion, so the name of the log's current file is asked. Where the system
   * identifier may not be read the address stands in: a failover then looks like another server,
   * which is safe.
   */
  async #identify(connection: Connection, facts: Row): Promise<string> {
    const from = facts['hasControl'] === true ? 'pg_control_system()' : '(SELECT NULL)';
    const [row] = await connection.query(
      `SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline,
         to_json(f.*) ->> 'system_identifier' AS system FROM ${from} AS f`,
    );
    const server = String(row?.['system'] ?? facts['address']);
    const timeline = Number.parseInt(String(row?.['timeline']), 16);
    const newest = this.#timelines.get(server) ?? 0;
    if (timeline < newest) {
      const message = `The server is on timeline ${timeline}; timeline ${newest} was seen already.`;
      throw new TargetError('hold', '', `${message} It is an old primary.`);
    }
    this.#timelines.set(server, timeline);
    return `${server}/${timeline}`;
  }

  #settings(): string {
    const { answerMsMax, lockMsMax } = this.#options;
    // The server gives up a little earlier than the client: an error is better than a lost answer.
    const statementMsMax = Math.ceil(answerMsMax * 0.9);
    const settings = {
      client_encoding: "'UTF8'",
      standard_conforming_strings: 'on',
      client_min_messages: 'warning',
      default_transaction_isolation: "'read committed'",
      statement_timeout: statementMsMax,
      lock_timeout: Math.min(lockMsMax, statementMsMax),
      idle_in_transaction_session_timeout: answerMsMax,
      // A server that waits for rows of a client that is gone holds the lanes as long as TCP
      // believes in it, two hours by default; no timeout above ends that. Now it is two minutes.
      tcp_keepalives_idle: 60,
      tcp_keepalives_interval: 10,
      tcp_keepalives_count: 6,
      TimeZone: "'UTC'",
      // A plan that shuns scans (byIndexOnly) looks dear enough to compile: seconds for few rows.
      jit: 'off',
      DateStyle: "'ISO, MDY'",
      bytea_output: "'hex'",
    };
    return Object.entries(settings)
      .map(([setting, value]) => `SET ${setting} = ${value}`)
      .join('; ');
  }
}
