// What can go wrong with a call of the simulated target.
import { TargetError, type TargetErrorKind } from '../../src/target/target.ts';

export const targetFaults = [
  /** The connection breaks before the call does anything. */
  'lost',
  /** It breaks with the COMMIT on its way; done, or not done. For calls that only read: lost. */
  'ambiguous, committed',
  'ambiguous, not committed',
  'transient',
  'deadlock',
  'serialization',
  'hold',
  'readonly',
  /** No answer comes until the client gives up; the server did nothing, or all of it. */
  'hang',
  'hang, committed',
  /**
   * The client gives up, and the server does it later: unless its guard refuses it then. Or it has
   * its locks already, and is ended by whoever waits for them too long (P1).
   */
  'late',
  'late, locked',
  /** The process that calls dies; before the call, or when it is done and not answered. */
  'die',
  'die, committed',
] as const;

export type TargetFault = (typeof targetFaults)[number];

const refusals: Partial<Readonly<Record<TargetFault, readonly [TargetErrorKind, string]>>> = {
  lost: ['lost', ''],
  'ambiguous, not committed': ['ambiguous', ''],
  transient: ['transient', 'SIMULATED'],
  deadlock: ['transient', '40P01'],
  serialization: ['transient', '40001'],
  hold: ['hold', 'SIMULATED'],
  readonly: ['readonly', '25006'],
};

/** The error of a fault that strikes before anything is done; undefined for others. */
export function refusalOf(fault: TargetFault, writes: boolean): TargetError | undefined {
  const [kind, code] = refusals[fault] ?? [];
  if (kind === undefined) return undefined;
  const isLost = kind === 'ambiguous' && !writes;
  return new TargetError(isLost ? 'lost' : kind, code ?? '', `simulated: ${fault}`);
}

/** Nothing was answered: the caller cannot know. */
export const unanswered = (fault: TargetFault, writes: boolean): TargetError =>
  new TargetError(writes ? 'ambiguous' : 'lost', '', `simulated: ${fault}`);
