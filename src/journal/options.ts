// What a journal is opened with, and what it tells.
import type { Metrics } from '../metrics.ts';
import type { Position } from './block.ts';
import type { RetentionOptions } from './retention.ts';
import type { ScanEvents } from './scan-state.ts';

export interface JournalOptions extends RetentionOptions {
  readonly metrics: Metrics;
  readonly pid: number;
}

/** What goes on beside the reading of a journal, before anything in it is changed. */
export interface RecoveryHooks extends Pick<ScanEvents, 'onRequests' | 'isKnown'> {
  /**
   * Hears the number of the last group, -1 where there is no segment; throws what speaks against
   * it.
   */
  readonly check?: (group: number) => void;
}

export interface JournalEvents {
  /** After every sync: which streams got records, and up to where the journal is durable. */
  readonly onSynced: (streams: ReadonlySet<number>, end: Position) => void;
  /**
   * Before a segment is dropped: what it alone knows must be durable elsewhere when this returns.
   */
  readonly beforeDrop: () => void;
}
