// Options: shapes, defaults, and every rule between them. All problems are reported at once, at open.
// (Filled in by the options work; the shapes below are what the rest relies on.)
import type { OnConflict } from './merge/batch.ts';

export interface StreamOptions {
  readonly table: string;
  /** Columns of a unique index over NOT NULL columns. Left out: the table has no unique key. */
  readonly key?: readonly string[];
  /** Column whose hash chooses the lane; only where order does not matter (P9). */
  readonly lane?: string;
  readonly lanes?: number;
  readonly onConflict?: OnConflict;
  readonly nonZero?: readonly string[];
  readonly inexact?: 'refuse' | 'round';
  readonly loaders?: number;
  readonly batchRowsMax?: number;
}

export type Confirm = 'commit' | 'standby' | { readonly afterMs: number };

export interface TokenOptions {
  readonly token: string;
  /** Streams that it may write and read; absent: all. */
  readonly streams?: readonly string[];
  /** 'write', 'read', 'operate' (dead letters, verify); absent: all. */
  readonly rights?: readonly ('write' | 'read' | 'operate')[];
}

export interface ServerOptions {
  readonly host?: string;
  readonly port?: number;
  readonly tokens?: readonly TokenOptions[];
  /** Paths of PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly bodyBytesMax?: number;
  readonly requestMsMax?: number;
  readonly connectionsMax?: number;
}

export interface JournalOptions {
  readonly bytesMax?: number;
  readonly memoryBytesMax?: number;
  readonly segmentBytes?: number;
  readonly retentionMsMin?: number;
  readonly retentionBytesMin?: number;
  readonly streamShareMax?: number;
}

export interface OpenOptions {
  /** Directory of the journal. */
  readonly journal: string;
  /** postgres://…, sqlite:PATH */
  readonly target: string;
  readonly streams: { readonly [name: string]: StreamOptions };
  readonly confirm?: Confirm;
  readonly createTables?: boolean;
  readonly limits?: JournalOptions;
  readonly server?: ServerOptions;
  /** Which thread the loaders run on; 'worker' by default. */
  readonly loaderThread?: 'worker' | 'own';
}
