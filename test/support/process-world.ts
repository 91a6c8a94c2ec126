// A world in which processes die: one target and one clock that live on, and the disk that each
// process leaves to the next.
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { Disk } from '../../src/disk.ts';
import { HoldfastError } from '../../src/errors.ts';
import { open, type Ports } from '../../src/holdfast.ts';
import type { OpenOptions } from '../../src/options.ts';
import type { Target } from '../../src/target/target.ts';
import type { Holdfast } from '../../src/types.ts';
import { SimulatedClock, type SimulatedClockOptions } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedTarget, type SimulatedTargetOptions } from '../simulation/simulated-target.ts';

export const directory = '/journal';

export interface ProcessWorldOptions {
  readonly seed: number;
  /** With which each process is opened. */
  readonly options: OpenOptions;
  readonly target: Omit<SimulatedTargetOptions, 'clock' | 'onDeath'>;
  readonly clock?: SimulatedClockOptions;
  readonly diskBytes?: number;
}

export class ProcessWorld {
  readonly clock: SimulatedClock;
  readonly target: SimulatedTarget;
  disk: SimulatedDisk;
  /** What stands between a process and its disk. */
  wrap: (disk: SimulatedDisk) => Disk = (disk) => disk;
  /** What stands between a process and its target. */
  wrapTarget: (target: SimulatedTarget) => Target = (target) => target;
  /** What else goes on while a process lives; begun with each, and ended with it. */
  beside: () => Promise<void> = async () => undefined;
  readonly #options: OpenOptions;

  constructor({ seed, options, target, clock: clockOptions, diskBytes }: ProcessWorldOptions) {
    const clock = new SimulatedClock({ seed, ...clockOptions });
    this.clock = clock;
    const room = diskBytes === undefined ? {} : { capacityBytes: diskBytes };
    this.disk = new SimulatedDisk({ seed, ...room });
    const onDeath = () => this.disk.die();
    this.target = new SimulatedTarget({ ...target, clock, onDeath });
    this.#options = options;
  }

  /** A process from its start to its death or its end; says whether it died. */
  async live(work: (holdfast: Holdfast) => Promise<void>): Promise<'died' | 'ended'> {
    const { disk, clock } = this;
    const own = { disk: this.wrap(disk), target: this.wrapTarget(this.target) };
    const ports: Ports = { ...own, clock, pid: 1 };
    void this.beside();
    const life = (async () => work(await open(this.#options, ports)))();
    try {
      await clock.run(Promise.race([life, disk.died]));
    } catch (error) {
      if (!disk.isDead) throw error;
    } finally {
      // Whatever of it can still go on does so before the next process begins.
      await turn();
      clock.abandon();
    }
    return disk.isDead ? 'died' : 'ended';
  }

  /**
   * The same with errors below. Once the journal has failed nothing may be acknowledged; then
   * the process leaves.
   */
  async liveUntilFailure(
    work: (holdfast: Holdfast) => Promise<void>,
  ): Promise<'failed' | 'died' | 'ended'> {
    let isFailed = false;
    try {
      return await this.live(async (holdfast) => {
        try {
          await work(holdfast);
        } catch (error) {
          isFailed = error instanceof HoldfastError && error.code === 'HF_JOURNAL_FAILED';
          if (isFailed) await this.#checkRefusing(holdfast);
          throw error;
        }
      });
    } catch (error) {
      assert(isExpected(error), error instanceof Error ? error : String(error));
      return 'failed';
    }
  }

  async #checkRefusing(holdfast: Holdfast): Promise<void> {
    const stream = Object.keys(this.#options.streams).at(-1) ?? assert.fail('there is a stream');
    const refused = holdfast.write(stream, { id: 1_000_000, note: 'never taken' });
    const isRefusal = (error: unknown): boolean =>
      error instanceof HoldfastError &&
      error.code === 'HF_JOURNAL_FAILED' &&
      error.outcome === 'not written';
    await assert.rejects(refused, isRefusal);
    const error = await holdfast.failed;
    assert(isExpected(error), error);
  }

  /** The last look at the world; says after what it found something, and lets the disk go. */
  protected async judged(after: string, judge: () => Promise<void>): Promise<void> {
    try {
      await judge();
    } catch (cause) {
      throw new Error(`after ${after}`, { cause });
    } finally {
      this.disk.dispose();
    }
  }

  /** What the end of the process left is the disk from now on. */
  leave(end: (disk: SimulatedDisk) => SimulatedDisk): void {
    const { disk: dead } = this;
    this.disk = end(dead);
    dead.dispose();
  }
}

const expected = new Set(
  ['HF_JOURNAL_FAILED', 'HF_JOURNAL_FULL', 'HF_TARGET'].concat([
    'EIO',
    'ENOSPC',
    'EDQUOT',
    'EROFS',
    'EFBIG',
    'EMFILE',
  ]),
);

/** What errors below may make of a call: our refusal, or at open the disk's own error. */
const isExpected = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && expected.has(String(error.code));
