// SQLite as a target: one file, one writer. node:sqlite is synchronous, so a session blocks its
// thread while it works: it belongs to the loader's thread.
import { resolve } from 'node:path';
import type { Clock } from '../../clock.ts';
import type { Target } from '../target.ts';
import { Connection } from './connection.ts';
import { SqliteSession } from './session.ts';

/** `sqlite:PATH` or `sqlite:///PATH`, percent-encoding and a query allowed; relative to the cwd. */
export function sqlitePath(url: string): string {
  const [, path] = /^sqlite:(?:\/\/)?([^?#]*)/.exec(url) ?? [];
  return resolve(decodeURIComponent(path ?? ''));
}

/** The file must exist; `connect` never makes one. Errors are TargetErrors. */
export function sqliteTarget(url: string, { clock }: { readonly clock: Clock }): Target {
  const path = sqlitePath(url);
  const sessions = new Set<SqliteSession>();
  let made = 0;
  return {
    capabilities: { loadersMax: 1, mergersMax: 0, standby: false },
    connect: async () => {
      const connection = new Connection(path);
      try {
        const session = new SqliteSession(connection, { id: `${process.pid} ${++made}`, clock });
        for (const old of sessions) if (old.isClosed) sessions.delete(old);
        sessions.add(session);
        return session;
      } catch (error) {
        connection.close();
        throw error;
      }
    },
    close: async () => {
      for (const session of sessions) session.destroy();
    },
  };
}
