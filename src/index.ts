// The public door. Everything else is private to the package and may change.
import { open as openWhole } from './holdfast.ts';
import type { OpenOptions } from './options.ts';
import type { Holdfast } from './types.ts';

export type { CsvOptions, Row, Value } from './accept/rows.ts';
export {
  type ErrorCode,
  HoldfastError,
  type Outcome,
  type Rejection,
  type RowCode,
} from './errors.ts';
export type { OnConflict } from './merge/batch.ts';
export type { EndCounts } from './merge/ledger.ts';
export type { LostRange } from './merge/lost.ts';
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

/**
 * Opens the journal and the streams. When it resolves, every stream takes rows; a target whose
 * tables were seen before may be down. Rejects with HF_USAGE, HF_JOURNAL_LOCKED, HF_CORRUPT,
 * HF_JOURNAL_FULL, HF_JOURNAL_FAILED (its disk refused), HF_TABLE_UNFIT, or HF_TARGET where a table
 * was never seen and cannot be read.
 */
export const open: (options: OpenOptions) => Promise<Holdfast> = (options) => openWhole(options);
