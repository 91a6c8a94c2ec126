// The matrix of campaign `commits`: each statement as it is sent, on each route of a batch, struck
// by each fault, with each fate of its server. Which statements there are is what batches that
// nothing disturbs send, so no cell of it is a matter of chance.
import type { Random } from '../test/simulation/random.ts';
import type { Engine } from '../test/support/pairs.ts';
import type { Fault } from '../test/support/proxy.ts';
import { isCommit, type Mark, statementOf } from './commit-marks.ts';
import type { Scenario } from './commit-scenarios.ts';

/** With the last one a COMMIT comes to the server after all, when others have done its work. */
export const faults = [
  'before',
  'after',
  'half',
  'hang',
  'hold',
] as const satisfies readonly Fault[];
export const fates = ['same server', 'restarted', 'failed over', 'failed over, behind'] as const;
export type Fate = (typeof fates)[number];

/** A statement that is struck, in a scenario that sends it. */
export interface Case {
  readonly name: string;
  readonly engine: Engine;
  readonly scenario: Scenario;
  readonly mark: Mark;
  readonly fault: (typeof faults)[number];
  readonly fate: Fate;
}

/** What a run tells of the matrix: cells that it struck, and all that there are. */
export const matrixTold = {
  struck: 'cells of the matrix struck in one run',
  there: 'cells of the matrix',
} as const;

export const cellOf = ({ mark, fault, fate }: Case): string =>
  [statementOf(mark), fault, fate].join('; ');

/**
 * The cells that no run may leave out. A COMMIT meets every fault with every fate. Another
 * statement meets every fault once and every fate once; which with which, changes from one
 * statement to the next.
 */
export function coreOf(cases: readonly Case[]): Set<string> {
  const statements = [...new Set(cases.map(({ mark }) => statementOf(mark)))];
  const places = new Map(statements.map((statement, place) => [statement, place]));
  const isCore = ({ mark, fault, fate }: Case): boolean => {
    const place = (places.get(statementOf(mark)) ?? 0) + faults.indexOf(fault);
    return isCommit(mark) || fates[place % fates.length] === fate;
  };
  return new Set(cases.filter(isCore).map(cellOf));
}

/** By chance, but first one case of each cell of the core, then one of each other cell. */
export function inOrder(cases: readonly Case[], random: Random): Case[] {
  const core = coreOf(cases);
  const ranked = cases.map((one) => ({ one, rank: random.next() }));
  ranked.sort((a, b) => a.rank - b.rank);
  const seen = new Set<string>();
  const groups: [Case[], Case[], Case[]] = [[], [], []];
  for (const { one } of ranked) {
    const cell = cellOf(one);
    groups[seen.has(cell) ? 2 : core.has(cell) ? 0 : 1].push(one);
    seen.add(cell);
  }
  return groups.flat();
}
