// The server of a simulated target, call by call: who is connected, what a fault does to a call,
// what is locked and claimed meanwhile. All that a call does, it does at once, at its end; before
// that, and between its claims and its end, others may run. What outlives its process (a call that
// the server still has, a claim) ends by the clock and needs nobody to wake it.
import type { Clock } from '../../src/clock.ts';
import { TargetError } from '../../src/target/target.ts';
import { refusalOf, type TargetFault, unanswered } from './simulated-call-fault.ts';
import { SimulatedDeath } from './simulated-disk.ts';

export interface ServerOptions {
  readonly clock: Clock;
  /** Each call takes up to this, by chance. */
  readonly latencyMsMax?: number;
  /** So long a client waits for an answer before it gives the connection up. */
  readonly answerMsMax?: number;
  /** A late call is done up to so long after its client gave it up, by chance. */
  readonly lateMsMax?: number;
  /** Called at a `die`, before SimulatedDeath is thrown: ends the disk of that process too. */
  readonly onDeath?: () => void;
}

/** Whose calls these are. */
export interface Caller {
  readonly id: string;
  /** The server's, when the session began. */
  readonly life: number;
  /** Whether the client has closed it, and when it does. */
  readonly isGone: boolean;
  readonly gone: AbortSignal;
}

export interface Call<T> {
  readonly name: string;
  readonly writes: boolean;
  /** Reads, but not from a server that takes no writes. */
  readonly wantsWritable?: boolean;
  /** Rows that it locks: a call that holds them while it is late keeps others away. */
  readonly locks?: readonly string[];
  /** It may be done late without having held its locks: it looks first where its lanes stand. */
  readonly isGuarded?: boolean;
  /** What it claims when it reaches the server, and holds until it ends. */
  readonly claims?: () => readonly string[];
  /** Its client gives it up, and uses the memory that it lies in again: it has been sent. */
  readonly keep?: () => void;
  readonly body: () => T;
}

/** What an observer of the calls may ask. */
export interface Struck {
  readonly name: string;
  readonly writes: boolean;
  /** From 1. */
  readonly number: number;
}

interface Late {
  readonly caller: Caller;
  readonly atMs: number;
  readonly locks: readonly string[];
  readonly run: () => void;
}

/** What became of late calls. */
export interface LateCounts {
  done: number;
  /** By their guard: the lanes had moved. */
  refused: number;
  /** By `resolve`, a crash or a failover. */
  ended: number;
}

/** So long a server does not notice that a client is gone. */
const noticeMs = 200;

const noAnswer = 'simulated: no answer came.';

