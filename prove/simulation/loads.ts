// Senders of loads: each asks where its load stands and sends the rest, or does that wrong as its
// plan says. What is wrong must be refused for what it is, and what a load says of itself be true.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { errorTable, HoldfastError, type Outcome } from '../../src/errors.ts';
import type { Holdfast, LoadOptions, LoadResult, LoadState } from '../../src/types.ts';
import type { SimulatedClock } from '../../test/simulation/simulated-clock.ts';
import { Violation } from '../oracle.ts';
import type { RequestPlan } from './plan.ts';
import type { LoadPlan, Slip } from './slips.ts';

type LoadCalls = Pick<Holdfast, 'beginLoad' | 'continueLoad'>;

export interface SenderParts {
  readonly clock: SimulatedClock;
  readonly see: (what: string) => void;
  /** The process, for the next sender: any of its accept workers, where it has some. */
  readonly reach: () => Promise<LoadCalls> | LoadCalls;
  /** What is sent may be written until it is answered. */
  readonly track: <T>(answer: Promise<T>) => Promise<T>;
}

/** It was sent wrong, and refused as it had to be. */
export class Slipped extends Error {
  readonly outcome: Outcome;

  constructor(outcome: Outcome) {
    super('a load that was sent wrong is sent again');
    this.outcome = outcome;
  }
}

const asItShould: LoadPlan = { chunks: 1, pauseMs: 0, slips: [] };
const newline = 10;

/** One of a load's sendings. */
export class LoadSender {
  readonly #parts: SenderParts;
  readonly #request: RequestPlan;
  readonly #plan: LoadPlan;
  readonly #bytes: Buffer;
  readonly #options: LoadOptions;

  constructor(parts: SenderParts, request: RequestPlan, bytes: Buffer) {
    this.#parts = parts;
    this.#request = request;
    this.#plan = request.load ?? asItShould;
    this.#bytes = bytes;
    const digest = createHash('sha256').update(bytes).digest('hex');
    this.#options = { format: 'ndjson', source: { size: bytes.length, digest } };
  }

  /** The `tries`-th sending, from 0; whether some of it was known. Throws Slipped. */
  async send(tries: number): Promise<boolean> {
    const holdfast = await this.#parts.reach();
    let state: LoadState | undefined;
    try {
      state = this.#checked(await this.#begin(holdfast));
      if (state.result) return true;
      const slip = this.#plan.slips[tries];
      if (slip) await this.#slip(holdfast, state, slip);
      else await this.#continue(holdfast, state);
    } catch (error) {
      // What was sent before it began this time is not what it is refused for.
      if (isRefusal(error) && state?.offset !== 0) throw new Slipped('unknown');
      throw error;
    }
    this.#parts.see('loads');
    return state.offset > 0;
  }

  #begin(holdfast: LoadCalls): Promise<LoadState> {
    return holdfast.beginLoad(this.#request.stream, this.#options);
  }

