// A process of ours that is killed and started again, each time with the same call of `start`.
import type { Child } from '../children.ts';
import type { Ground } from '../ground.ts';

interface Program {
  /** Below bench/. */
  readonly file: string;
  readonly argument: object;
}

export class Mover<Started = void> {
  readonly #ground: Ground;
  readonly #program: Program;
  #child: Child;
  #started: Started;

  private constructor(of: { ground: Ground; program: Program; child: Child; started: Started }) {
    this.#ground = of.ground;
    this.#program = of.program;
    this.#child = of.child;
    this.#started = of.started;
  }

  static async start<Started = void>(ground: Ground, program: Program): Promise<Mover<Started>> {
    const child = ground.child(program.file);
    const started = await child.call<Started>('start', program.argument);
    return new Mover({ ground, program, child, started });
  }

  get child(): Child {
    return this.#child;
  }

  /** What the last `start` answered. */
  get started(): Started {
    return this.#started;
  }

  crash(): Promise<void> {
    return this.#child.crash();
  }

  async restart(): Promise<void> {
    this.#child = this.#ground.child(this.#program.file);
    this.#started = await this.#child.call<Started>('start', this.#program.argument);
  }

  end(): Promise<void> {
    return this.#child.end();
  }
}
