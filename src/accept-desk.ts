// What accept workers (threads/) ask of the core beside what anyone may ask: the tables to decode
// for, and the writing of what they have decoded. Plain values only.
import type { Table } from './accept/columns.ts';
import type { RowRules } from './accept/rows.ts';
import { HoldfastError, type Rejection } from './errors.ts';
import type { KeptRequest } from './journal/requests.ts';
import type { EndCounts } from './merge/ledger.ts';
import { countUp, type Metrics } from './metrics.ts';
import type { OpenStream } from './stream.ts';
import type { Receipt } from './types.ts';
import type { DecodedFor, KeyedBy, Writing } from './writing.ts';

/** A stream as rows are decoded for it. */
export interface Readable {
  readonly stream: string;
  readonly table: Table;
  /** Its id in the dictionary. */
  readonly tableId: number;
  readonly rules: RowRules;
}

/** A receipt without its promises. */
export interface Accepted {
  readonly id: string;
  readonly accepted: number;
  readonly rejected: readonly Rejection[];
  readonly repeated: boolean;
}

export interface DeskParts {
  readonly writing: Writing;
  readonly metrics: Metrics;
  readonly streams: () => readonly OpenStream[];
  /** The stream of that name, where it takes rows. */
  readonly open: (name: string) => OpenStream;
  readonly find: (
    receipt: string,
  ) => { readonly request: KeptRequest; readonly stream: OpenStream } | undefined;
}

const bare = ({ id, accepted, rejected, repeated }: Receipt): Accepted => ({
  id,
  accepted,
  rejected,
  repeated,
});

export const readableOf = ({ name, reader, tableId }: OpenStream): Readable => ({
  stream: name,
  table: reader.table,
  tableId,
  rules: reader.rules,
});

export class AcceptDesk {
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
  }

  get readables(): Readable[] {
    return this.#parts.streams().map(readableOf);
  }

  /** See Holdfast.writeBytes, from its decoding on. */
  async write(name: string, decoded: DecodedFor & Partial<KeyedBy>): Promise<Accepted> {
    const stream = this.#parts.open(name);
    return bare(await this.#parts.writing.decoded(stream, decoded, { atBound: 'refuse' }));
  }

  /** What was answered to a keyed request that is sent again; undefined where it is not known. */
  async known(name: string, by: KeyedBy): Promise<Accepted | undefined> {
    const receipt = await this.#parts.writing.known(this.#parts.open(name), by, {});
    return receipt && bare(receipt);
  }

  /** Resolves when the rows of a receipt have reached the level. */
  async reached(
    receipt: string,
    level: 'settled' | 'confirmed',
    signal: AbortSignal,
  ): Promise<EndCounts> {
    const found = this.#parts.find(receipt);
    if (!found) throw new HoldfastError('HF_NOT_FOUND', 'There is no such receipt.');
    const { request, stream } = found;
    return stream.pending.reached(request, level, signal);
  }

  /** Rows that a worker has refused. */
  refused(code: string, count: number): void {
    countUp(this.#parts.metrics.rejected, code, count);
  }
}
