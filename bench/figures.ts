// What a bench reports: figures with their runs, and the two ways to print them.
import type { Machine } from './machine.ts';

/** One round of one figure. `of` is what the reference gave in the same round. */
export interface Run {
  readonly value: number;
  readonly of?: number;
  /** Share of all cores' time that went to other processes meanwhile, 0 to 1. */
  readonly others: number;
}

/**
 * What an acknowledged row survives. 'memory': nothing, it is in the memory of the process that
 * acknowledged. 'server': the end of that process, not of the machine: it is in the page cache.
 * 'disk': both, it is synced.
 */
export type Acknowledges = 'memory' | 'server' | 'disk';

/** What bench peers says of each besides its rate. */
export interface Acknowledgement {
  /** Milliseconds. */
  readonly ackP50: number;
  readonly ackP99: number;
  readonly acknowledges: Acknowledges;
  /** Rows, by kills. */
  readonly lost: number;
  readonly doubled: number;
}

/** Medians over the runs; `ratio` = value / of. */
export interface Figure extends Partial<Acknowledgement> {
  readonly value: number;
  readonly unit: string;
  readonly of?: number;
  readonly ratio?: number;
  /** How many of the runs others took part in: those say more about them than about us. */
  readonly disturbed: number;
  readonly runs: readonly Run[];
}

export type Figures = { readonly [name: string]: Figure };

/** How much a bench does. 'tiny' is for tests: its figures say nothing about speed. */
export type Size = 'tiny' | 'usual' | 'full';

export interface BenchOptions {
  /** For progress; goes to stderr. */
  readonly say: (text: string) => void;
  readonly size: Size;
  /** By performance.now(): no round is begun that would probably end later. */
  readonly endBy: number;
  /** Whether what needs a JVM is wanted too. */
  readonly jvm?: boolean;
  /** Where to leave CPU profiles of the product; it runs slower with them. */
  readonly profileTo?: string;
}

export type Bench = (options: BenchOptions) => Promise<Figures>;

/** Above this share of others a run counts as disturbed (HOTPATH: quiet is 4 %). */
const quietShareMax = 0.04;

export const isQuiet = ({ others }: { readonly others: number }): boolean =>
  others <= quietShareMax;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** The value that a share of all values does not pass, 0 < share < 1. */
export const quantile = (values: ArrayLike<number>, share: number): number =>
  Float64Array.from(values).sort()[Math.ceil(values.length * share) - 1] ?? Number.NaN;

/** Four significant digits: more are noise. */
const rounded = (value: number): number => Number(value.toPrecision(4));

export function figureOf(unit: string, runs: readonly Run[]): Figure {
  const value = median(runs.map((run) => run.value));
  const references = runs.flatMap((run) => (run.of === undefined ? [] : [run.of]));
  const shown = runs.map((run) => ({
    value: rounded(run.value),
    ...(run.of === undefined ? {} : { of: rounded(run.of) }),
    others: Number(run.others.toFixed(3)),
  }));
  const disturbed = runs.filter((run) => !isQuiet(run)).length;
  const whole = { value: rounded(value), unit, disturbed, runs: shown };
  if (references.length === 0) return whole;
  const of = median(references);
  return { ...whole, of: rounded(of), ratio: Number((value / of).toFixed(3)) };
}

const spread = (values: readonly number[]): string =>
  `${text(Math.min(...values))} to ${text(Math.max(...values))}`;

const text = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : String(rounded(value));

const acknowledgementHead = ['ack p50, ms', 'p99', 'ack is on', 'lost', 'doubled'];

const acknowledgementCells = (figure: Figure): string[] =>
  [figure.ackP50, figure.ackP99, figure.acknowledges, figure.lost, figure.doubled].map((cell) =>
    typeof cell === 'number' ? text(cell) : (cell ?? ''),
  );

/** A table for people: medians, their spread, and how much others disturbed. */
export function printTable(name: string, machine: Machine, figures: Figures): string {
  const isOfPeers = Object.values(figures).some(({ acknowledges }) => acknowledges !== undefined);
  const rows = Object.entries(figures).map(([label, figure]) => {
    const { value, unit, of, ratio, disturbed, runs } = figure;
    return [
      label,
      text(value),
      unit,
      spread(runs.map((run) => run.value)),
      of === undefined ? '' : text(of),
      ratio === undefined ? '' : ratio.toFixed(2),
      ...(isOfPeers ? acknowledgementCells(figure) : []),
      `${runs.length}${disturbed > 0 ? `, ${disturbed} disturbed` : ''}`,
      runs.map((run) => `${Math.round(run.others * 100)}`).join(' '),
    ];
  });
  const head = [
    'figure',
    'median',
    'unit',
    'spread',
    'of',
    'ratio',
    ...(isOfPeers ? acknowledgementHead : []),
    'rounds',
    'others, % of cores',
  ];
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) => row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
  const { cpu, cores, memoryGiB, kernel, node } = machine;
  const where = `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}, Node ${node}`;
  return [`bench ${name} on ${where}`, ...lines.map((line) => line.trimEnd()), ''].join('\n');
}
