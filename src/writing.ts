// One write: look its key up, decode, refuse or take, journal, wait for the level asked for.
import { type Decoded, decodeBytes, rowsRefused } from './accept/decode.ts';
import { RowBuffer } from './accept/row-buffer.ts';
import type { Row } from './accept/rows.ts';
import { SpareRows } from './accept/spare-rows.ts';
import type { Admission } from './admission.ts';
import { HoldfastError, type Rejection } from './errors.ts';
import type { RequestKeep } from './journal/group.ts';
import type { RequestNote } from './journal/notes.ts';
import type { KeptRequest, Requests } from './journal/requests.ts';
import type { EndCounts } from './merge/ledger.ts';
import { countUp, type Metrics } from './metrics.ts';
import { digestOfBytes, digestOfRows } from './request-digest.ts';
import type { OpenStream, Taken } from './stream.ts';
import type { Level, Receipt, WriteBytesOptions, WriteOptions } from './types.ts';

export interface WritingParts {
  readonly requests: Requests;
  readonly admission: Admission;
  readonly metrics: Metrics;
  receiptId(request: number): string;
}

/** A receipt whose waits can be given up. */
export interface WaitingReceipt extends Receipt {
  /** Rejects with HF_NOT_SETTLED when `signal` aborts first; nothing is left of the wait then. */
  reached(level: 'settled' | 'confirmed', signal?: AbortSignal): Promise<EndCounts>;
}

/** Decodes, or throws what refuses the whole request. */
type Take = () => Taken & { readonly rejected?: readonly Rejection[] };

interface Request {
  readonly take: Take;
  readonly keep?: RequestKeep;
}

type Noted = Pick<KeptRequest, 'id' | 'rows' | 'ranges' | 'rejected' | 'counts'>;

/** What tells a keyed request from others: see request-digest.ts. */
export interface KeyedBy {
  readonly key: string;
  readonly digest: string;
}

/** Rows that were decoded for a table: its id in the dictionary. */
export type DecodedFor = Decoded & { readonly table: number };

export class Writing {
  readonly #parts: WritingParts;
  readonly #spares = new SpareRows();
  /** Keyed requests that are being journaled: a twin waits for the answer of the first (P20). */
  readonly #inFlight = new Map<string, Promise<RequestNote>>();

  /** Keys whose group was being written when the journal failed: only recovery can tell. */
  readonly #unknown = new Map<string, HoldfastError>();

  readonly #onRefused = (code: string, count: number): void => {
    countUp(this.#parts.metrics.rejected, code, count);
  };

  constructor(parts: WritingParts) {
    this.#parts = parts;
  }

  async rows(
    stream: OpenStream,
    rows: readonly Row[],
    options: WriteOptions,
  ): Promise<WaitingReceipt> {
    const take = (): Taken => {
      const buffer = new RowBuffer(rows.length === 1 ? 512 : rows.length * 96, rows.length);
      const { rejected } = stream.reader.objects(rows, buffer);
      if (rejected.length > 0) throw rowsRefused(rejected, this.#onRefused);
      return { rows: buffer, table: stream.tableId, undecoded: [] };
    };
    const { idempotencyKey: key } = options;
    if (key === undefined)
      return this.#answer(stream, await this.#journal(stream, { take }, options), options);
    const digest = digestOfRows(rows);
    // At once, because the rows are the caller's; whether they fit says nothing of what is known.
    const taken = attempt(take);
    return this.#keyed(stream, { key, digest, take: taken }, options);
  }

  async bytes(
    stream: OpenStream,
    bytes: Uint8Array,
    options: WriteBytesOptions,
  ): Promise<WaitingReceipt> {
    const { idempotencyKey: key } = options;
    // Who has to wait before they are decoded copies them: they are the caller's again.
    const waits = key !== undefined && this.#inFlight.has(nameOf(stream, key));
    const own = waits ? new Uint8Array(bytes) : bytes;
    const take = (): DecodedFor => {
      const { reader, tableId: table } = stream;
      const how = { ...options, onRefused: this.#onRefused, spares: this.#spares };
      return { ...decodeBytes(reader, own, how), table };
    };
    if (key === undefined) return this.#unkeyed(stream, take, options);
    return this.#keyed(stream, { key, digest: digestOfBytes(bytes, options), take }, options);
  }

  /** The same where the bytes were decoded elsewhere. */
  async decoded(
    stream: OpenStream,
    { key, digest, ...taken }: DecodedFor & Partial<KeyedBy>,
    options: WriteOptions,
  ): Promise<WaitingReceipt> {
    const take = (): DecodedFor => taken;
    if (key === undefined || digest === undefined) return this.#unkeyed(stream, take, options);
    return this.#keyed(stream, { key, digest, take }, options);
  }

  /** The answer to a keyed request that was sent before; undefined where it is the first. */
  async known(
    stream: OpenStream,
    by: KeyedBy,
    options: WriteOptions,
  ): Promise<WaitingReceipt | undefined> {
    const name = nameOf(stream, by.key);
    while (this.#inFlight.has(name)) await this.#twin(name);
    const note = this.#lookUp(stream, by);
    return note && this.#answer(stream, note, { ...options, isRepeated: true });
  }

  async #unkeyed(
    stream: OpenStream,
    take: () => DecodedFor,
    options: WriteOptions,
  ): Promise<WaitingReceipt> {
    const note = await this.#journal(stream, { take, keep: {} }, options);
    return this.#answer(stream, note, options);
  }

  /** Waits for the same request, which is being journaled. */
  async #twin(name: string): Promise<void> {
    await this.#inFlight.get(name)?.catch(unlessUnknown);
  }

  /** What is known of a request; throws where nobody can tell. */
  #lookUp(stream: OpenStream, { key, digest }: KeyedBy): Noted | undefined {
    const unknown = this.#unknown.get(nameOf(stream, key));
    if (unknown) throw unknown;
    const note = this.#parts.requests.byKey(stream.id, key);
    if (note && note.digest !== digest) {
      throw new HoldfastError('HF_KEY_REUSED', 'The Idempotency-Key was used with other rows.');
    }
    return note;
  }

