// The public door. Everything else is private to the package and may change.
export type { CsvOptions, Row, Value } from './accept/rows.ts';
export {
  type ErrorCode,
  HoldfastError,
  type Outcome,
  type Rejection,
  type RowCode,
} from './errors.ts';
export { open } from './holdfast.ts';
export type { OnConflict } from './merge/batch.ts';
export type { EndCounts } from './merge/ledger.ts';
export type { Histogram, Metrics } from './metrics.ts';
export type {
  Confirm,
  JournalOptions,
  OpenOptions,
  ServerOptions,
  StreamOptions,
  TokenOptions,
} from './options.ts';
export type { DeadLetter, DeadLetterState } from './target/target.ts';
export type {
  DeadLetters,
  Difference,
  Format,
  Holdfast,
  Invalid,
  Level,
  LoadOptions,
  LoadResult,
  LoadState,
  Receipt,
  ReceiptState,
  Status,
  StreamStatus,
  VerifyResult,
  WriteBytesOptions,
  WriteOptions,
} from './types.ts';
