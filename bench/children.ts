// A process of a bench that answers calls: so that the product's memory and CPU time are its own,
// and a generator's are not. A child ends when its parent does.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';

type Methods = { readonly [name: string]: (argument: never) => unknown };

interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly failure?: string;
}

interface ChildOptions {
  readonly execArgv?: readonly string[];
  /** Beside what this process has. */
  readonly env?: NodeJS.ProcessEnv;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;

  constructor(file: string, { execArgv = [], env = {} }: ChildOptions = {}) {
    const path = new URL(file, import.meta.url);
    this.#process = fork(path, { execArgv: [...execArgv], env: { ...process.env, ...env } });
    this.#process.on('message', (answer: Answer) => {
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
    this.#process.on('exit', (code) => {
      for (const [id, answer] of this.#waiting) answer({ id, failure: `${file} ended: ${code}` });
      this.#waiting.clear();
    });
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Calls a method there. The caller says what it answers with. */
  call<T = void>(method: string, argument: object = {}): Promise<T> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, ({ value, failure }) => {
        if (failure === undefined) resolve(value as T);
        else reject(new Error(`${method}: ${failure}`));
      });
      // Without a callback a child that is gone would end the bench.
      this.#process.send({ id, method, argument }, (error) => {
        if (error) this.#waiting.get(id)?.({ id, failure: error.message });
        if (error) this.#waiting.delete(id);
      });
    });
  }

  /** Ends it in good order, so that it leaves its profiles. */
  async end(): Promise<void> {
    if (this.#hasEnded) return;
    const exited = once(this.#process, 'exit');
    this.#process.disconnect();
    await exited;
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Ends it at once, as a crash would, and waits until it is gone. */
  async crash(): Promise<void> {
    const exited = once(this.#process, 'exit');
    this.kill();
    await exited;
  }

  /** Ends it at once, where a bench failed. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }
}

/** The child's side: answers the parent's calls by these methods. */
export function answerCalls(methods: Methods): void {
  process.on('disconnect', () => process.exit());
  process.on('message', (call: { id: number; method: string; argument: never }) => {
    void (async () => {
      const { id, method, argument } = call;
      try {
        process.send?.({ id, value: await methods[method]?.(argument) });
      } catch (error) {
        const failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
        process.send?.({ id, failure });
      }
    })();
  });
}
