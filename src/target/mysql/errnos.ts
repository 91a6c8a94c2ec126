// What each error number of MariaDB and MySQL means for a batch: one table, from which
// docs/errors.md is generated too. Numbers from 1900 on are not shared by the two: those rows name
// their vendor. A number that does not stand here holds the stream; it never drops a row. Names:
// https://mariadb.com/kb/en/mariadb-error-code-reference/
// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
import type { TargetErrorKind } from '../target.ts';

export type Vendor = 'MariaDB' | 'MySQL';

export interface Errno {
  readonly errno: number;
  readonly name: string;
  readonly kind: TargetErrorKind;
  readonly why: string;
  /** Absent: both. */
  readonly vendor?: Vendor;
}

const group = (
  [kind, vendor]: readonly [TargetErrorKind, Vendor?],
  why: string,
  names: { readonly [name: string]: number },
): Errno[] =>
  Object.entries(names).map(([name, errno]) => ({
    errno,
    name,
    kind,
    why,
    ...(vendor && { vendor }),
  }));

const again = 'the transaction was rolled back; the same again can succeed';
const ended = 'the server ends the connection';
const value = 'the value is refused, whatever comes before or after it';
const table = 'the table is not what the stream expects, or the statement is wrong';
const room = 'an administrator must make room or repair';

