// The life of a told-child.ts, as its parent sees it: what it told, in order, and what must hold of
// that whatever it met: nothing is acknowledged after it has failed (O5), and each refusal says
// what became of the rows (O6).
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Violation } from './oracle.ts';
import type { LifeOptions, ProcessFolder } from './process-folder.ts';

export type Told =
  | { readonly opened: true }
  | { readonly acknowledged: number; readonly repeated: boolean; readonly receipt: string }
  | { readonly refused: number; readonly code: string; readonly outcome: string }
  /** No further segment can be had. */
  | { readonly full: true }
  | { readonly failed: string }
  | { readonly closed: true };

const program = join(import.meta.dirname, 'told-child.ts');
/** Far longer than any life takes: one that lasts so long hangs. */
const lifeMsMax = 120_000;

export class ToldLife {
  readonly child: ChildProcess;
  readonly told: Told[] = [];
  /** Resolves when the process has ended and all that it told was read. */
  readonly ended: Promise<void>;
  /** How many it has told. */
  acknowledged = 0;
  readonly #folder: ProcessFolder;
  readonly #unknown = new Set<number>();
  #isEnded = false;
  #wake: () => void = () => undefined;
  #wrong: Violation | undefined;
  #failed: string | undefined;

  constructor(folder: ProcessFolder, options: Omit<LifeOptions, 'program'> = {}) {
    this.#folder = folder;
    this.child = folder.start({ ...options, program });
    const { stdout } = this.child;
    if (!stdout) throw new Error('the process tells what comes of its requests');
    const lines = createInterface({ input: stdout });
    lines.on('line', (line) => this.#take(JSON.parse(line) as Told));
    const hanging = setTimeout(() => {
      this.#wrong ??= new Violation('wrong', 'the process hangs');
      this.child.kill('SIGKILL');
    }, lifeMsMax);
    this.ended = once(this.child, 'close').then(() => {
      clearTimeout(hanging);
      this.#isEnded = true;
      this.#wake();
    });
  }

  /** What it failed of, or could not open for. */
  get failed(): string | undefined {
    return this.#failed;
  }

  refusals(code: string): number {
    return this.told.filter((one) => 'refused' in one && one.code === code).length;
  }

  /** Resolves once it has told such a thing; with false where it ended before. */
  async until(isSo: (told: Told) => boolean): Promise<boolean> {
    for (let seen = 0; ; ) {
      for (; seen < this.told.length; seen++) {
        const one = this.told[seen];
        if (one && isSo(one)) return true;
      }
      if (this.#isEnded) return false;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves once so many requests are acknowledged; with false where it ended before. */
  async untilAcknowledged(count: number): Promise<boolean> {
    return this.until(() => this.acknowledged >= count);
  }

  /** Waits for its end; throws what was wrong with what it told. Its exit code, or signal. */
  async end(): Promise<number | NodeJS.Signals | null> {
    await this.ended;
    if (this.#wrong) throw this.#wrong;
    return this.child.signalCode ?? this.child.exitCode;
  }

  #take(told: Told): void {
    this.told.push(told);
    if ('failed' in told) {
      this.#failed ??= told.failed;
      if (told.failed.startsWith('unexpected')) this.#wrong ??= new Violation('wrong', told.failed);
    }
    if ('acknowledged' in told) {
      this.acknowledged++;
      // What an earlier process has made durable is known, whatever becomes of this one.
      if (this.#failed === 'HF_JOURNAL_FAILED' && !told.repeated) {
        this.#wrong ??= new Violation(
          'wrong',
          `acknowledged after it failed: ${told.acknowledged}`,
        );
      }
      this.#takeReceipt(told);
      this.#folder.acknowledged.add(told.acknowledged);
      this.#folder.unwritten.delete(told.acknowledged);
    }
    if ('refused' in told) this.#takeRefusal(told);
    this.#wake();
  }

  /** O11: a request keeps its receipt, and no other gets it. */
  #takeReceipt({ acknowledged, receipt }: Extract<Told, { acknowledged: number }>): void {
    const { receipts } = this.#folder;
    const known = receipts.get(receipt);
    if (known !== undefined && known !== acknowledged) {
      this.#wrong ??= new Violation(
        'doubled',
        `receipt ${receipt}: of ${known} and ${acknowledged}`,
      );
    }
    receipts.set(receipt, acknowledged);
  }

  #takeRefusal({ refused, code, outcome }: Extract<Told, { refused: number }>): void {
    if (outcome === 'unknown') this.#unknown.add(refused);
    else if (outcome !== 'not written') {
      this.#wrong ??= new Violation('wrong', `request ${refused}: ${code}, ${outcome}`);
    }
    if (this.#unknown.has(refused)) this.#folder.unwritten.delete(refused);
    else this.#folder.unwritten.add(refused);
  }
}
