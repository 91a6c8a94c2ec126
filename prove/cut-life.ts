// One life of a process on a disk that will be cut: what it says, and what of that counts.
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import type { CutOrders } from './cut-child.ts';
import { Violation } from './oracle.ts';

const child = join(import.meta.dirname, 'cut-child.ts');

export class CutLife {
  readonly #process: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #events = new EventEmitter();
  #rest = '';
  #stderr = '';
  #isEnded = false;
  /** Numbers of the requests that it said were acknowledged. */
  readonly told: number[] = [];
  isOpening = false;
  isOpen = false;
  /** It has failed, and has tried once more. */
  isDone = false;
  /** How many of those that it told the journal had had already. */
  known = 0;
  /** Why the journal did not open, or took no more. */
  failure: string | undefined;
  /** Said to be acknowledged after the failure. */
  readonly #toldTooLate: number[] = [];

  /** Loads everything and waits for its orders. */
  constructor(sources: string) {
    this.#process = spawn(process.execPath, [child, sources], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, NODE_COMPILE_CACHE: join(tmpdir(), 'holdfast-prove-code') },
    });
    this.#closed = once(this.#process, 'close').then(() => {
      this.#isEnded = true;
      this.#events.emit('said');
    });
    this.#process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#process.stdout?.setEncoding('utf8').on('data', (text: string) => this.#onText(text));
  }

  #onText(text: string): void {
    const lines = `${this.#rest}${text}`.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
    this.#events.emit('said');
  }

  #onLine(line: string): void {
    const [first = '', ...rest] = line.split(' ');
    switch (first) {
      case 'ready':
        return;
      case 'opening':
        this.isOpening = true;
        return;
      case 'open':
        this.isOpen = true;
        return;
      case 'failed':
        this.failure = rest.join(' ');
        return;
      case 'done':
        this.isDone = true;
        return;
      case 'known':
        this.known++;
        this.#onAcknowledged(Number(rest[0]));
        return;
      default:
        this.#onAcknowledged(Number(first));
    }
  }

  #onAcknowledged(number: number): void {
    (this.failure === undefined ? this.told : this.#toldTooLate).push(number);
  }

  begin(orders: CutOrders): void {
    this.#process.stdin?.write(`${JSON.stringify(orders)}\n`);
  }

  /** Resolves when it has said what is asked for, or has failed or ended. */
  until(isSo: (life: this) => boolean): Promise<void> {
    return this.#until(() => isSo(this) || this.failure !== undefined);
  }

  /** Resolves when it has failed and tried once more, or ended. */
  untilDone(): Promise<void> {
    return this.#until(() => this.isDone || (this.failure !== undefined && !this.isOpen));
  }

  async #until(isSo: () => boolean): Promise<void> {
    while (!isSo() && !this.#isEnded) await once(this.#events, 'said');
  }

  /** Before its disk was cut, it has no reason to fail. */
  checkUnharmed(): void {
    if (this.failure !== undefined) {
      const kind = this.isOpen ? 'wrong' : 'lost';
      throw new Violation(kind, `on a sound disk the journal said ${this.failure}`);
    }
    if (this.#isEnded) throw new Violation('wrong', 'the process ended on a sound disk');
  }

  /** Ends it. All that it said before is in `told` when this resolves. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#closed;
  }

  /** How it may end on a dead disk: killed, and before that silent and with the right reason. */
  checkEnd(): void {
    const [late] = this.#toldTooLate;
    if (late !== undefined) {
      throw new Violation('wrong', `request ${late} was acknowledged after ${this.failure} (O5)`);
    }
    if (this.isOpen && this.failure !== undefined && this.failure !== 'HF_JOURNAL_FAILED') {
      throw new Violation('wrong', `a write on a dead disk was refused with ${this.failure} (O6)`);
    }
    if (this.#process.signalCode !== 'SIGKILL') {
      const { exitCode, signalCode } = this.#process;
      const how = `the process ended with ${signalCode ?? exitCode} when its disk died`;
      throw new Violation('wrong', `${how}: ${this.#stderr.slice(-1_000)}`);
    }
  }
}
