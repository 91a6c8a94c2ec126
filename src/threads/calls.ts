// Calls from one thread to another, either way over one port: a call has an answer, a notice has
// none. Plain values only. An error arrives as the HoldfastError that it was; anything else that
// was thrown is a bug, and arrives as one. What one turn has to say goes as one message: a group's
// worth of answers costs one wake-up.
import type { TransferListItem } from 'node:worker_threads';
import type { ErrorCode, ErrorDetails } from '../errors.ts';
import { HoldfastError } from '../errors.ts';

export interface Port {
  postMessage(messages: readonly Message[], transfer?: readonly TransferListItem[]): void;
}

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
  /** Of what nobody foresaw; for the log, and for nobody else. */
  readonly stack?: string;
}

/** `id` 0: a notice. */
interface Asked {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

export type Message =
  | Asked
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: Failure };

interface Waiter {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

type Methods = Readonly<Record<string, ((...args: readonly unknown[]) => unknown) | undefined>>;

function toFailure(error: unknown): Failure {
  if (error instanceof HoldfastError) {
    const { code, message, rejected, outcome, retryAfterSeconds } = error;
    const listed = rejected ? { rejected } : {};
    const later = retryAfterSeconds === undefined ? {} : { retryAfterSeconds };
    return { code, message, details: { outcome, ...listed, ...later } };
  }
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const message = 'Something failed here that must not; the log has it.';
  return { code: 'HF_BUG', message, details: {}, stack };
}

function fromFailure({ code, message, details, stack }: Failure): HoldfastError {
  if (stack === undefined) return new HoldfastError(code, message, details);
  const cause = new Error(message);
  cause.stack = stack;
  return new HoldfastError(code, message, { ...details, cause });
}

export class Calls {
  readonly #port: Port;
  readonly #methods: Methods;
  readonly #onNoticeError: (error: unknown) => void;
  readonly #waiting = new Map<number, Waiter>();
  /** What was said since the last message, and what goes with it. */
  #out: Message[] = [];
  #transfer: TransferListItem[] = [];
  #nextId = 1;
  #ended: Error | undefined;

  /** `methods` are what the other side may call; `onNoticeError` hears what its notices throw. */
  constructor(port: Port, methods: object, onNoticeError: (error: unknown) => void) {
    this.#port = port;
    this.#methods = methods as Methods;
    this.#onNoticeError = onNoticeError;
  }

  /** Resolves with the other side's answer; rejects with its error, or once that side has ended. */
  call(method: string, ...args: readonly unknown[]): Promise<unknown> {
    const { id, answer } = this.expect();
    if (!this.#ended) this.#send({ id, method, args });
    return answer;
  }

  /** For a call that goes another way: its number, which `reply` takes there, and its answer. */
  expect(): { readonly id: number; readonly answer: Promise<unknown> } {
    const id = this.#nextId++;
    if (this.#ended) return { id, answer: Promise.reject(this.#ended) };
    const answer = new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
    });
    return { id, answer };
  }

  /** Answers the call of that number, once there is an answer. Never rejects. */
  async reply(id: number, answer: Promise<unknown>): Promise<void> {
    try {
      this.#send({ id, value: await answer });
    } catch (error) {
      this.#send({ id, failure: toFailure(error) });
    }
  }

  tell(method: string, ...args: readonly unknown[]): void {
    this.#send({ id: 0, method, args });
  }

  /** A notice that hands its buffers over: they are gone here. */
  give(transfer: readonly TransferListItem[], method: string, ...args: readonly unknown[]): void {
    this.#transfer.push(...transfer);
    this.#send({ id: 0, method, args });
  }

  /** What came over the port. Resolves when all of it has been answered. */
  async take(messages: readonly Message[]): Promise<void> {
    await Promise.all(messages.map((message) => this.#takeOne(message)));
  }

  /** Nobody is there any more to answer. */
  end(reason: Error): void {
    this.#ended ??= reason;
    for (const waiter of this.#waiting.values()) waiter.reject(reason);
    this.#waiting.clear();
  }

  async #takeOne(message: Message): Promise<void> {
    if ('method' in message) {
      const { id, method, args } = message;
      if (id === 0) this.#hear(message);
      else await this.reply(id, (async () => this.#methods[method]?.(...args))());
      return;
    }
    const waiter = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('failure' in message) waiter?.reject(fromFailure(message.failure));
    else waiter?.resolve(message.value);
  }

  #hear({ method, args }: Asked): void {
    try {
      this.#methods[method]?.(...args);
    } catch (error) {
      this.#onNoticeError(error);
    }
  }

  #send(message: Message): void {
    this.#out.push(message);
    if (this.#out.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const messages = this.#out;
    const transfer = this.#transfer;
    this.#out = [];
    this.#transfer = [];
    this.#port.postMessage(messages, transfer);
  }
}
