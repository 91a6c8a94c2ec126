// P3: how an operator's order to pass lost records over is carried out in the target, by who has
// just claimed the stream's lanes and brings nothing there meanwhile.
import type { Table } from '../accept/columns.ts';
import type { Clock } from '../clock.ts';
import { limits } from '../limits.ts';
import {
  type LaneState,
  type PassOver,
  type Session,
  type StreamId,
  TargetError,
} from '../target/target.ts';
import { stagedStream, stagingOf } from './staged.ts';
import type { StreamSettings } from './stream.ts';

/** So often it is looked whether other mergers have merged what they took. */
const waitsMax = 250;

/**
 * What was staged before the gap comes first: merged, by this session or by other mergers, when
 * it resolves with the lanes. Where staged rows are not there any more, 'transient': the gap is
 * another one then, which nobody has been shown.
 */
export async function mergeStaged(
  session: Session,
  of: {
    readonly stream: StreamId;
    readonly settings: StreamSettings;
    readonly shared: { readonly table: Table };
    readonly clock: Clock;
    readonly signal: AbortSignal;
  },
): Promise<readonly LaneState[]> {
  const { settings, shared, clock, signal } = of;
  const stream = stagedStream(settings, shared.table);
  const rowsMax = limits.mergeRowsMax;
  for (let waits = 0; waits < waitsMax && !signal.aborted; ) {
    const lanes = await session.lanes(of.stream);
    if (lanes.every(({ staged, settled }) => staged === settled)) return lanes;
    const turn = { stream, rowsMax, start: 0, share: 1, isOptimistic: false };
    const merged = await stagingOf(session).merge(turn);
    if ((merged?.lost ?? 0) > 0) {
      const message = 'Rows were gone from the staging table, so more is lost than it seemed.';
      throw new TargetError('transient', '', message);
    }
    if (merged) continue;
    waits++;
    await clock.sleep(limits.retryMsMin, signal);
  }
  throw new TargetError('transient', '', 'What was staged before is not merged yet.');
}

/**
 * Resolves once the target has passed the records over. Where no answer came, `claim` tells, under
 * the lanes' locks: it waits for the transaction, or shuts it out for good (P1).
 */
export async function giveUp(
  session: Session,
  order: PassOver,
  claim: () => Promise<readonly LaneState[]>,
): Promise<void> {
  try {
    await session.passOver(order);
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    if (error.kind === 'ambiguous') {
      const settled = new Map((await claim()).map((state) => [state.lane, state.settled]));
      if (order.ranges.every(({ lane, last }) => (settled.get(lane) ?? 0) >= last)) return;
    }
    // The lanes were ours and stood there a moment ago.
    const isPassing = error.kind === 'ambiguous' || error.kind === 'moved';
    if (!isPassing) throw error;
    throw new TargetError('transient', error.code, error.message, error);
  }
}
