// What each SQLSTATE means for a batch: one table, from which docs/errors.md is generated too. A
// code that stands here neither whole nor by its class (its first two characters) holds the stream;
// it never drops a row. Names: https://www.postgresql.org/docs/18/errcodes-appendix.html
import type { TargetErrorKind } from '../target.ts';

export interface SqlState {
  /** Five characters, or two for the rest of a class. */
  readonly code: string;
  readonly name: string;
  readonly kind: TargetErrorKind;
  readonly why: string;
}

const group = (
  kind: TargetErrorKind,
  why: string,
  codes: { readonly [code: string]: string },
): SqlState[] => Object.entries(codes).map(([code, name]) => ({ code, name, kind, why }));

export const sqlStates: readonly SqlState[] = [
  ...group('moved', 'the guard: the lane is not where the batch begins', { HF001: 'lane_moved' }),
  ...group('fenced', 'the guard: another owner has raised the epoch', { HF002: 'fenced' }),
  ...group('altered', 'the guard: the columns or keys differ from the description', {
    HF003: 'altered',
  }),
  ...group('transient', 'the transaction was rolled back; the same again can succeed', {
    '40001': 'serialization_failure',
    '40P01': 'deadlock_detected',
    '55P03': 'lock_not_available',
    '55006': 'object_in_use',
    '57014': 'query_canceled',
    '26000': 'invalid_sql_statement_name',
    HF005: 'the guard: the day of a staged batch is over',
  }),
  ...group('transient', 'the server is short of something that comes back', {
    '53000': 'insufficient_resources',
    '53200': 'out_of_memory',
    '53300': 'too_many_connections',
    '53400': 'configuration_limit_exceeded',
    '57P03': 'cannot_connect_now',
  }),
  ...group('lost', 'the server ends the connection', {
    '08': 'connection_exception',
    '25P03': 'idle_in_transaction_session_timeout',
    '25P04': 'transaction_timeout',
    '57P01': 'admin_shutdown',
    '57P02': 'crash_shutdown',
    '57P05': 'idle_session_timeout',
    '40003': 'statement_completion_unknown',
  }),
  ...group('readonly', 'this server takes no writes; another one may', {
    '25006': 'read_only_sql_transaction',
  }),
  ...group('conflict', 'a unique key is there already', { '23505': 'unique_violation' }),
  ...group('row', 'the value is refused, whatever comes before or after it', {
    '22': 'data_exception',
    '23': 'integrity_constraint_violation',
    '44000': 'with_check_option_violation',
    P0001: 'raise_exception (a trigger)',
    P0002: 'no_data_found (a trigger)',
    P0003: 'too_many_rows (a trigger)',
    P0004: 'assert_failure (a trigger)',
    '54000': 'program_limit_exceeded (too large for an index)',
  }),
  ...group('hold', 'an administrator must make room or repair', {
    '53100': 'disk_full',
    '2200H': 'sequence_generator_limit_exceeded',
    '57P04': 'database_dropped',
    '58': 'system_error',
    XX: 'internal_error',
  }),
  ...group('hold', 'the connection or a right must be set up', {
    '28': 'invalid_authorization_specification',
    '28P01': 'invalid_password',
    '3D000': 'invalid_catalog_name',
    '3F000': 'invalid_schema_name',
    '42501': 'insufficient_privilege',
    '08P01': 'protocol_violation',
  }),
  ...group('hold', 'the table is not what the stream expects', {
    '42': 'syntax_error_or_access_rule_violation',
    HF004: 'the guard: a staged stream whose rules are others',
    '42P01': 'undefined_table',
    '42703': 'undefined_column',
    '42846': 'cannot_coerce',
    '0A000': 'feature_not_supported',
    '55000': 'object_not_in_prerequisite_state',
  }),
];

const kinds = new Map(sqlStates.map((state) => [state.code, state.kind]));

export const classify = (code: string): TargetErrorKind =>
  kinds.get(code) ?? kinds.get(code.slice(0, 2)) ?? 'hold';
