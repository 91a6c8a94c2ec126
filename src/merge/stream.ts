// What a stream's loaders must know, and what they tell. Plain values: they cross a thread.
import assert from 'node:assert/strict';
import type { Table } from '../accept/columns.ts';
import type { Confirm } from '../options.ts';
import type { LaneState, Route } from '../target/target.ts';
import { type MergeRules, rowEnd } from './batch.ts';
import { decodeEnds, type LedgerRow } from './ledger.ts';

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
  readonly route: Route;
  /** Whether staged rows survive a crash of the server by themselves. */
  readonly staging: 'logged' | 'unlogged';
  readonly mergers: number;
  readonly mergeEveryMs: number;
  readonly mergeRows: number;
  readonly stagingRetentionMs: number;
  readonly confirm: Confirm;
  /** What the journal knew at open: the last sequence per lane (P4). */
  readonly last: readonly number[];
}

/** A stream's records that found their ends: what the ledger has of them. */
export type Settled = Pick<LedgerRow, 'lane' | 'first' | 'last' | 'rowCount' | 'ends'>;

export const bare = ({ lane, first, last, rowCount, ends }: LedgerRow): Settled => {
  const own = { lane, first, last, rowCount, ends };
  assert(!ends || decodeEnds(own).some((end) => end !== rowEnd.merged), 'ends say something');
  return own;
};

export interface LoadingEvents {
  /** The table was read (again); the stream's lanes are ours. */
  onTable(stream: number, table: Table): void;
  /** The lanes as the target has them: at claim, and wherever they went back or ahead. */
  onLanes(stream: number, lanes: readonly LaneState[]): void;
  /** Staged up to here, per lane; less than before where staged rows were lost. */
  onStaged(stream: number, lanes: readonly { lane: number; last: number }[]): void;
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
