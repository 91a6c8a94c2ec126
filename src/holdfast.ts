// READ FIRST. Opens everything, runs the path in order, drains and closes.
//
//   accept (streams.ts, stream.ts, writing.ts, load.ts)
//   → journal (journal/)
//   → merge (merge/, on the loader thread, threads/)
//   → confirm (confirm.ts)
//
// What the loaders tell comes back as events (streams.ts) and moves the watermarks (watermarks.ts);
// whoever waits compares with those.
import { hostname } from 'node:os';
import process from 'node:process';
import { AcceptDesk, type Readable, readableOf } from './accept-desk.ts';
import { Admission } from './admission.ts';
import { type Clock, systemClock } from './clock.ts';
import { ContentionHistory } from './contention.ts';
import { deadLetterDesk } from './dead-letters.ts';
import { type Disk, systemDisk } from './disk.ts';
import { HoldfastError } from './errors.ts';
import { diskFailure } from './journal/disk-failure.ts';
import type { Journal } from './journal/journal.ts';
import type { Requests } from './journal/requests.ts';
import { limits } from './limits.ts';
import { Loads } from './load.ts';
import { Loading, type LoadingCalls } from './merge/loading.ts';
import { type Metrics, newMetrics } from './metrics.ts';
import { openJournal } from './open-journal.ts';
import { type OpenOptions, type Options, readOptions } from './options.ts';
import { streamStatus } from './status.ts';
import { Streams } from './streams.ts';
import { openTarget, redactUrl } from './target/open.ts';
import type { LaneState, Target } from './target/target.ts';
import { remoteLoading, startLoaderThread } from './threads/remote-loading.ts';
import type { Difference, Holdfast, Status, VerifyResult } from './types.ts';
import { keepUp } from './upkeep.ts';
import { within } from './waiting.ts';
import { levelOf, type WaitingReceipt, Writing } from './writing.ts';

/** What a simulator puts in the place of the real thing. */
export interface Ports {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Given: the loaders run on this thread, against this target. */
  readonly target?: Target;
  /** Given, too: they run on that thread. */
  readonly startLoader?: typeof startLoaderThread;
  /** Given by a simulator, whose worlds must not depend on the process that they are run in. */
  readonly pid?: number;
}

/** What is open, and what only threads of its own process are given. */
export interface Opened extends Holdfast {
  writeBytes(...args: Parameters<Holdfast['writeBytes']>): Promise<WaitingReceipt>;
  readonly desk: AcceptDesk;
  /** Hears of each stream whose table was read anew and is another one. */
  onReadable(listen: (readable: Readable) => void): void;
  /** A thread of this process has died: it must leave. */
  fail(error: Error): void;
}

const systemPorts: Ports = { disk: systemDisk, clock: systemClock };
const statusMsMax = 1_000;

interface Parts {
  readonly options: Options;
  readonly ports: Ports;
  readonly journal: Journal;
  readonly requests: Requests;
  readonly streams: Streams;
  readonly loading: LoadingCalls;
  readonly metrics: Metrics;
  readonly contention: ContentionHistory;
  readonly failed: Promise<Error>;
  /** Makes `failed` resolve. */
  readonly tellDeath: (error: unknown) => void;
}

/**
 * Opens the journal and the streams. When it resolves, every stream takes rows; a target whose
 * tables were seen before may be down. Rejects with HF_USAGE, HF_JOURNAL_LOCKED, HF_CORRUPT,
 * HF_JOURNAL_FULL, HF_JOURNAL_FAILED (its disk refused), HF_TABLE_UNFIT, or HF_TARGET where a table
 * was never seen and cannot be read.
 */
export async function open(given: OpenOptions, ports: Ports = systemPorts): Promise<Opened> {
  const options = readOptions(given);
  const metrics = newMetrics();
  // Connects to nothing yet; an address that cannot be read is refused before the journal is held.
  const target =
    ports.target ??
    (await openTarget(options.target, { clock: ports.clock, positions: isStandby(options) }));
  const { journal, requests } = await openJournal(options, ports, metrics);
  const streams = new Streams({
    options,
    clock: ports.clock,
    journal,
    requests,
    metrics,
    capabilities: target.capabilities,
  });
  let tellDeath: (error: unknown) => void = () => undefined;
  const died = new Promise<Error>((resolve) => {
    tellDeath = (error) => resolve(toError(diskFailure(error)));
  });
  const loading = startLoading({ options, ports, journal, streams, target, tellDeath });
  const failed = Promise.race([journal.failed, died]);
  const whole = new OpenHoldfast({
    options,
    ports,
    journal,
    requests,
    streams,
    loading,
    metrics,
    contention: new ContentionHistory(),
    failed,
    tellDeath,
  });
  try {
    await streams.open(loading);
  } catch (error) {
    await whole.close({ drainMs: 0 });
    throw error;
  }
  return whole;
}

interface LoadingStart {
  readonly options: Options;
  readonly ports: Ports;
  readonly journal: Journal;
  readonly streams: Streams;
  readonly target: Target;
  readonly tellDeath: (error: unknown) => void;
}

