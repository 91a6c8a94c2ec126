// The statements of a batch, found by listening to one that nothing disturbs: so that none can be
// forgotten. A mark is a statement's shape as it is sent, without its names and numbers, on the
// route of its batch, and which of those of the same shape is meant.
//
// A statement is what goes to the server at once. BEGIN, the table's lock and the guard are one
// message in both targets (with the COPY behind them in PostgreSQL), so nothing can be cut apart
// there; where its answer is cut in half, BEGIN is answered and what follows is not.
import type { Turn } from '../test/support/turns.ts';

/** The ways of a batch: each is undone as a whole, and tried row by row where rows are refused. */
export const routes = [
  'direct',
  'direct, row by row',
  'staging',
  'merge',
  'merge, row by row',
] as const;
type Route = (typeof routes)[number];

export interface Mark {
  readonly route: Route;
  readonly shape: string;
  /** From 1. */
  readonly nth: number;
  /** For people. */
  readonly name: string;
}

const begins = /^\s*(?:BEGIN|START TRANSACTION|DROP TEMPORARY TABLE)/;
const commits = /^\s*COMMIT/;
/** From the one behind the first, or from the second on, rows are brought one by one. */
const undone = /^\s*ROLLBACK\s*$/;
const isolates = /holdfast_(?:raw|rows)_|^\s*ROLLBACK TO SAVEPOINT holdfast_merge/;

export const isCommit = ({ shape }: Pick<Mark, 'shape'>): boolean => commits.test(shape);

const isRowByRow = ({ route }: Mark): boolean => route.endsWith(', row by row');

/** The statement that a mark is one of. */
export const statementOf = ({ route, shape }: Mark): string => `${route}: ${shape}`;

/**
 * All that stands for a world's own names, for keys, digests and positions is left out, and how
 * many rows or lanes a statement lists.
 */
function shapeOf({ text, isRows }: Turn): string {
  const shape = text
    .replaceAll(/'(?:[^']|'')*'/g, "''")
    .replaceAll(/X''|0x[0-9a-f]+|[0-9a-f]{12,}|\d+/gi, '#')
    .replaceAll(/#(?:, ?#)+/g, '#')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/VALUES \(.*/g, 'VALUES …')
    .replaceAll(/(?: UNION ALL SELECT [^)]*)+\)/g, ' …)')
    .trim();
  return isRows ? `rows of ${shape}` : shape;
}

/** The last statement of a script says most of what it is for, the first how it comes to it. */
function nameOf(shape: string, nth: number): string {
  const statements = shape
    .split(';')
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');
  const [first = '', last = first] = [statements[0], statements.at(-1)];
  const before = statements.length > 1 ? `${first.slice(0, 24).trim()} … ` : '';
  const which = nth === 1 ? '' : ` (${nth})`;
  return `${before}${last.slice(0, 48).trim()}${which}`;
}

/** Rows that are brought one by one stand in temporary tables first. */
interface Heard {
  readonly turn: Turn;
  readonly isRowByRow: boolean;
}

/** What each connection says from the beginning of a transaction to its COMMIT. */
class Transactions {
  readonly #open = new Map<number, Heard[]>();
  readonly all: Heard[][] = [];

  /** Undefined where the turn belongs to none. */
  hear(turn: Turn): Heard | undefined {
    const { connection, text } = turn;
    let transaction = this.#open.get(connection);
    if (!transaction) {
      if (!begins.test(text)) return undefined;
      transaction = [];
      this.#open.set(connection, transaction);
      this.all.push(transaction);
    }
    const before = transaction.at(-1);
    const wasUndone = before !== undefined && undone.test(before.turn.text);
    const isRowByRow = before?.isRowByRow === true || wasUndone || isolates.test(text);
    const heard = { turn, isRowByRow };
    transaction.push(heard);
    if (commits.test(text)) this.#open.delete(connection);
    return heard;
  }
}

function wayOf(transaction: readonly Heard[]): 'direct' | 'staging' | 'merge' {
  const has = (word: string): boolean => transaction.some(({ turn }) => turn.text.includes(word));
  if (has('holdfast_claims')) return 'merge';
  return has('holdfast_stage') ? 'staging' : 'direct';
}

function routeOf(way: ReturnType<typeof wayOf>, { isRowByRow: isOneByOne }: Heard): Route {
  return isOneByOne && way !== 'staging' ? `${way}, row by row` : way;
}

/** Counts statements of a shape, one by one and all at once apart. */
class Counts {
  readonly #counts = new Map<string, number>();

  /** From 1. */
  next({ turn, isRowByRow }: Heard): { readonly shape: string; readonly nth: number } {
    const shape = shapeOf(turn);
    const key = `${isRowByRow} ${shape}`;
    const nth = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, nth);
    return { shape, nth };
  }
}

/** Hears a batch's turns; those of the transactions that write it are its statements. */
export class Listener {
  readonly #transactions = new Transactions();

  hear(turn: Turn): void {
    this.#transactions.hear(turn);
  }

  /** Without transactions that are no batch's: those of the upkeep of staging tables. */
  marks(): Mark[] {
    const counts = new Counts();
    return this.#transactions.all
      .filter((all) => all.some(({ turn }) => turn.isRows || turn.text.includes('_ledger')))
      .flatMap((transaction) => {
        const way = wayOf(transaction);
        return transaction.map((heard): Mark => {
          const { shape, nth } = counts.next(heard);
          const route = routeOf(way, heard);
          return { route, shape, nth, name: nameOf(shape, nth) };
        });
      });
  }
}

/** Recognises a mark's turn among those of transactions that begin from now on. */
export function finder(mark: Mark): (turn: Turn) => boolean {
  const transactions = new Transactions();
  const counts = new Counts();
  return (turn) => {
    const heard = transactions.hear(turn);
    if (!heard || heard.isRowByRow !== isRowByRow(mark)) return false;
    const { shape, nth } = counts.next(heard);
    return shape === mark.shape && nth === mark.nth;
  };
}
