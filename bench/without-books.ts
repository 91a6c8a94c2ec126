// A PostgreSQL target that keeps no books, for bench price: the transaction of a batch is BEGIN,
// COPY, COMMIT, of the same rows as they come to the real one. No guard, no ledger, no watermark;
// where the lanes stand is told from memory, so that whoever asks finds what was sent.
import { systemClock } from '../src/clock.ts';
import type { Batch } from '../src/merge/batch.ts';
import { Connection } from '../src/target/postgres/connection.ts';
import { plainRows } from '../src/target/postgres/copy.ts';
import type { LaneState, MergeResult, Session, Target } from '../src/target/target.ts';

const answerMsMax = 60_000;

export function withoutBooks(target: Target, url: string): Target {
  const sent = new Map<number, number>();
  return {
    capabilities: target.capabilities,
    close: () => target.close(),
    connect: async () => {
      const options = { clock: systemClock, connectMsMax: answerMsMax, answerMsMax };
      return plainSession(await target.connect(), await Connection.open(url, options), sent);
    },
  };
}

/** All but the loader's own calls goes to `session`. */
function plainSession(
  session: Session,
  connection: Connection,
  sent: Map<number, number>,
): Session {
  const merge = async (batch: Batch): Promise<MergeResult> => {
    await connection.transaction(async () => {
      await connection.copyIn(
        `BEGIN; COPY ${batch.table.name} FROM STDIN (FORMAT binary)`,
        plainRows(batch, batch.order, connection.chunks),
      );
      await connection.commit();
    });
    for (const { lane, last } of batch.slices) sent.set(lane, last);
    return { position: '' };
  };
  const lanes = async (stream: Parameters<Session['lanes']>[0]): Promise<LaneState[]> => {
    const found = await session.lanes(stream);
    return found.map((state) => {
      const settled = sent.get(state.lane) ?? state.settled;
      return { ...state, staged: settled, settled, merged: settled };
    });
  };
  const close = async (): Promise<void> => {
    await Promise.all([connection.close(), session.close()]);
  };
  const destroy = (): void => {
    connection.destroy();
    session.destroy();
  };
  const own = new Map<string | symbol, unknown>(Object.entries({ merge, lanes, close, destroy }));
  return new Proxy(session, {
    get: (of, name): unknown => {
      const value: unknown = own.get(name) ?? Reflect.get(of, name, of);
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
}
