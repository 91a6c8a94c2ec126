// One class, one table. The HTTP status, the exit code, what is retryable and what the caller may
// conclude about the write all come from this table; docs/errors.md is generated from it.
// Codes are never renamed and never used again for something else.

/** Whether the write that failed is in the journal: the one thing a refusal must say. */
export type Outcome = 'not written' | 'written' | 'unknown';

/**
 * caller: fix the call. operating: wait or repair something outside. fatal: corruption or a bug.
 */
type ErrorKind = 'caller' | 'operating' | 'fatal';

export interface ErrorRow {
  readonly kind: ErrorKind;
  /** HTTP status. */
  readonly status: number;
  /** Exit code of the command line. */
  readonly exit: number;
  readonly retryable: boolean;
  readonly outcome: Outcome;
  /** What it means, one sentence. */
  readonly meaning: string;
  /** What to do about it, one sentence. */
  readonly action: string;
}

const row = (
  kind: ErrorKind,
  [status, exit, retryable]: readonly [number, number, boolean],
  [outcome, meaning, action]: readonly [Outcome, string, string],
): ErrorRow => ({ kind, status, exit, retryable, outcome, meaning, action });

// Exit codes: 0 fine, 1 the answer is "no" (verify found differences), 2 usage, 3 input refused,
// 4 operating failure, 5 held by another process, 6 corruption, 70 the journal failed (sysexits).
const no = 'not written' as const;
export const errorTable = {
  HF_USAGE: row(
    'caller',
    [400, 2, false],
    [no, 'An option, argument or call is wrong.', 'Correct what the message names.'],
  ),
  HF_UNKNOWN_STREAM: row(
    'caller',
    [404, 2, false],
    [no, 'No stream of that name is configured.', 'Use a configured stream, or add it.'],
  ),
  HF_ROWS_REFUSED: row(
    'caller',
    [422, 3, false],
    [no, 'One or more rows do not fit the table.', 'Correct what `rejected` or the message names.'],
  ),
  HF_EMPTY: row(
    'caller',
    [400, 3, false],
    [no, 'The request holds no row.', 'Send at least one row.'],
  ),
  HF_BODY_CUT: row(
    'caller',
    [400, 3, true],
    [no, 'The body ended before its declared or compressed end.', 'Send the request again, whole.'],
  ),
  HF_TOO_LARGE: row(
    'caller',
    [413, 3, false],
    [no, 'The request is larger than one group can hold.', 'Send less at once, or use `load`.'],
  ),
  HF_MEDIA_TYPE: row(
    'caller',
    [415, 2, false],
    [no, 'The content type or encoding is not one that is read here.', 'See /openapi.json.'],
  ),
  HF_KEY_REUSED: row(
    'caller',
    [409, 2, false],
    [no, 'The Idempotency-Key was used with another body.', 'Use a new key for a new request.'],
  ),
  HF_LOAD_MOVED: row(
    'caller',
    [409, 4, true],
    [
      no,
      'The load stands at another byte than the one from which these were sent.',
      'Begin the load again; it says where to go on.',
    ],
  ),
  HF_LOAD_CHANGED: row(
    'caller',
    [409, 3, false],
    [
      'written',
      'The input does not begin with what the load took of it before; that stays written.',
      'Load the input that it was begun with, or give the new one its own size and digest.',
    ],
  ),
  HF_UNAUTHORIZED: row(
    'caller',
    [401, 2, false],
    [no, 'No valid token was given.', 'Send `Authorization: Bearer TOKEN`.'],
  ),
  HF_FORBIDDEN: row(
    'caller',
    [403, 2, false],
    [no, 'The token has no right to this.', 'Use a token with that right.'],
  ),
  HF_NOT_FOUND: row(
    'caller',
    [404, 2, false],
    [no, 'There is no such thing here.', 'Check the name or the id.'],
  ),
  HF_TABLE_UNFIT: row(
    'caller',
    [409, 4, false],
    [no, 'The table cannot be written as the stream asks.', 'Change the table or the stream.'],
  ),
  HF_OVERLOADED: row(
    'operating',
    [429, 4, true],
    [
      no,
      'A bound on memory, keys or requests was reached.',
      'Wait as Retry-After says, then send again.',
    ],
  ),
  HF_JOURNAL_FULL: row(
    'operating',
    [507, 4, true],
    [
      no,
      'The journal has reached its bound or the disk is full.',
      'Free disk space, or bring the target back.',
    ],
  ),
  HF_DRAINING: row(
    'operating',
    [503, 4, true],
    [no, 'This process is shutting down.', 'Send again to the process that follows.'],
  ),
  HF_TIMEOUT: row(
    'operating',
    [408, 4, true],
    [no, 'The request did not arrive in time.', 'Send again, faster.'],
  ),
  HF_ABORTED: row(
    'operating',
    [499, 4, true],
    ['unknown', 'The caller gave up waiting.', 'Send again with the same key; it is not doubled.'],
  ),
  HF_NOT_SETTLED: row(
    'operating',
    [504, 4, true],
    [
      'written',
      'The rows are on disk; the level asked for was not reached in time.',
      'Ask for the receipt later.',
    ],
  ),
  HF_JOURNAL_LOCKED: row(
    'operating',
    [503, 5, false],
    [no, 'Another process owns the journal.', 'Stop that process, or open another directory.'],
  ),
  HF_TARGET: row(
    'operating',
    [503, 4, true],
    [no, 'The target refused or could not be reached.', 'Repair what the message names.'],
  ),
  HF_ARCHIVE: row(
    'operating',
    [500, 4, true],
    [
      no,
      'An archive could not be written whole; no row of its day was dropped.',
      'Mend what the message names, then start the same command again.',
    ],
  ),
  HF_JOURNAL_FAILED: row(
    'fatal',
    [503, 70, true],
    [
      'unknown',
      'A write or sync of the journal failed; nothing is acknowledged any more.',
      'Check the disk, restart, send again with the same key.',
    ],
  ),
  HF_CORRUPT: row(
    'fatal',
    [500, 6, false],
    [
      'unknown',
      'The journal holds bytes that a crash cannot explain.',
      'Run `holdfast journal check`, then `salvage`.',
    ],
  ),
  HF_BUG: row(
    'fatal',
    [500, 70, false],
    ['unknown', 'Holdfast broke one of its own rules.', 'Report it with the message.'],
  ),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

export const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorTable, code);

