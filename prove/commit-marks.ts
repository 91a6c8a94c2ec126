// The statements of a batch, found by listening to one that nothing disturbs: so that none can be
// forgotten. A mark is a statement's shape, without its names and numbers, and which of those of
// the same shape is meant.
import type { Turn } from '../test/support/turns.ts';

export interface Mark {
  readonly shape: string;
  /** From 1. */
  readonly nth: number;
  /** For people. */
  readonly name: string;
}

const begins = /^\s*(?:BEGIN|START TRANSACTION|DROP TEMPORARY TABLE)/;
const commits = /^\s*COMMIT/;

export const isCommit = ({ shape }: Mark): boolean => commits.test(shape);

const purposes: readonly (readonly [RegExp, string])[] = [
  [commits, 'COMMIT'],
  [/^rows of|COPY|LOAD DATA/, 'rows'],
  [/_dead_letters/, 'dead letters'],
  [/_ledger/, 'ledger'],
  [/_guard|FOR UPDATE|BEGIN|START TRANSACTION/, 'guard'],
  [/UPDATE \S*(?:_lanes|_merges)/, 'lanes'],
];

/** What a statement is for, in a word. */
export const purposeOf = ({ shape }: Mark): string =>
  purposes.find(([pattern]) => pattern.test(shape))?.[1] ?? 'merge';

/** All that stands for a world's own names, for keys, digests and positions is left out. */
function shapeOf({ text, isRows }: Turn): string {
  const shape = text
    .replaceAll(/'(?:[^']|'')*'/g, "''")
    .replaceAll(/X''|0x[0-9a-f]+|[0-9a-f]{12,}|\d+/gi, '#')
    .replaceAll(/#(?:, ?#)+/g, '#')
    .replaceAll(/\s+/g, ' ')
    .trim();
  return isRows ? `rows of ${shape}` : shape;
}

/** The last statement of a script says most of what it is for. */
function nameOf(shape: string, nth: number): string {
  const last = shape
    .split(';')
    .map((statement) => statement.trim())
    .findLast((statement) => statement !== '');
  const rows = shape.startsWith('rows of ') && !last?.startsWith('rows of ') ? 'rows of ' : '';
  const which = nth === 1 ? '' : ` (${nth})`;
  return `${rows}${(last ?? '').slice(0, 48).trim()}${which}`;
}

/** Hears a batch's turns; those of the transactions that write it are its statements. */
export class Listener {
  readonly #open = new Map<number, Turn[]>();
  readonly #all: Turn[][] = [];

  hear(turn: Turn): void {
    const { connection, text } = turn;
    let transaction = this.#open.get(connection);
    if (!transaction) {
      if (!begins.test(text)) return;
      transaction = [];
      this.#open.set(connection, transaction);
      this.#all.push(transaction);
    }
    transaction.push(turn);
    if (commits.test(text)) this.#open.delete(connection);
  }

  /** Without transactions that are no batch's: those of the upkeep of staging tables. */
  marks(): Mark[] {
    const counts = new Map<string, number>();
    return this.#all
      .filter((turns) => turns.some(({ text, isRows }) => isRows || text.includes('_ledger')))
      .flat()
      .map((turn) => {
        const shape = shapeOf(turn);
        const nth = (counts.get(shape) ?? 0) + 1;
        counts.set(shape, nth);
        return { shape, nth, name: nameOf(shape, nth) };
      });
  }
}

/** Recognises a mark's turn among those that come from now on. */
export function finder(mark: Mark): (turn: Turn) => boolean {
  let seen = 0;
  return (turn) => {
    if (shapeOf(turn) === mark.shape) seen++;
    return seen === mark.nth;
  };
}
