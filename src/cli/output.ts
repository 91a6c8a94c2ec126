// What a command says and how it leaves. With --json: exactly one JSON object on stdout, also on
// failure; everything for people goes to stderr then.
import Table from 'cli-table3';
import { type ErrorCode, errorTable, HoldfastError } from '../errors.ts';
import { TargetError } from '../target/target.ts';

export interface Result {
  /** For --json: a value, or JSON text that must go out as it is. */
  readonly json: object | string;
  /** For people. */
  readonly text: string;
  /** 0 by default. */
  readonly exit?: number;
}

/** Resolves when it has left the process; a pipe takes it later than `write` returns. */
export const write = (text: string | Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });

export const print = (line: string): Promise<void> => write(`${line}\n`);

/** For people, always: stderr. */
export const say = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

export async function report(result: Result, isJson: boolean): Promise<void> {
  const { json, text, exit = 0 } = result;
  if (!isJson) await print(text);
  else await print(typeof json === 'string' ? json : JSON.stringify(json));
  process.exitCode = exit;
}

/** A failed command that still has something to report, as `load` its counts. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly error: HoldfastError;
  readonly counts: object;
  /** The object that --json prints was begun: it is open, behind a comma. */
  readonly isBegun: boolean;

  constructor(error: HoldfastError, counts: object, isBegun = false) {
    super(error.message, { cause: error });
    this.error = error;
    this.counts = counts;
    this.isBegun = isBegun;
  }
}

export async function reportFailure(error: unknown, isJson: boolean): Promise<void> {
  const known = toKnown(error instanceof Failure ? error.error : error);
  const { code, outcome, message, retryable, rejected } = known;
  const { counts, isBegun } = error instanceof Failure ? error : { counts: {}, isBegun: false };
  if (isJson) {
    const body = { code, outcome, message, retryable, ...(rejected && { rejected }), ...counts };
    await print(JSON.stringify(body).slice(isBegun ? 1 : 0));
  }
  say(`holdfast: ${message}`);
  for (const { line, column, code: why, message: text } of rejected?.slice(0, 20) ?? []) {
    say(`  line ${line}${column === null ? '' : `, ${column}`}: ${why}: ${text}`);
  }
  say(`${errorTable[code].action} (${code}, ${outcome})`);
  if (code === 'HF_BUG' && known.cause instanceof Error) say(known.cause.stack ?? '');
  process.exitCode = errorTable[code].exit;
}

function toKnown(error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const code: ErrorCode = error instanceof TargetError ? 'HF_TARGET' : 'HF_BUG';
  return new HoldfastError(code, message, { cause: error });
}

export const count = (n: number): string => n.toLocaleString('en-US');
export const plural = (n: number, word: string): string =>
  `${count(n)} ${word}${n === 1 ? '' : 's'}`;

/** A table for people; numbers stand right. */
export function tableOf(head: readonly string[], rows: readonly (readonly (string | number)[])[]) {
  const isNumber = (column: number) =>
    rows.length > 0 && rows.every((row) => typeof row[column] === 'number');
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, i) => (isNumber(i) ? 'right' : 'left')),
    style: { head: [], border: [], compact: true },
  });
  for (const row of rows) {
    table.push(row.map((cell) => (typeof cell === 'number' ? count(cell) : cell)));
  }
  return table.toString();
}

/** What each exit code of the error table stands for. */
export const exitMeanings: { readonly [exit: number]: string } = {
  0: 'all went well',
  1: 'the answer is no: verify found differences',
  2: 'the call is wrong: an option, a name, a token',
  3: 'the input was refused',
  4: 'something outside failed; mend it or wait, then try again',
  5: 'another process owns the journal',
  6: 'the journal is corrupt',
  70: 'a write to the journal failed, or a bug',
};

export const exitCodes = (): string => {
  const lines = Object.entries(exitMeanings).map(([exit, text]) => `${exit.padStart(4)}  ${text}`);
  return ['Exit codes:', ...lines].join('\n');
};