/** Where a row was refused, and why. Lines count from 1; `offset` is the byte within the line. */
export interface Rejection {
  readonly line: number;
  /** The table's column, or null where the line as a whole cannot be read. */
  readonly column: string | null;
  readonly code: RowCode;
  readonly message: string;
  readonly offset?: number;
}

export interface ErrorDetails {
  readonly rejected?: readonly Rejection[];
  readonly retryAfterSeconds?: number;
  readonly outcome?: Outcome;
  readonly cause?: unknown;
}

/** The only error class that Holdfast throws on purpose. The message never holds row contents. */
export class HoldfastError extends Error {
  override readonly name = 'HoldfastError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly outcome: Outcome;
  readonly rejected: readonly Rejection[] | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    const known = errorTable[code];
    this.code = code;
    this.retryable = known.retryable;
    this.outcome = details.outcome ?? known.outcome;
    this.rejected = details.rejected;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** Why one row was refused at accept, or became a dead letter. */
export const rowCodes = {
  'bad-json': 'The line is not one JSON object.',
  'bad-csv': 'The line is not CSV with the expected number of fields.',
  'bad-utf8': 'The bytes are not UTF-8.',
  'too-deep': 'JSON is nested deeper than the limit.',
  'line-too-long': 'The line is longer than the limit.',
  'cut-off': 'The input ends in the middle of this line.',
  'duplicate-name': 'The object names a column twice.',
  'unknown-column': 'The table has no such column.',
  'missing-column': 'A column without a default is absent.',
  'null-not-allowed': 'The column is NOT NULL.',
  'zero-not-allowed': 'The stream demands a value other than zero here.',
  'wrong-type': 'The value is not of the type of the column.',
  'out-of-range': 'The value does not fit the range of the column.',
  'too-long': 'The value is longer than the column.',
  'row-too-large': 'The row is larger than the server takes at once (max_allowed_packet).',
  'nul-byte': 'Text cannot hold the NUL character.',
  inexact: 'The column would change the value.',
  'key-conflict': 'Another row has this key and other content.',
  refused: 'The server refused the row.',
  swallowed: 'The server took the row and did not store it.',
} as const;

export type RowCode = keyof typeof rowCodes;
