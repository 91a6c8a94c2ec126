// The guard of an order to pass lost records over: every dialect asks it under its locks.
import { type LaneState, type PassOver, TargetError } from './target.ts';

/**
 * Throws 'fenced' where a lane belongs to a later epoch, 'moved' where one does not end just
 * before its range, everything staged being merged.
 */
export function mustEndBefore({ epoch, ranges }: PassOver, lanes: readonly LaneState[]): void {
  const byLane = new Map(lanes.map((state) => [state.lane, state]));
  for (const { lane, first } of ranges) {
    const state = byLane.get(lane);
    if (state && state.epoch > epoch) {
      const message = `Lane ${lane} belongs to epoch ${state.epoch} now; this is ${epoch}.`;
      throw new TargetError('fenced', '', message);
    }
    const { settled, staged } = state ?? {};
    // An older epoch: the database was put back to an earlier state.
    if (state?.epoch === epoch && settled === first - 1 && staged === settled) continue;
    throw new TargetError('moved', '', `Lane ${lane} does not end before record ${first}.`);
  }
}