  /** It stands at the end of a line, behind so many rows. */
  #checked(state: LoadState): LoadState {
    const { offset, accepted, result } = state;
    if (result) this.#checkResult(result);
    const lines = this.#bytes.subarray(0, offset).filter((byte) => byte === newline).length;
    const isAtLine = offset === 0 || this.#bytes[offset - 1] === newline;
    if (isAtLine && lines === accepted) return state;
    throw this.#wrong(`stands at byte ${offset}, behind ${lines} lines, with ${accepted} rows`);
  }

  /** From where it stands, or from elsewhere, up to `end` or all. */
  async #continue(
    holdfast: LoadCalls,
    state: LoadState,
    { end = this.#bytes.length, breaks = false } = {},
  ): Promise<void> {
    const bytes = this.#chunks(state.offset, end, breaks);
    const answer = holdfast.continueLoad(state, bytes, this.#options);
    this.#checkResult(await this.#parts.track(answer));
  }

  async *#chunks(start: number, end: number, breaks: boolean): AsyncGenerator<Uint8Array> {
    const { chunks, pauseMs } = this.#plan;
    const length = Math.ceil(this.#bytes.length / chunks);
    for (let at = start; at < end; at += length) {
      if (pauseMs > 0) await this.#parts.clock.sleep(pauseMs);
      yield this.#bytes.subarray(at, Math.min(at + length, end));
    }
    if (breaks) throw new HoldfastError('HF_BODY_CUT', 'The body ended before its declared end.');
  }

  #checkResult({ accepted, complete, ...ends }: LoadResult): void {
    const { length } = this.#request.rows;
    const { merged, duplicates, superseded, deadLetters } = ends;
    const settled = merged + duplicates + superseded + deadLetters;
    // Its table may not take a row of it now: it goes on there when it does.
    if (!complete && this.#request.rows.some(({ value }) => value)) throw new Slipped('unknown');
    if (complete && accepted === length && settled === length) return;
    throw this.#wrong(`of ${length} rows is done with ${accepted}, of which ${settled} have ends`);
  }

  async #slip(holdfast: LoadCalls, state: LoadState, slip: Slip): Promise<void> {
    if (slip.kind === 'elsewhere') return this.#elsewhere(holdfast, state, slip.share);
    if (slip.kind === 'cut') return this.#cut(holdfast, state, slip);
    return this.#both(holdfast, state, slip);
  }

  async #elsewhere(holdfast: LoadCalls, state: LoadState, share: number): Promise<void> {
    const offset = Math.floor(this.#bytes.length * share);
    const isWrong = offset !== state.offset && state.offset < this.#bytes.length;
    if (!isWrong) return this.#continue(holdfast, state);
    const side = offset < state.offset ? 'before' : 'beyond';
    const what = `loads sent from ${side} where they stand`;
    await this.#refused(what, 'HF_LOAD_MOVED', this.#continue(holdfast, { ...state, offset }));
  }

  async #cut(
    holdfast: LoadCalls,
    state: LoadState,
    { share, breaks }: Extract<Slip, { kind: 'cut' }>,
  ): Promise<void> {
    const { length } = this.#bytes;
    const end = state.offset + Math.floor((length - state.offset) * share);
    if (end === length) return this.#continue(holdfast, state);
    const isInLine = end > state.offset && this.#bytes[end - 1] !== newline;
    const what = isInLine ? 'loads cut in the middle of a line' : 'loads cut between two lines';
    await this.#refused(what, 'HF_BODY_CUT', this.#continue(holdfast, state, { end, breaks }));
  }

  /** Throws Slipped where it was refused with that code, anything else as it was thrown. */
  async #refused(what: string, code: string, sending: Promise<void>): Promise<never> {
    try {
      await sending;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== code) throw error;
      this.#parts.see(what);
      throw new Slipped(error.outcome);
    }
    throw this.#wrong(`was taken: ${what}`);
  }

  /** Of two senders at once one may go through, or both where one comes late. */
  async #both(
    holdfast: LoadCalls,
    state: LoadState,
    { afterMs, asks }: Extract<Slip, { kind: 'two senders' }>,
  ): Promise<void> {
    this.#parts.see('loads with two senders');
    const first = this.#continue(holdfast, state);
    first.catch(() => undefined);
    await this.#parts.clock.sleep(afterMs);
    const told = await Promise.allSettled([first, this.#second(state, asks)]);
    const outcomes = told.flatMap((one) => {
      if (one.status === 'fulfilled') return [];
      const error: unknown = one.reason;
      const isMoved = error instanceof HoldfastError && error.code === 'HF_LOAD_MOVED';
      if (isMoved || isRefusal(error)) return [error.outcome];
      throw error;
    });
    if (outcomes.length < told.length) return;
    // Who is refused for the other's sake says nothing of what the other has written.
    const isWritten = outcomes.some((outcome) => outcome !== 'not written');
    throw new Slipped(isWritten ? 'unknown' : 'not written');
  }

  async #second(state: LoadState, asks: boolean): Promise<void> {
    const holdfast = await this.#parts.reach();
    const found = asks ? this.#checked(await this.#begin(holdfast)) : state;
    if (!found.result) await this.#continue(holdfast, found);
  }

  #wrong(what: string): Violation {
    const [first] = this.#request.rows;
    assert(first, 'a load has rows');
    return new Violation('wrong', `the load of row ${first.id} of ${this.#request.stream} ${what}`);
  }
}

/** Nobody is to blame who sent it as he should, or whose slip was seen. */
const isRefusal = (error: unknown): error is HoldfastError | Slipped =>
  error instanceof Slipped ||
  (error instanceof HoldfastError && errorTable[error.code].kind !== 'caller');
