// The books of a simulated target: dead letters, a lane's totals, and what a replay moves in them.
import assert from 'node:assert/strict';
import type { RowCode } from '../../src/errors.ts';
import { limits } from '../../src/limits.ts';
import { type EndCounts, noCounts } from '../../src/merge/ledger.ts';
import { lostRows } from '../../src/merge/lost.ts';
import { mustEndBefore } from '../../src/target/pass-over.ts';
import type {
  DeadLetter,
  DeadLetterId,
  LaneState,
  LetterFilter,
  PassOver,
  StreamId,
} from '../../src/target/target.ts';
import { laneKey, letterKey, type SimulatedStore } from './simulated-store.ts';

export interface Letter extends StreamId {
  readonly lane: number;
  readonly sequence: number;
  readonly row: string | null;
  readonly raw: Uint8Array;
  readonly code: RowCode;
  readonly message: string;
}

/** A record becomes a dead letter, at `wallMs`. */
export function bury(store: SimulatedStore, letter: Letter, wallMs: number): void {
  const times = { attempts: 1, firstAt: wallMs, lastAt: wallMs, state: 'dead' } as const;
  const sqlState = letter.code === 'refused' ? 'SIMULATED' : null;
  const whole: DeadLetter = { ...letter, sqlState, ...times };
  store.set(store.letters, letterKey(letter), whole);
}

/** Adds to the totals of a lane, and moves its watermarks. */
export function count(
  store: SimulatedStore,
  of: StreamId & { readonly lane: number },
  more: EndCounts & Partial<Pick<LaneState, 'staged' | 'settled'>>,
): void {
  const key = laneKey(of, of.lane);
  const state = store.lanes.get(key);
  assert(state, 'the lane is there');
  store.set(store.lanes, key, {
    ...state,
    staged: more.staged ?? state.staged,
    settled: more.settled ?? state.settled,
    merged: state.merged + more.merged,
    duplicates: state.duplicates + more.duplicates,
    superseded: state.superseded + more.superseded,
    deadLetters: state.deadLetters + more.deadLetters,
  });
}

/** See Session.passOver. */
export function passOver(store: SimulatedStore, order: PassOver, at: number): void {
  store.transaction(() => {
    mustEndBefore(order, store.lanesOf(order));
    for (const range of order.ranges) {
      const { lane, last } = range;
      const key = laneKey(order, lane);
      for (const row of lostRows(range)) store.book(key, { row, isMerged: true, at });
      count(store, { ...order, lane }, { ...noCounts, staged: last, settled: last });
    }
  });
}

export function readLetters(store: SimulatedStore, filter: LetterFilter): DeadLetter[] {
  const { id, stream, after, limit = limits.lettersListedMax } = filter;
  if (id) return [store.letters.get(letterKey(id))].filter((letter) => letter !== undefined);
  let bytes = 0;
  return [...store.letters.values()]
    .filter((letter) => letter.state === 'dead')
    .filter((letter) => stream === undefined || letter.stream === stream)
    .filter((letter) => !after || byId(after, letter) < 0)
    .sort(byId)
    .slice(0, Math.max(limit, 0))
    .filter(({ raw, message }) => {
      const isTaken = bytes < limits.lettersListedBytes;
      bytes += raw.length + message.length;
      return isTaken;
    });
}

const textOrder = (a: string, b: string): number => Number(a > b) - Number(a < b);

const byId = (a: DeadLetterId, b: DeadLetterId): number =>
  textOrder(a.writer, b.writer) ||
  textOrder(a.stream, b.stream) ||
  a.lane - b.lane ||
  a.sequence - b.sequence;