export const errnos: readonly Errno[] = [
  ...group(['transient'], again, {
    ER_LOCK_DEADLOCK: 1213,
    ER_LOCK_WAIT_TIMEOUT: 1205,
    ER_CHECKREAD: 1020,
    ER_QUERY_INTERRUPTED: 1317,
    ER_TABLE_DEF_CHANGED: 1412,
    ER_NEED_REPREPARE: 1615,
    ER_TOO_MANY_CONCURRENT_TRXS: 1637,
  }),
  ...group(['transient', 'MariaDB'], again, { ER_STATEMENT_TIMEOUT: 1969 }),
  ...group(['transient', 'MySQL'], again, {
    ER_TRANSACTION_ROLLBACK_DURING_COMMIT: 3101,
    ER_QUERY_TIMEOUT: 3024,
    ER_LOCK_NOWAIT: 3572,
  }),
  ...group(['transient'], 'the server is short of something that comes back', {
    ER_CON_COUNT_ERROR: 1040,
    ER_TOO_MANY_USER_CONNECTIONS: 1203,
    ER_USER_LIMIT_REACHED: 1226,
    ER_OUTOFMEMORY: 1037,
    ER_OUT_OF_RESOURCES: 1041,
    ER_LOCK_TABLE_FULL: 1206,
  }),
  ...group(['lost'], ended, {
    ER_SERVER_SHUTDOWN: 1053,
    ER_NET_READ_ERROR: 1158,
    ER_NET_READ_INTERRUPTED: 1159,
    ER_NET_ERROR_ON_WRITE: 1160,
    ER_NET_WRITE_INTERRUPTED: 1161,
    ER_NET_PACKET_TOO_LARGE: 1153,
    ER_UNKNOWN_COM_ERROR: 1047,
    ER_NEW_ABORTING_CONNECTION: 1184,
  }),
  ...group(['lost', 'MariaDB'], ended, { ER_CONNECTION_KILLED: 1927 }),
  ...group(['lost', 'MySQL'], ended, { ER_CLIENT_INTERACTION_TIMEOUT: 4031 }),
  ...group(['readonly'], 'this server takes no writes; another one may', {
    ER_OPTION_PREVENTS_STATEMENT: 1290,
    ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION: 1792,
    ER_READ_ONLY_MODE: 1836,
    ER_OPEN_AS_READONLY: 1036,
  }),
  ...group(['readonly', 'MySQL'], 'this server takes no writes; another one may', {
    ER_INNODB_READ_ONLY: 1874,
  }),
  ...group(['conflict'], 'a unique key is there already', {
    ER_DUP_ENTRY: 1062,
    ER_DUP_ENTRY_WITH_KEY_NAME: 1586,
    ER_DUP_UNKNOWN_IN_INDEX: 1859,
  }),
  ...group(['row'], value, {
    ER_BAD_NULL_ERROR: 1048,
    ER_WRONG_VALUE_COUNT_ON_ROW: 1136,
    ER_TOO_BIG_ROWSIZE: 1118,
    ER_WARN_DATA_OUT_OF_RANGE: 1264,
    WARN_DATA_TRUNCATED: 1265,
    ER_TRUNCATED_WRONG_VALUE: 1292,
    ER_INVALID_CHARACTER_STRING: 1300,
    ER_WARN_ALLOWED_PACKET_OVERFLOWED: 1301,
    ER_NO_DEFAULT_FOR_FIELD: 1364,
    ER_DIVISION_BY_ZERO: 1365,
    ER_TRUNCATED_WRONG_VALUE_FOR_FIELD: 1366,
    ER_ILLEGAL_VALUE_FOR_TYPE: 1367,
    ER_VIEW_CHECK_FAILED: 1369,
    ER_DATA_TOO_LONG: 1406,
    ER_CANT_CREATE_GEOMETRY_OBJECT: 1416,
    ER_DATETIME_FUNCTION_OVERFLOW: 1441,
    ER_NO_REFERENCED_ROW: 1216,
    ER_ROW_IS_REFERENCED: 1217,
    ER_ROW_IS_REFERENCED_2: 1451,
    ER_NO_REFERENCED_ROW_2: 1452,
    ER_FOREIGN_DUPLICATE_KEY: 1557,
    ER_NO_PARTITION_FOR_GIVEN_VALUE: 1526,
    ER_SIGNAL_EXCEPTION: 1644,
    ER_DATA_OUT_OF_RANGE: 1690,
    ER_ROW_DOES_NOT_MATCH_GIVEN_PARTITION_SET: 1748,
    ER_INDEX_COLUMN_TOO_LONG: 1709,
  }),
  ...group(['row', 'MariaDB'], value, {
    ER_CONSTRAINT_FAILED: 4025,
    ER_JSON_SYNTAX: 4038,
  }),
  ...group(['row', 'MySQL'], value, {
    ER_CHECK_CONSTRAINT_VIOLATED: 3819,
    ER_INVALID_JSON_TEXT: 3140,
    ER_INVALID_JSON_CHARSET: 3144,
    ER_JSON_DOCUMENT_TOO_DEEP: 3157,
    ER_FUNCTIONAL_INDEX_DATA_IS_TOO_LONG: 3907,
  }),
  ...group(['row'], 'LOAD DATA LOCAL was switched off: the next rung inserts', {
    ER_NOT_ALLOWED_COMMAND: 1148,
  }),
  ...group(['row', 'MariaDB'], 'LOAD DATA LOCAL was switched off: the next rung inserts', {
    ER_LOAD_INFILE_CAPABILITY_DISABLED: 4166,
  }),
  ...group(['row', 'MySQL'], 'LOAD DATA LOCAL was switched off: the next rung inserts', {
    ER_CLIENT_LOCAL_FILES_DISABLED: 3948,
  }),
  ...group(['hold'], 'ids are used up: the column must be made wider', {
    HA_ERR_AUTOINC_ERANGE: 167,
    ER_AUTOINC_READ_FAILED: 1467,
  }),
  ...group(['hold'], room, {
    ER_DISK_FULL: 1021,
    ER_RECORD_FILE_FULL: 1114,
    ER_ERROR_ON_WRITE: 1026,
    ER_GET_ERRNO: 1030,
    ER_CRASHED_ON_USAGE: 1194,
    ER_BINLOG_LOGGING_IMPOSSIBLE: 1598,
    ER_HOST_IS_BLOCKED: 1129,
    ER_NO_SUCH_THREAD: 1094,
  }),
  ...group(['hold'], 'the connection or a right must be set up', {
    ER_DBACCESS_DENIED_ERROR: 1044,
    ER_ACCESS_DENIED_ERROR: 1045,
    ER_NO_DB_ERROR: 1046,
    ER_BAD_DB_ERROR: 1049,
    ER_HOST_NOT_PRIVILEGED: 1130,
    ER_TABLEACCESS_DENIED_ERROR: 1142,
    ER_COLUMNACCESS_DENIED_ERROR: 1143,
    ER_NOT_SUPPORTED_AUTH_MODE: 1251,
    ER_SPECIFIC_ACCESS_DENIED_ERROR: 1227,
  }),
  ...group(['hold'], table, {
    ER_PARSE_ERROR: 1064,
    ER_BAD_FIELD_ERROR: 1054,
    ER_NO_SUCH_TABLE: 1146,
    ER_NON_UPDATABLE_TABLE: 1288,
    ER_INVALID_DEFAULT: 1067,
    ER_TABLE_NOT_LOCKED: 1100,
  }),
  ...group(['ambiguous'], 'COMMIT itself failed: the lanes say what became of it', {
    ER_ERROR_DURING_COMMIT: 1180,
  }),
];

const known = new Map(errnos.map((row) => [`${row.vendor ?? ''}${row.errno}`, row]));

const find = (vendor: Vendor, errno: number): Errno | undefined =>
  known.get(String(errno)) ?? known.get(`${vendor}${errno}`);

export const classify = (vendor: Vendor, errno: number): TargetErrorKind =>
  find(vendor, errno)?.kind ?? 'hold';

/** The name of an error number, or the number where it has none here. */
export const errnoName = (vendor: Vendor, errno: number): string =>
  find(vendor, errno)?.name ?? String(errno);

/** In answer to COMMIT these do not say whether it was done: the statement was broken off. */
const brokenOff: ReadonlySet<number> = new Set([1317, 1969, 3024]);

/**
 * Whether an error in answer to COMMIT says that all was rolled back. One that holds does not: the
 * log or the storage engine failed in the middle of it, or the number is unknown here.
 */
export function isRolledBack(vendor: Vendor, errno: number): boolean {
  const kind = classify(vendor, errno);
  return kind !== 'hold' && kind !== 'ambiguous' && !brokenOff.has(errno);
}
