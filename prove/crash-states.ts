// Every state that a power cut may leave of a journal's directory, after every prefix of a log of
// disk operations; with each of them what the world outside knew at that moment.
//
// Of n loose units (sectors or pages not synced, names not synced) all 2^n subsets are made up to
// `exhaustiveMax`; beyond it none, all, each one alone, all but each one, each prefix, and as many
// by chance as asked for. What was being written and did not arrive shows what stood there before,
// or garbage where nothing synced stands.
import { hash } from 'node:crypto';
import type { RequestNote } from '../src/journal/notes.ts';
import type { Random } from '../test/simulation/random.ts';
import type { Logged, Mark } from './disk-log.ts';
import { History } from './history.ts';
import { type Belief, laneName, requestName, Violation } from './oracle.ts';
import { type CrashState, type Loose, Platter } from './platter.ts';
import type { Fill } from './platter-file.ts';

export interface CrashStatesOptions {
  readonly random: Random;
  /** Up to so many units all subsets are made. */
  readonly exhaustiveMax?: number;
  /** Beyond that, so many by chance. */
  readonly randomSubsets?: number;
}

export interface Visit {
  readonly state: CrashState;
  readonly belief: Belief;
  readonly history: History;
  /** After so many entries of the log. */
  readonly at: number;
  /** Whether no other visit had the same state before. */
  readonly isNew: boolean;
  /** How many units were dropped, of how many. */
  readonly dropped: number;
  readonly loose: number;
}

const unitSizes = [512, 4096] as const;

interface Knowledge extends Belief {
  readonly acknowledged: Map<string, RequestNote>;
  readonly remembered: Set<string>;
  readonly settled: Map<string, number>;
}

/** The ids of streams by name, as the log's journal gave them. */
export type StreamIds = ReadonlyMap<string, number>;

function learn(belief: Knowledge, mark: Mark, of: { ids: StreamIds; history: History }): void {
  const { ids, history } = of;
  for (const [stream, lane, settled] of mark.settled ?? []) {
    belief.settled.set(laneName(ids.get(stream) ?? 0, lane), settled);
  }
  for (const [stream, key] of mark.remembered ?? []) {
    belief.remembered.add(requestName(stream, key));
  }
  for (const [stream, key] of mark.acknowledged ?? []) {
    const name = requestName(ids.get(stream) ?? 0, key);
    const note = history.requests.get(name);
    if (note) belief.acknowledged.set(name, note);
    // Where its segment was dropped before this log began, its records were settled.
    else if (!belief.remembered.has(name)) {
      throw new Violation('lost', `request ${name} was acknowledged and never written`);
    }
  }
}

/**
 * Visits the states of a log from entry `from` on, each once for what was known. Those that no log
 * before had are new, and added to `distinct`.
 */
export function eachCrashState(
  log: readonly Logged[],
  {
    ids,
    from,
    distinct,
    ...options
  }: CrashStatesOptions & {
    readonly ids: StreamIds;
    readonly from: number;
    readonly distinct: Set<string>;
  },
  visit: (visit: Visit) => void,
): void {
  const platter = new Platter();
  const history = new History();
  const belief: Knowledge = { acknowledged: new Map(), remembered: new Set(), settled: new Map() };
  let known = new Set<string>();
  const visitAll = (at: number): void => {
    if (at < from) return;
    for (const crashed of crashes(platter, options)) {
      const { state } = crashed;
      const key = hash('sha1', state.key, 'base64').slice(0, 12);
      if (known.has(key)) continue;
      known.add(key);
      const isNew = !distinct.has(key);
      distinct.add(key);
      visit({ ...crashed, belief, history, at, isNew });
    }
  };
  log.forEach((entry, at) => {
    if (entry.kind === 'mark') {
      learn(belief, entry, { ids, history });
      // What is known now is asked of the states that were seen before, too.
      known = new Set();
      return;
    }
    visitAll(at);
    platter.do(entry);
    if (entry.kind === 'write') history.learn(platter.pendingBytes(entry.file));
  });
  visitAll(log.length);
}

function* crashes(platter: Platter, options: CrashStatesOptions) {
  for (const unitBytes of unitSizes) {
    const loose = platter.loose(unitBytes);
    for (const kept of subsets(loose, options)) {
      for (const fill of ['old', 'garbage'] as const satisfies readonly Fill[]) {
        const state = platter.crash(loose, kept, fill);
        yield { state, dropped: loose.length - kept.size, loose: loose.length };
        if (kept.size === loose.length) break;
      }
    }
  }
}

function* subsets(
  loose: readonly Loose[],
  { random, exhaustiveMax = 10, randomSubsets = 256 }: CrashStatesOptions,
): Generator<ReadonlySet<Loose>> {
  const those = (keep: (at: number) => boolean): ReadonlySet<Loose> =>
    new Set(loose.filter((_, at) => keep(at)));
  const count = loose.length;
  if (count <= exhaustiveMax) {
    for (let bits = 0; bits < 2 ** count; bits++) yield those((at) => ((bits >> at) & 1) === 1);
    return;
  }
  yield those(() => false);
  yield those(() => true);
  for (let one = 0; one < count; one++) {
    yield those((at) => at === one);
    yield those((at) => at !== one);
    yield those((at) => at <= one);
  }
  for (let i = 0; i < randomSubsets; i++) {
    const share = random.next();
    yield those(() => random.chance(share));
  }
}
