// Calls from one thread to another, either way over one port: a call has an answer, a notice has
// none. Plain values only. An error arrives as the HoldfastError that it was; anything else that was
// thrown is a bug, and arrives as one.
import type { TransferListItem } from 'node:worker_threads';
import type { ErrorCode, ErrorDetails } from '../errors.ts';
import { HoldfastError } from '../errors.ts';

export interface Port {
  postMessage(message: Message, transfer?: readonly TransferListItem[]): void;
}

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
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
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: 'HF_BUG', message, details: {} };
}

const fromFailure = ({ code, message, details }: Failure): HoldfastError =>
  new HoldfastError(code, message, details);

export class Calls {
  readonly #port: Port;
  readonly #methods: Methods;
  readonly #onNoticeError: (error: unknown) => void;
  readonly #waiting = new Map<number, Waiter>();
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
    if (this.#ended) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#port.postMessage({ id, method, args });
    });
  }

  tell(method: string, ...args: readonly unknown[]): void {
    this.#port.postMessage({ id: 0, method, args });
  }

  /** A notice that hands its buffers over: they are gone here. */
  give(transfer: readonly TransferListItem[], method: string, ...args: readonly unknown[]): void {
    this.#port.postMessage({ id: 0, method, args }, transfer);
  }

  /** What came over the port. Resolves when it has been answered. */
  async take(message: Message): Promise<void> {
    if ('method' in message) {
      if (message.id === 0) this.#hear(message);
      else await this.#answer(message);
      return;
    }
    const waiter = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('failure' in message) waiter?.reject(fromFailure(message.failure));
    else waiter?.resolve(message.value);
  }

  /** Nobody is there any more to answer. */
  end(reason: Error): void {
    this.#ended ??= reason;
    for (const waiter of this.#waiting.values()) waiter.reject(reason);
    this.#waiting.clear();
  }

  #hear({ method, args }: Asked): void {
    try {
      this.#methods[method]?.(...args);
    } catch (error) {
      this.#onNoticeError(error);
    }
  }

  async #answer({ id, method, args }: Asked): Promise<void> {
    try {
      this.#port.postMessage({ id, value: await this.#methods[method]?.(...args) });
    } catch (error) {
      this.#port.postMessage({ id, failure: toFailure(error) });
    }
  }
}