/** Whether commits must tell their positions in the target's log. */
const isStandby = ({ confirm }: Options): boolean => confirm === 'standby';

/** On a thread of its own, or on this one where asked for or simulated. */
function startLoading(start: LoadingStart): LoadingCalls {
  const { options, ports, journal, streams, target, tellDeath } = start;
  const shared = {
    directory: options.journal,
    writer: journal.writer,
    owner: `${hostname()} ${ports.pid ?? process.pid} ${ports.clock.wallMs()}`,
    createTables: options.createTables,
  };
  const { startLoader = startLoaderThread } = ports;
  if ((ports.target && !ports.startLoader) || options.loaderThread === 'own') {
    const { disk, clock } = ports;
    const own = { disk, clock, target, events: streams.events(), onDeath: tellDeath };
    return new Loading({ ...shared, ...own });
  }
  const thread = startLoader({ ...shared, target: options.target, positions: isStandby(options) });
  return remoteLoading(thread, streams.events(), tellDeath);
}

class OpenHoldfast implements Opened {
  readonly metrics: Metrics;
  readonly failed: Promise<Error>;
  readonly deadLetters: Holdfast['deadLetters'];
  readonly desk: AcceptDesk;
  readonly #parts: Parts;
  readonly #writing: Writing;
  readonly #loads: Loads;
  readonly #stop = new AbortController();
  readonly #upkeep: Promise<void>;
  #state: Status['state'] = 'running';
  #closing: Promise<void> | undefined;
  /** The soonest that any call of `close` asked for. */
  #drainedBy = Number.POSITIVE_INFINITY;

