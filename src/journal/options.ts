// What a journal is opened with, and what it tells.
import type { Metrics } from '../metrics.ts';
import type { Position } from './block.ts';
import type { RetentionOptions } from './retention.ts';

export interface JournalOptions extends RetentionOptions {
  readonly metrics: Metrics;
  readonly pid: number;
}

export interface JournalEvents {
  /** After every sync: which streams got records, and up to where the journal is durable. */
  readonly onSynced: (streams: ReadonlySet<number>, end: Position) => void;
  /**
   * Before a segment is dropped: what it alone knows must be durable elsewhere when this returns.
   */
  readonly beforeDrop: () => void;
}
