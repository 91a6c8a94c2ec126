// What each SQLite result code means for a batch: one table, from which docs/errors.md is
// generated too. An extended code that does not stand here counts as its primary code; a code
// that stands here neither way holds the stream; it never drops a row. Names:
// https://www.sqlite.org/rescode.html
import { TargetError, type TargetErrorKind } from '../target.ts';

export interface SqliteCode {
  readonly code: number;
  readonly name: string;
  readonly kind: TargetErrorKind;
  readonly why: string;
}

const group = (
  kind: TargetErrorKind,
  why: string,
  names: { readonly [name: string]: number },
): SqliteCode[] => Object.entries(names).map(([name, code]) => ({ code, name, kind, why }));

export const sqliteCodes: readonly SqliteCode[] = [
  ...group('transient', 'another connection is in the way; the same again can succeed', {
    SQLITE_BUSY: 5,
    SQLITE_BUSY_RECOVERY: 261,
    SQLITE_BUSY_SNAPSHOT: 517,
    SQLITE_BUSY_TIMEOUT: 773,
    SQLITE_LOCKED: 6,
    SQLITE_LOCKED_SHAREDCACHE: 262,
    SQLITE_PROTOCOL: 15,
    SQLITE_SCHEMA: 17,
  }),
  ...group('transient', 'the process is short of something that comes back', {
    SQLITE_NOMEM: 7,
    SQLITE_INTERRUPT: 9,
  }),
  ...group('lost', 'the file was moved away under the connection; open the one that is there', {
    SQLITE_READONLY_DBMOVED: 1032,
  }),
  ...group('conflict', 'a unique key is there already', {
    SQLITE_CONSTRAINT_PRIMARYKEY: 1555,
    SQLITE_CONSTRAINT_UNIQUE: 2067,
    SQLITE_CONSTRAINT_ROWID: 2579,
  }),
  ...group('row', 'the value is refused, whatever comes before or after it', {
    SQLITE_CONSTRAINT: 19,
    SQLITE_CONSTRAINT_CHECK: 275,
    SQLITE_CONSTRAINT_FOREIGNKEY: 787,
    SQLITE_CONSTRAINT_FUNCTION: 1043,
    SQLITE_CONSTRAINT_NOTNULL: 1299,
    SQLITE_CONSTRAINT_TRIGGER: 1811,
    SQLITE_CONSTRAINT_DATATYPE: 3091,
    SQLITE_TOOBIG: 18,
    SQLITE_MISMATCH: 20,
  }),
  ...group('hold', 'an administrator must make room or repair', {
    SQLITE_FULL: 13,
    SQLITE_IOERR: 10,
    SQLITE_CORRUPT: 11,
    SQLITE_NOTADB: 26,
    SQLITE_READONLY: 8,
    SQLITE_CANTOPEN: 14,
    SQLITE_PERM: 3,
    SQLITE_AUTH: 23,
    SQLITE_NOLFS: 22,
  }),
  ...group('hold', 'the table is not what the stream expects, or the statement is wrong', {
    SQLITE_ERROR: 1,
    SQLITE_INTERNAL: 2,
    SQLITE_ABORT: 4,
    SQLITE_MISUSE: 21,
    SQLITE_RANGE: 25,
  }),
];

const byCode = new Map(sqliteCodes.map((known) => [known.code, known]));
const primaryOf = (code: number): number => code & 0xff;

/** The result code of an error that node:sqlite threw; undefined for any other error. */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error)) return undefined;
  return typeof error.errcode === 'number' ? error.errcode : undefined;
}

export const classify = (code: number): TargetErrorKind =>
  (byCode.get(code) ?? byCode.get(primaryOf(code)))?.kind ?? 'hold';

/** The name of a code, or its number where it has none here. */
export const codeName = (code: number): string =>
  (byCode.get(code) ?? byCode.get(primaryOf(code)))?.name ?? String(code);

/** Whether the disk itself failed: after that a COMMIT may or may not come back with the file. */
export const isDiskFailure = (code: number): boolean => primaryOf(code) === 10;

/** Anything thrown by a connection, as a TargetError. Errors of our own making pass unchanged. */
export function toTargetError(error: unknown): unknown {
  const code = resultCode(error);
  if (code !== undefined && error instanceof Error) {
    return new TargetError(classify(code), codeName(code), error.message, error);
  }
  const isClosed = error instanceof Error && 'code' in error && error.code === 'ERR_INVALID_STATE';
  return isClosed ? new TargetError('lost', '', 'The connection is closed.', error) : error;
}