  constructor(parts: Parts) {
    const { journal, requests, metrics, options, ports, streams, loading } = parts;
    this.#parts = parts;
    this.metrics = metrics;
    this.failed = parts.failed;
    this.deadLetters = deadLetterDesk(loading, streams);
    const { memoryBytesMax, streamShareMax } = options.limits;
    const streamBytesMax = journal.segments.bytesMax * streamShareMax;
    const admission = new Admission(journal, ports.clock, { memoryBytesMax, streamBytesMax });
    const receiptId = (request: number): string => `${journal.writer}-${request.toString(36)}`;
    this.#writing = new Writing({ requests, admission, metrics, receiptId });
    this.#loads = new Loads({
      clock: ports.clock,
      requests,
      closing: this.#stop.signal,
      journal: (stream, taken, { keep, signal }) =>
        admission.waiting(stream, taken.rows.length, {
          signal,
          run: () => stream.journal(taken, keep),
        }),
    });
    this.desk = new AcceptDesk({
      writing: this.#writing,
      metrics,
      streams: () => streams.all,
      open: (name) => this.#open(name),
      find: (receipt) => this.#find(receipt),
    });
    this.#upkeep = keepUp(parts, ports.clock, this.#stop.signal).catch(parts.tellDeath);
    void this.failed.then(() => {
      if (this.#state !== 'closed') this.#state = 'failed';
    });
  }

  async write(...[name, rows, options = {}]: Parameters<Holdfast['write']>) {
    const stream = this.#open(name);
    return this.#writing.rows(stream, isMany(rows) ? rows : [rows], options);
  }

  async writeBytes(...[name, bytes, options]: Parameters<Holdfast['writeBytes']>) {
    return this.#writing.bytes(this.#open(name), bytes, options);
  }

  async beginLoad(...[name, options]: Parameters<Holdfast['beginLoad']>) {
    return this.#loads.begin(this.#open(name), options);
  }

  async continueLoad(...[load, input, options]: Parameters<Holdfast['continueLoad']>) {
    return this.#loads.run({ ...load, stream: this.#open(load.stream), options }, input);
  }

  reportedLoad(load: string): void {
    this.#loads.reported(load);
  }

  async load(...[name, input, options]: Parameters<Holdfast['load']>) {
    return this.#loads.whole(this.#open(name), input, options);
  }

  async receipt(id: string) {
    const found = this.#find(id);
    if (!found) return undefined;
    const { request, stream } = found;
    const level = levelOf(stream, request);
    const state = { receipt: id, stream: stream.name, accepted: request.rows, level };
    if (level === 'journaled') return state;
    const { clock } = this.#parts.ports;
    // Where the target has to be asked and does not answer, it is not waited for.
    const counts = await within(clock, statusMsMax, stream.pending.settled(request));
    return counts ? { ...state, counts } : state;
  }

  onReadable(listen: (readable: Readable) => void): void {
    this.#parts.streams.onReadable = (stream) => listen(readableOf(stream));
  }

  fail(error: Error): void {
    this.#parts.tellDeath(error);
  }

  health(): Omit<Status, 'streams'> {
    const { journal, options, streams, contention } = this.#parts;
    const { segments } = journal;
    return {
      state: this.#state,
      writer: journal.writer,
      pid: process.pid,
      journal: {
        directory: options.journal,
        segments: segments.list.length,
        bytes: segments.bytes,
        bytesMax: segments.bytesMax,
        full: segments.shortage !== undefined,
        syncingMs: journal.syncingMs,
      },
      target: {
        url: redactUrl(options.target),
        reachable: streams.isReachable,
        ...(contention.window ? { contention: contention.window } : {}),
      },
    };
  }

  async status(): Promise<Status> {
    const { streams, ports } = this.#parts;
    const { all } = streams;
    const lanes = await this.#lanes(all.map(({ name }) => name));
    const now = ports.clock.monotonicMs();
    const books = all.map((own, i) => [own.name, streamStatus(own, lanes?.[i], now)] as const);
    const health = this.health();
    const target = { ...health.target, reachable: lanes !== undefined };
    return { ...health, target, streams: Object.fromEntries(books) };
  }

  async verify(...[given = {}]: Parameters<Holdfast['verify']>): Promise<VerifyResult> {
    const { journal, loading, streams } = this.#parts;
    const chosen = given.stream === undefined ? streams.all : [streams.get(given.stream)];
    const differences: Difference[] = [];
    const notCheckable: VerifyResult['notCheckable'][number][] = [];
    let checked = 0;
    journal.retention.pins++;
    try {
      for (const [i, stream] of chosen.entries()) {
        const found = await loading.verify(stream.id, journal.end);
        checked += found.checked;
        differences.push(...found.differences);
        notCheckable.push(...found.notCheckable);
        given.onProgress?.((i + 1) / chosen.length);
      }
    } finally {
      journal.retention.pins--;
    }
    return { ok: differences.length === 0, checked, differences, notCheckable };
  }

  async passOver(...[name, options = {}]: Parameters<Holdfast['passOver']>) {
    const { journal, loading, requests } = this.#parts;
    const stream = this.#open(name);
    // What is read of the target first must still be there when the journal is looked through.
    journal.retention.pins++;
    try {
      const seen = await loading.passOver(stream.name);
      if (options.dryRun === true) return seen;
      // First: who asks meanwhile is told too little rather than what is not true any more.
      requests.lost(stream.id, seen);
      return await loading.passOver(stream.name, seen);
    } finally {
      journal.retention.pins--;
    }
  }

  close(...[{ drainMs = limits.drainMsMax } = {}]: Parameters<Holdfast['close']>): Promise<void> {
    const drainedBy = this.#parts.ports.clock.monotonicMs() + drainMs;
    this.#drainedBy = Math.min(this.#drainedBy, drainedBy);
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { streams, loading, ports } = this.#parts;
    if (this.#state === 'running') this.#state = 'draining';
    loading.hurry();
    const isDrained = (): boolean => streams.all.every(({ isDrained }) => isDrained);
    const isOver = (): boolean => ports.clock.monotonicMs() >= this.#drainedBy || isDrained();
    while (!isOver() && this.#state === 'draining') await ports.clock.sleep(5);
    this.#stop.abort();
    await this.#upkeep;
    try {
      await loading.stop();
    } finally {
      streams.stop();
      await this.#letGo();
    }
  }

  async #letGo(): Promise<void> {
    const { journal, requests } = this.#parts;
    try {
      requests.close();
    } catch (error) {
      throw diskFailure(error);
    } finally {
      await journal.close();
    }
    this.#state = this.#state === 'failed' ? 'failed' : 'closed';
  }

  #open(name: string) {
    if (this.#state === 'draining' || this.#state === 'closed') {
      throw new HoldfastError('HF_DRAINING', 'Holdfast is shutting down; nothing was written.');
    }
    if (this.#state === 'failed' && this.#parts.journal.state === 'running') {
      // The loaders died; the journal is sound, but nobody will merge here any more.
      const message = 'This process has failed and is leaving; nothing was written.';
      throw new HoldfastError('HF_JOURNAL_FAILED', message, { outcome: 'not written' });
    }
    return this.#parts.streams.get(name);
  }

  /** The request that a receipt is for. */
  #find(receipt: string) {
    const { journal, requests, streams } = this.#parts;
    const prefix = `${journal.writer}-`;
    const number = receipt.startsWith(prefix)
      ? Number.parseInt(receipt.slice(prefix.length), 36)
      : Number.NaN;
    if (!Number.isSafeInteger(number)) return undefined;
    const request = requests.byId(number);
    const stream = request && streams.byId(request.stream);
    return stream && { request, stream };
  }

  /** The target's own totals of these streams, or undefined where it does not answer soon. */
  async #lanes(names: readonly string[]): Promise<LaneState[][] | undefined> {
    const { loading, ports, streams } = this.#parts;
    const read = loading.lanes(names).catch((error: unknown) => {
      if (error instanceof HoldfastError && error.code === 'HF_TARGET') return undefined;
      throw error;
    });
    const lanes = await within(ports.clock, statusMsMax, read);
    streams.isReachable = lanes !== undefined;
    return lanes;
  }
}

const toError = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown));

const isMany = <T>(rows: T | readonly T[]): rows is readonly T[] => Array.isArray(rows);