export class SimulatedServer {
  /** What was called, in order. */
  readonly trace: string[] = [];
  readonly late: LateCounts = { done: 0, refused: 0, ended: 0 };
  /** Asked at each call beside the faults that were injected. */
  strike: (call: Struck) => TargetFault | undefined = () => undefined;
  /** Sessions of an earlier life are lost. */
  life = 1;
  readonly #options: ServerOptions;
  readonly #faults = new Map<number, TargetFault>();
  readonly #claims = new Map<string, { readonly caller: Caller; readonly untilMs: number }>();
  readonly #terminated = new Set<string>();
  #late: Late[] = [];
  #mode: 'down' | 'read-only' = 'down';
  #modeUntilMs = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#modeNow() !== 'down';
  }

  /** `fault` strikes the `at`-th call from the beginning. */
  inject(at: number, fault: TargetFault): void {
    this.#faults.set(at, fault);
  }

  heal(): void {
    this.#faults.clear();
    this.strike = () => undefined;
  }

  /** For a while it is not to be had, or takes no writes. */
  become(mode: 'down' | 'read-only', forMs: number): void {
    this.runLate();
    if (forMs > 0) this.#endLate(() => true);
    this.#mode = mode;
    this.#modeUntilMs = this.#options.clock.monotonicMs() + forMs;
  }

  #modeNow(): 'up' | 'down' | 'read-only' {
    return this.#options.clock.monotonicMs() < this.#modeUntilMs ? this.#mode : 'up';
  }

  /** Every session is lost, and with it what it had begun. */
  restart(): void {
    this.runLate();
    this.#endLate(() => true);
    this.#claims.clear();
    this.life++;
  }

  /** Ends a session from outside. */
  terminate(id: string): void {
    this.#terminated.add(id);
    this.#endLate(({ caller }) => caller.id === id);
  }

  /** A late call holds one of these rows. */
  isLocked(locks: readonly string[]): boolean {
    return this.#late.some((late) => late.locks.some((lock) => locks.includes(lock)));
  }

  isClaimed(claim: string): boolean {
    const held = this.#claims.get(claim);
    return held !== undefined && this.#options.clock.monotonicMs() < held.untilMs;
  }

  /** Does what late calls whose time has come still have to do. */
  runLate(): void {
    if (this.#late.length === 0) return;
    const now = this.#options.clock.monotonicMs();
    const due = this.#late.filter(({ atMs }) => atMs <= now).sort((a, b) => a.atMs - b.atMs);
    if (due.length === 0) return;
    this.#late = this.#late.filter(({ atMs }) => atMs > now);
    for (const { caller, run } of due) {
      try {
        run();
        this.late.done++;
      } catch (error) {
        if (!(error instanceof TargetError)) throw error;
        this.late.refused++;
      }
      this.#release(caller);
    }
  }

  #endLate(isOver: (late: Late) => boolean): void {
    for (const late of this.#late.filter(isOver)) {
      this.late.ended++;
      this.#release(late.caller);
    }
    this.#late = this.#late.filter((late) => !isOver(late));
  }

  /** One call: a round trip to the server, which faults may strike. */
  async call<T>(caller: Caller, call: Call<T>): Promise<T> {
    const { name, writes } = call;
    this.trace.push(name);
    const number = this.trace.length;
    const fault = this.#faults.get(number) ?? this.strike({ name, writes, number });
    await this.#travel(call.claims ? 0.5 : 1);
    this.#mustServe(caller, call);
    if (fault !== undefined) this.#refuse(caller, call, fault);
    if (call.locks && this.isLocked(call.locks)) {
      throw new TargetError('transient', '55P03', 'simulated: the lanes are locked.');
    }
    this.#claim(caller, call, this.#options.latencyMsMax ?? 0);
    try {
      if (fault === 'hang') await this.#hang(caller, new TargetError('lost', '', noAnswer));
      if (call.claims) {
        await this.#travel(0.5);
        this.#mustServe(caller, call);
      }
      const result = call.body();
      if (fault === undefined) return result;
      if (fault === 'die, committed') throw this.#death(name);
      this.#release(caller);
      const error = unanswered(fault, writes);
      if (fault === 'hang, committed') await this.#hang(caller, error);
      throw error;
    } finally {
      this.#release(caller);
    }
  }

  /** What strikes before anything is done. */
  #refuse<T>(caller: Caller, call: Call<T>, fault: TargetFault): void {
    if (fault === 'die') throw this.#death(call.name);
    const refusal = refusalOf(fault, call.writes);
    if (refusal) throw refusal;
    if (fault !== 'late' && fault !== 'late, locked') return;
    if (call.writes) this.#delay(caller, call, fault);
    throw unanswered(fault, call.writes);
  }

  async #travel(share: number): Promise<void> {
    const { clock, latencyMsMax } = this.#options;
    if (latencyMsMax === undefined) await Promise.resolve();
    else await clock.sleep(clock.random() * latencyMsMax * share);
  }

  #mustServe<T>(caller: Caller, { writes, wantsWritable = writes }: Call<T>): void {
    this.runLate();
    const mode = this.#modeNow();
    if (mode === 'down') throw new TargetError('lost', 'ECONNREFUSED', 'The target is down.');
    const isKnown = caller.life === this.life && !this.#terminated.has(caller.id);
    if (!isKnown || caller.isGone) {
      throw new TargetError('lost', '', 'The connection is gone.');
    }
    if (mode === 'up' || !wantsWritable) return;
    throw new TargetError('readonly', '25006', 'The target takes no writes.');
  }

  /** The client gives it up; the server does it later, unless something comes between. */
  #delay<T>(caller: Caller, call: Call<T>, fault: 'late' | 'late, locked'): void {
    const { clock, lateMsMax = 100 } = this.#options;
    const { locks = [], isGuarded = false } = call;
    // One that waits for others' locks is ended with its connection.
    if (this.isLocked(locks)) return;
    const isHolding = fault === 'late, locked' || !isGuarded;
    if (isHolding) this.#claim(caller, call, Number.POSITIVE_INFINITY);
    call.keep?.();
    const run = () => {
      if (!isHolding) this.#claim(caller, call, 0);
      call.body();
    };
    const atMs = clock.monotonicMs() + clock.random() * lateMsMax;
    this.#late.push({ caller, atMs, locks: isHolding ? locks : [], run });
  }

  async #hang(caller: Caller, error: TargetError): Promise<never> {
    const { clock, answerMsMax = 1_000 } = this.#options;
    const untilMs = clock.monotonicMs() + answerMsMax + noticeMs;
    for (const [claim, held] of this.#claims) {
      if (held.caller === caller) this.#claims.set(claim, { caller, untilMs });
    }
    await clock.sleep(answerMsMax, caller.gone);
    throw error;
  }

  #claim<T>(caller: Caller, { claims }: Call<T>, forMs: number): void {
    const untilMs = this.#options.clock.monotonicMs() + forMs + noticeMs;
    for (const claim of claims?.() ?? []) this.#claims.set(claim, { caller, untilMs });
  }

  #release(caller: Caller): void {
    for (const [claim, held] of this.#claims) {
      if (held.caller === caller) this.#claims.delete(claim);
    }
  }

  #death(name: string): SimulatedDeath {
    this.#options.onDeath?.();
    return new SimulatedDeath(`died at call ${this.trace.length} of the target, ${name}`);
  }
}