  async #keyed(
    stream: OpenStream,
    request: KeyedBy & { readonly take: Take },
    options: WriteOptions,
  ): Promise<WaitingReceipt> {
    const { requests } = this.#parts;
    const { key, digest } = request;
    const name = nameOf(stream, key);
    // The first one comes to its rows at once: they are the caller's again when this returns. One
    // that was refused leaves the key free: then one of those that waited is the first.
    while (this.#inFlight.has(name)) await this.#twin(name);
    // From here on nothing may come between, until the key is in flight.
    const known = this.#lookUp(stream, request);
    if (known) return this.#answer(stream, known, { ...options, isRepeated: true });
    if (requests.isFull) {
      const message = 'No further Idempotency-Key can be remembered now.';
      throw new HoldfastError('HF_OVERLOADED', message, { retryAfterSeconds: 60 });
    }
    const journaled = this.#journal(stream, { take: request.take, keep: { key, digest } }, options);
    this.#inFlight.set(name, journaled);
    let note: RequestNote;
    try {
      note = await journaled;
    } catch (error) {
      if (isUnknown(error)) this.#unknown.set(name, error);
      throw error;
    } finally {
      this.#inFlight.delete(name);
    }
    return this.#answer(stream, note, options);
  }

  async #journal(
    stream: OpenStream,
    { take, keep }: Request,
    { signal, atBound }: WriteOptions,
  ): Promise<RequestNote> {
    const { admission } = this.#parts;
    const taken = take();
    const rejected = taken.rejected ?? [];
    const kept = keep && rejected.length > 0 ? { ...keep, rejected } : keep;
    const run = (): Promise<RequestNote> => stream.journal(taken, kept);
    try {
      if (atBound !== 'refuse') {
        return await admission.waiting(stream, taken.rows.length, { signal, run });
      }
      const refusal = admission.refusal(stream, taken.rows.length);
      if (refusal) throw refusal;
      return await run();
    } finally {
      // Journaled, or refused: the rows stand in the group, or nowhere.
      this.#spares.give(taken.rows);
    }
  }

  async #answer(
    stream: OpenStream,
    note: Noted,
    options: WriteOptions & { readonly isRepeated?: boolean },
  ): Promise<WaitingReceipt> {
    const { level = 'journaled', signal, isRepeated = false } = options;
    const { pending } = stream;
    let settled: Promise<EndCounts> | undefined;
    const counts = (): Promise<EndCounts> => {
      settled ??= pending.settled(note);
      return settled;
    };
    const receipt: WaitingReceipt = {
      id: this.#parts.receiptId(note.id),
      stream: stream.name,
      accepted: note.rows,
      rejected: note.rejected ?? [],
      repeated: isRepeated,
      get settled() {
        return counts();
      },
      get confirmed() {
        return pending.confirmed(note.ranges).then(counts);
      },
      reached: (wanted, until) => pending.reached(note, wanted, until),
    };
    if (level !== 'journaled') await receipt.reached(level, signal);
    return receipt;
  }
}

const nameOf = (stream: OpenStream, key: string): string => `${stream.id} ${key}`;

/** Does it now, and says later what came of it. */
function attempt<T>(work: () => T): () => T {
  try {
    const done = work();
    return () => done;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

const isUnknown = (error: unknown): error is HoldfastError =>
  error instanceof HoldfastError && error.outcome === 'unknown';

function unlessUnknown(error: unknown): undefined {
  if (isUnknown(error)) throw error;
}

export const levelOf = (stream: OpenStream, request: Pick<KeptRequest, 'ranges'>): Level => {
  if (stream.pending.isConfirmed(request.ranges)) return 'confirmed';
  return stream.pending.isSettled(request.ranges) ? 'settled' : 'journaled';
};
