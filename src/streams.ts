// The streams of a process, and what the loaders' side tells about them. Opens each stream from
// the table that the journal remembers, or, the first time, from the target.
import type { Table } from './accept/columns.ts';
import type { Clock } from './clock.ts';
import { HoldfastError } from './errors.ts';
import type { Position } from './journal/block.ts';
import type { Journal } from './journal/journal.ts';
import type { Range } from './journal/notes.ts';
import type { Requests } from './journal/requests.ts';
import type { LoadingCalls } from './merge/loading.ts';
import type { LoadingEvents } from './merge/stream.ts';
import { countUp, type Metrics } from './metrics.ts';
import type { Options } from './options.ts';
import { OpenStream } from './stream.ts';
import type { Capabilities } from './target/target.ts';

export interface StreamsParts {
  readonly options: Options;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly requests: Requests;
  readonly metrics: Metrics;
  readonly capabilities: Capabilities;
}

/** How long `open` waits for a table that it has never seen. */
const firstTableMsMax = 10_000;
/** The same where the target answers, and refuses. */
const firstTableHeldMsMax = 1_000;
const retryMs = 250;

export class Streams {
  readonly #parts: StreamsParts;
  readonly #byName = new Map<string, OpenStream>();
  readonly #byId = new Map<number, OpenStream>();
  readonly #stop = new AbortController();
  #loading: LoadingCalls | undefined;
  isReachable = false;
  /** Hears of each stream whose rows are decoded otherwise from now on. */
  onReadable: (stream: OpenStream) => void = () => undefined;

  constructor(parts: StreamsParts) {
    this.#parts = parts;
  }

  /** What the loaders' side calls. */
  events(): LoadingEvents {
    const { metrics } = this.#parts;
    const on = (id: number, use: (stream: OpenStream) => void): void => {
      const stream = this.#byId.get(id);
      if (stream) use(stream);
    };
    return {
      onTable: (id, table) => on(id, (stream) => this.#onTable(stream, table)),
      onLanes: (id, lanes) =>
        on(id, (stream) => {
          if (stream.marks.adopt(lanes)) this.#parts.journal.unconfirm();
          stream.pending.onLanes(lanes);
        }),
      onStaged: (id, lanes) => on(id, (stream) => stream.marks.stage(lanes)),
      onSettled: (id, settled) =>
        on(id, (stream) => {
          stream.marks.settle(settled);
          stream.pending.onSettled(settled);
        }),
      onConfirmed: (id, lanes) =>
        on(id, (stream) => {
          stream.marks.confirm(lanes);
          stream.pending.onConfirmed();
          stream.trail.forget(stream.marks.sums().confirmed);
        }),
      onState: (id, state) =>
        on(id, (stream) => {
          stream.state = state;
          this.isReachable = state.state === 'running';
        }),
      onRetry: (code) => countUp(metrics.retries, code),
      onBatch: (rows, seconds) => {
        metrics.mergeBatchRows.observe(rows);
        metrics.mergeSeconds.observe(seconds);
      },
    };
  }

  /**
   * Opens all configured streams. Rejects where a table was never seen and cannot be read, or is
   * unfit.
   */
  async open(loading: LoadingCalls): Promise<void> {
    this.#loading = loading;
    const { journal, options } = this.#parts;
    journal.listen({
      onSynced: (streams, end) => this.#onSynced(streams, end),
      beforeDrop: () => this.#parts.requests.flush(),
    });
    journal.retention.isHeld = (id) => this.#byId.get(id)?.state.state !== 'running';
    for (const name of Object.keys(options.streams)) await this.#openOne(name, loading);
  }

  /** Nobody waits for the target any more. */
  stop(): void {
    this.#stop.abort();
    for (const { pending } of this.all) pending.end(closed());
  }

  get all(): readonly OpenStream[] {
    return [...this.#byName.values()];
  }

  get(name: string): OpenStream {
    const stream = this.#byName.get(name);
    if (stream) return stream;
    const known = [...this.#byName.keys()].join(', ');
    throw new HoldfastError('HF_UNKNOWN_STREAM', `No stream "${name}"; there are: ${known}.`);
  }

  byId(id: number): OpenStream | undefined {
    return this.#byId.get(id);
  }

  async #openOne(name: string, loading: LoadingCalls): Promise<void> {
    const { options, clock, journal, requests, capabilities } = this.#parts;
    const rules = options.streams[name];
    if (!rules) return;
    const known = journal.dictionary.streams.find((entry) => entry.name === name);
    const table =
      (known ? journal.dictionary.newestTable(known.id)?.table : undefined) ??
      (await this.#firstTable(rules.table, loading));
    const askLedger = (ranges: readonly Range[]) => this.#askLedger(loading, name, ranges);
    const stream = new OpenStream({ name, rules, clock, journal, requests, askLedger }, table);
    this.#byName.set(name, stream);
    this.#byId.set(stream.id, stream);
    loading.openStream(stream.settings(options.confirm, capabilities));
    loading.extend(journal.end, [stream.id]);
  }

  /**
   * Asks until the target answers: the records have their ends, they only have to be read. Where a
   * failover took the ends back, they come again.
   */
  async #askLedger(loading: LoadingCalls, stream: string, ranges: readonly Range[]) {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        return await loading.counts(stream, ranges);
      } catch (error) {
        const isKnown = error instanceof HoldfastError;
        if (!isKnown || !['HF_TARGET', 'HF_NOT_SETTLED'].includes(error.code)) throw error;
        await this.#parts.clock.sleep(retryMs, signal);
      }
    }
    throw closed();
  }

  async #firstTable(table: string, loading: LoadingCalls): Promise<Table> {
    const { clock } = this.#parts;
    const begunMs = clock.monotonicMs();
    for (;;) {
      try {
        return await loading.describe(table);
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'HF_TARGET') throw error;
        // Without a time after which to try again, a person must most likely repair something.
        const passes = error.retryAfterSeconds !== undefined;
        const msMax = passes ? firstTableMsMax : firstTableHeldMsMax;
        if (clock.monotonicMs() - begunMs > msMax) throw error;
        await clock.sleep(retryMs);
      }
    }
  }

  #onTable(stream: OpenStream, table: Table): void {
    try {
      if (stream.onTable(table)) this.onReadable(stream);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      // Rows go on being checked against the table as it was; the merge says what does not fit.
      stream.state = { state: 'held', reason: error.message };
    }
  }

  #onSynced(streams: ReadonlySet<number>, end: Position): void {
    this.#loading?.extend(end, [...streams]);
  }
}

const closed = (): HoldfastError =>
  new HoldfastError('HF_NOT_SETTLED', 'Holdfast was closed; the rows are on disk.');
