// A program of a bench that is no Node.js of ours: what it says goes to a file.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface ProgramStart {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly log: string;
}

export class Program {
  readonly #process: ChildProcess;
  readonly #log: string;

  constructor({ command, args, cwd, log }: ProgramStart) {
    this.#log = log;
    const output = openSync(log, 'a');
    this.#process = spawn(command, args, { cwd, stdio: ['ignore', output, output] });
    closeSync(output);
    // That it never started is told by `check`.
    this.#process.on('error', () => undefined);
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Throws, with the end of what it said, where it does not run. */
  check(): void {
    if (this.#process.pid !== undefined && !this.#hasEnded) return;
    const said = readFileSync(this.#log, 'utf8').slice(-2_000);
    throw new Error(`${this.#process.spawnfile} has ended: ${said}`);
  }

  /** Ends it at once, as a crash would, and waits until it is gone. */
  async crash(): Promise<void> {
    this.check();
    const exited = once(this.#process, 'exit');
    this.kill();
    await exited;
  }

  /** In good order. */
  async end(): Promise<void> {
    if (this.#process.pid === undefined || this.#hasEnded) return;
    const exited = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    await exited;
  }

  kill(): void {
    this.#process.kill('SIGKILL');
  }
}
