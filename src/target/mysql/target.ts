// Finds the writable server among the hosts of a URL, and opens sessions on it. All open sessions
// of a target belong to one server (P2): a session on another one ends those that were open.
//
// What a replica has, a primary of MariaDB or MySQL cannot tell: a replica that is connected may be
// any time behind. So `standby` is no capability here.
import assert from 'node:assert/strict';
import type { Clock } from '../../clock.ts';
import { splitHosts } from '../hosts.ts';
import { type Session, type Target, TargetError, type TargetErrorKind } from '../target.ts';
import { Connection } from './connection.ts';
import { enter } from './server.ts';
import { MysqlSession } from './session.ts';
import { type Place, placeOf } from './url.ts';

export interface MysqlOptions {
  readonly clock: Clock;
  /** A round trip that takes longer ends the connection: 'lost', or 'ambiguous' after COMMIT. */
  readonly answerMsMax?: number;
  readonly connectMsMax?: number;
  /**
   * How long a statement waits for a lock before it is 'transient'; whole seconds, at least one.
   */
  readonly lockMsMax?: number;
  /** How long `resolve` waits for the lanes before it ends the suspect, and again after that. */
  readonly resolveLockMsMax?: number;
}

/** Which failure to tell where no host could be used: the one that somebody must repair. */
const gravity: readonly TargetErrorKind[] = ['hold', 'readonly', 'transient', 'lost'];

/**
 * A target for `mysql://user:password@host:port,host:port/database`, or `mariadb://…`. Makes no
 * connection yet. Throws HF_USAGE where the URL is not one.
 */
export function mysqlTarget(url: string, options: MysqlOptions): Target {
  return new MysqlTarget(url, options);
}

class MysqlTarget implements Target {
  // Until a server has told that it cannot skip what is locked; mergers wait for each other there.
  readonly capabilities = { loadersMax: 64, mergersMax: 64, standby: false };
  readonly #places: readonly Place[];
  readonly #options: Required<MysqlOptions>;
  readonly #sessions = new Set<MysqlSession>();

  constructor(url: string, options: MysqlOptions) {
    this.#places = splitHosts(url).map(placeOf);
    this.#options = {
      answerMsMax: 60_000,
      connectMsMax: 10_000,
      lockMsMax: 10_000,
      resolveLockMsMax: 2_000,
      ...options,
    };
  }

  async connect(): Promise<Session> {
    const failures: TargetError[] = [];
    for (const place of this.#places) {
      try {
        return await this.#connectTo(place);
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

  async #connectTo(place: Place): Promise<Session> {
    const connection = await Connection.open(place, this.#options);
    try {
      const server = await enter(connection, this.#options);
      if (!server.canSkip) this.capabilities.mergersMax = 1;
      const session = new MysqlSession(connection, { ...this.#options, server });
      for (const other of this.#sessions) {
        if (other.identity !== session.identity) other.destroy();
        if (other.isClosed) this.#sessions.delete(other);
      }
      this.#sessions.add(session);
      return session;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }
}
