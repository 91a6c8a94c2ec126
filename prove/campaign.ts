// What a campaign is, and how it counts. A campaign does many runs of one kind of attack on the
// unbroken product; whatever the oracle finds wrong lands in `lost`, `doubled` or `failed`. A run
// that never came to the state it was made for is vacuous; so is a whole campaign that saw too
// little, and then it fails.
import { Violation } from './oracle.ts';

export interface CampaignOptions {
  /** How much: what is counted is the campaign's own (states, flips, kills, runs). */
  readonly count?: number;
  readonly seed: number;
  /** All of it, for the campaign whose seeds have 64 bits. */
  readonly seed64?: bigint;
  /** Stop at the first violation: enough to kill a mutant. */
  readonly isBrief?: boolean;
  /** In `npm test`: what other tests of it show anyway is left out. */
  readonly isShort?: boolean;
  /** Only cases, or mutants, whose name holds this. */
  readonly only?: string;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface CampaignResult {
  readonly name: string;
  /** Of what the campaign counts. */
  readonly runs: number;
  readonly lost: number;
  readonly doubled: number;
  /** Runs that did not reach what they were made for. */
  readonly vacuous: number;
  /** What went wrong, in words; the first `failuresShown` of them. */
  readonly failed: readonly string[];
  /** Why not all of it could be done on this machine, if so. */
  readonly reduced: readonly string[];
  /** What was seen, by name. */
  readonly seen: Readonly<Record<string, number>>;
  /** The most that was measured, by name, where something is. */
  readonly most?: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly seed: number;
}

export interface Campaign {
  readonly name: string;
  /** What a run is, for the table. */
  readonly unit: string;
  /** What `npm test` and `npm run prove` ask of it. */
  readonly countShort: number;
  readonly countLong: number;
  /** The most that one process does at a time; parts with other seeds add up. Absent: no parts. */
  readonly countPart?: number;
  run(options: CampaignOptions): Promise<CampaignResult>;
}

const failuresShown = 20;

/** Thrown by a brief campaign once it has found something. */
class Enough extends Error {}

export class Tally {
  readonly #name: string;
  readonly #options: CampaignOptions;
  readonly #begunMs = performance.now();
  readonly #seen: Record<string, number> = {};
  readonly #most: Record<string, number> = {};
  readonly #failed: string[] = [];
  readonly #reduced: string[] = [];
  #failures = 0;
  runs = 0;
  #lost = 0;
  #doubled = 0;
  #vacuous = 0;

  constructor(name: string, options: CampaignOptions) {
    this.#name = name;
    this.#options = options;
  }

  get failures(): number {
    return this.#failures;
  }

  ran(count = 1): void {
    this.runs += count;
  }

  see(what: string, count = 1): void {
    this.#seen[what] = (this.#seen[what] ?? 0) + count;
  }

  seen(what: string): number {
    return this.#seen[what] ?? 0;
  }

  most(what: string, measured: number): void {
    this.#most[what] = Math.max(this.#most[what] ?? measured, measured);
  }

  vacuous(): void {
    this.#vacuous++;
  }

  reduce(why: string): void {
    if (!this.#reduced.includes(why)) this.#reduced.push(why);
  }

  /** Takes what the oracle threw; anything else that was thrown is a failure too. */
  take(error: unknown, where: string): void {
    if (error instanceof Enough) throw error;
    const violation = violationIn(error);
    if (violation?.kind === 'lost') this.#lost++;
    if (violation?.kind === 'doubled') this.#doubled++;
    this.fail(`${where}: ${whole(error)}`);
  }

  fail(what: string): void {
    this.#failures++;
    if (this.#failed.length < failuresShown) this.#failed.push(what);
    if (this.#options.isBrief) throw new Enough();
  }

  progress(done: number, total: number): void {
    this.#options.onProgress?.(Math.min(done, total), total);
  }

  /** Neither run nor seen, and nothing on this machine is to blame. */
  get #isIdle(): boolean {
    return this.runs === 0 && this.#reduced.length === 0 && Object.keys(this.#seen).length === 0;
  }

  /**
   * Runs `body`, then asks for floors: each a share of the runs, and at least one. A brief campaign
   * that found something has none.
   */
  async result(
    body: () => void | Promise<void>,
    floors: Readonly<Record<string, number>> = {},
  ): Promise<CampaignResult> {
    try {
      await body();
      if (this.#isIdle) this.fail('vacuous: nothing was run');
      for (const [what, share] of Object.entries(floors)) {
        const floor = Math.max(1, Math.floor(share * this.runs));
        const seen = this.seen(what);
        if (seen < floor) this.fail(`vacuous: ${what} ${seen}, expected ${floor} at least`);
      }
    } catch (error) {
      if (!(error instanceof Enough)) throw error;
    }
    return {
      name: this.#name,
      runs: this.runs,
      lost: this.#lost,
      doubled: this.#doubled,
      vacuous: this.#vacuous,
      failed: this.#failed,
      reduced: this.#reduced,
      seen: this.#seen,
      ...(Object.keys(this.#most).length > 0 && { most: this.#most }),
      seconds: Math.round((performance.now() - this.#begunMs) / 100) / 10,
      seed: this.#options.seed,
    };
  }
}

function violationIn(error: unknown): Violation | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof Violation) return at;
  }
  return undefined;
}

function whole(error: unknown): string {
  const parts: string[] = [];
  let at = error;
  for (; at instanceof Error; at = at.cause) parts.push(at.message);
  if (typeof at === 'string') parts.push(at);
  return parts.join(': ').slice(0, 600);
}

export const isFine = ({ lost, doubled, failed }: CampaignResult): boolean =>
  lost === 0 && doubled === 0 && failed.length === 0;
