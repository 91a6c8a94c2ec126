// A thread of a simulated process, as its parent has it. What either says comes to the other later,
// as a copy, in the order in which it was said; nothing else is in order. It ends with its process,
// or alone.
import { EventEmitter } from 'node:events';
import type { Message } from '../../src/threads/calls.ts';
import type { ParentPort, Thread } from '../../src/threads/thread.ts';
import type { ProcessClock } from './simulated-clock.ts';

export interface SimulatedThreadParts {
  /** Its parent's view of the time, and its own. */
  readonly parent: ProcessClock;
  readonly own: ProcessClock;
  /** How long the next message is on its way, at least. */
  readonly delayMs: () => number;
}

/** One way of the two. */
class Line {
  readonly #to: ProcessClock;
  readonly #delayMs: () => number;
  #last: Promise<void> = Promise.resolve();
  #cuts = 0;

  constructor(to: ProcessClock, delayMs: () => number) {
    this.#to = to;
    this.#delayMs = delayMs;
  }

  send(arrive: () => void): void {
    const at = this.#to.monotonicMs() + this.#delayMs();
    this.#last = this.#deliver(this.#last, at, arrive);
  }

  /** What is on its way is lost. */
  cut(): void {
    this.#cuts++;
  }

  async #deliver(before: Promise<void>, at: number, arrive: () => void): Promise<void> {
    const cuts = this.#cuts;
    await before;
    await this.#to.sleep(at - this.#to.monotonicMs());
    if (cuts === this.#cuts) arrive();
  }
}

export class SimulatedThread extends EventEmitter implements Thread {
  readonly #parts: SimulatedThreadParts;
  readonly #inner = new EventEmitter();
  readonly #toThread: Line;
  readonly #toParent: Line;

  /** `main` is what the thread runs; it begins a little later. */
  constructor(parts: SimulatedThreadParts, main: (port: ParentPort) => void) {
    super();
    this.#parts = parts;
    this.#toThread = new Line(parts.own, parts.delayMs);
    this.#toParent = new Line(parts.parent, parts.delayMs);
    const port: ParentPort = {
      postMessage: (messages, transfer = []) => {
        if (parts.own.isEnded) return;
        const copy = structuredClone(messages, { transfer: [...transfer] });
        this.#toParent.send(() => this.emit('message', copy));
      },
      on: (event: string, listener: (messages: readonly Message[]) => void) =>
        this.#inner.on(event, listener),
      close: () => this.#end(0),
    };
    this.#toThread.send(() => main(port));
  }

  get clock(): ProcessClock {
    return this.#parts.own;
  }

  postMessage(...[messages, transfer = []]: Parameters<Thread['postMessage']>): void {
    const copy = structuredClone(messages, { transfer: [...transfer] });
    this.#toThread.send(() => this.#inner.emit('message', copy));
  }

  /** An error ends it that it does not catch, with or without what it said last. */
  die(error: Error, { isHeard }: { readonly isHeard: boolean }): void {
    if (this.clock.isEnded) return;
    if (!isHeard) this.#toParent.cut();
    // Only its text and its own fields cross.
    const told = Object.assign(new Error(error.message), error);
    this.#toParent.send(() => this.emit('error', told));
    this.#end(1);
  }

  terminate(): Promise<void> {
    this.#end(1);
    return new Promise((resolve) => this.#toParent.send(resolve));
  }

  #end(code: number): void {
    if (this.clock.isEnded) return;
    this.clock.end();
    this.#toParent.send(() => this.emit('exit', code));
  }
}
