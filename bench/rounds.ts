// The rounds of a bench: in each, all that is compared runs in turn, so that a drift of the machine
// hits everything alike. One round to warm up; a disturbed round is taken again, within bounds.
import {
  type BenchOptions,
  type Figure,
  figureOf,
  isQuiet,
  type Run,
  type Size,
} from './figures.ts';

/** What is known of every measurement. */
export interface Measured {
  /** Share of all cores' time that went to other processes meanwhile, 0 to 1. */
  readonly others: number;
}

export interface Rate extends Measured {
  /** Rows a second. */
  readonly rate: number;
}

/** Measurements of one round by name. */
export type Round<T extends Measured> = ReadonlyMap<string, T>;

export interface Plan<T extends Measured> {
  readonly rounds: number;
  /** Of the time that is left; all by default. */
  readonly share?: number;
  readonly take: (isWarmUp: boolean) => Promise<Round<T>>;
  /** One measurement in words, for progress. */
  readonly tell: (measured: T) => string;
}

export const roundsOf: { readonly [size in Size]: number } = { tiny: 1, usual: 3, full: 3 };

const disturbance = <T extends Measured>(round: Round<T>): number =>
  Math.max(...[...round.values()].map(({ others }) => others));

/**
 * So many rounds, or fewer where the time ends before; at least one. Each disturbed one has one
 * more try; of all that were taken the least disturbed are kept, in their order.
 */
export async function takeRounds<T extends Measured>(
  { say, size, endBy }: BenchOptions,
  { rounds, share = 1, take, tell }: Plan<T>,
): Promise<Round<T>[]> {
  const now = performance.now();
  const end = now + (endBy - now) * share;
  const triesMax = size === 'tiny' ? rounds : 2 * rounds;
  const speak = (title: string, round: Round<T>): void => {
    for (const [name, measured] of round) {
      say(`${title}: ${name} ${tell(measured)}, others ${Math.round(measured.others * 100)} %`);
    }
  };
  speak('warming up', await take(true));
  const taken: Round<T>[] = [];
  let longestMs = 0;
  for (let tries = 1; tries <= triesMax; tries++) {
    const quiet = taken.filter((round) => isQuiet({ others: disturbance(round) })).length;
    const begun = performance.now();
    if (quiet === rounds || (taken.length > 0 && begun + longestMs > end)) break;
    const round = await take(false);
    longestMs = Math.max(longestMs, performance.now() - begun);
    taken.push(round);
    speak(`round ${tries}${isQuiet({ others: disturbance(round) }) ? '' : ', disturbed'}`, round);
  }
  const bySilence = [...taken].sort((a, b) => disturbance(a) - disturbance(b));
  const kept = new Set(bySilence.slice(0, rounds));
  return taken.filter((round) => kept.has(round));
}

/** A figure of one name over all rounds, beside what `reference` gave in the same round. */
export function figureOver<T extends Measured>(
  taken: readonly Round<T>[],
  name: string,
  of: {
    readonly unit: string;
    readonly value: (measured: T) => number;
    readonly reference?: string | undefined;
    /** By default `value`. */
    readonly referenceValue?: (measured: T) => number;
  },
): Figure {
  const runs = taken.flatMap((round): Run[] => {
    const own = round.get(name);
    if (!own) return [];
    const reference = of.reference === undefined ? undefined : round.get(of.reference);
    const { others } = own;
    if (!reference) return [{ value: of.value(own), others }];
    return [{ value: of.value(own), of: (of.referenceValue ?? of.value)(reference), others }];
  });
  return figureOf(of.unit, runs);
}

export const rateFigure = <T extends Rate>(
  taken: readonly Round<T>[],
  name: string,
  reference?: string,
): Figure => figureOver(taken, name, { unit: 'rows/s', value: ({ rate }) => rate, reference });

export const inWords = (rate: number): string => `${Math.round(rate).toLocaleString('en')} rows/s`;
