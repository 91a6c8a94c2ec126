// What a stream's loaders must know, and what they tell. Plain values: they cross a thread.
import type { Table } from '../accept/columns.ts';
import type { Confirm } from '../options.ts';
import type { LaneState } from '../target/target.ts';
import type { MergeRules } from './batch.ts';
import type { LedgerRow } from './ledger.ts';

export interface StreamSettings {
  /** Its id in the journal's dictionary. */
  readonly id: number;
  readonly rules: MergeRules;
  readonly table: string;
  /** Lanes in all, the one of undecoded records included (it is the last). */
  readonly lanes: number;
  readonly loaders: number;
  readonly batchRowsMax: number;
  readonly batchBytesMax: number;
  readonly confirm: Confirm;
  /** What the journal knew at open: the last sequence per lane (P4). */
  readonly last: readonly number[];
}

/** A stream's records that found their ends: what the ledger has of them. */
export type Settled = Pick<LedgerRow, 'lane' | 'first' | 'last' | 'rowCount' | 'ends'>;

export interface LoadingEvents {
  /** The table was read (again); the stream's lanes are ours. */
  onTable(stream: number, table: Table): void;
  /** The lanes as the target has them: at claim, and wherever they went back or ahead. */
  onLanes(stream: number, lanes: readonly LaneState[]): void;
  onSettled(stream: number, settled: readonly Settled[]): void;
  /** Confirmed up to here, per lane. */
  onConfirmed(stream: number, lanes: readonly { lane: number; last: number }[]): void;
  onState(stream: number, state: StreamState): void;
  onRetry(code: string): void;
  onBatch(rows: number, seconds: number): void;
}

export interface StreamState {
  readonly state: 'connecting' | 'running' | 'held';
  readonly reason?: string;
  /** Only a person can decide how it goes on; until then nothing more is taken. */
  readonly isFinal?: true;
}
