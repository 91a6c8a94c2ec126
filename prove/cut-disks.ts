// Real file systems under which the power can be cut, by two means.
//
//   ext4 on a loop device on our own disk (lossy-disk/): at a cut the device loses, tears and
//   reorders what was not flushed, and is dead for its old file system. Mounting it again replays
//   the real journal of ext4.
//
//   XFS on an image: XFS's own shutdown without a flush of its log. What was in the page cache or
//   only in the log's memory is gone. ext4 has such a call too, but it was seen to let fdatasync
//   return 0 while the file system died, which no power cut can do; so it is no oracle.
//
// The first can also fail a write once, as a bad sector does: fdatasync says EIO, the kernel marks
// the page clean, and reads go on showing what the disk does not have.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '../test/simulation/random.ts';
import { onlyOnce } from '../test/support/machine.ts';
import { mountImage, run, unmount, whyNoMounts } from './mounts.ts';

const MiB = 1024 * 1024;
const ext4Bytes = 40 * MiB;
/** The least that mkfs.xfs takes; the file is sparse. */
const xfsBytes = 300 * MiB;
/** A cut comes after so many more writes and flushes of the device, at most; or so much later. */
const afterMax = 8;
const afterMsMax = 100;
/** An error comes after so many more writes, at most. */
const errorAfterMax = 4;

const commands = ['gcc', 'pkg-config', 'fusermount3', 'mkfs.ext4', 'mkfs.xfs', 'xfs_io'];

/** Why no power can be cut here; undefined where it can. */
export function whyNoCuts(): string | undefined {
  const why = whyNoMounts(commands);
  if (why !== undefined) return why;
  const { status } = spawnSync('pkg-config', ['--exists', 'fuse3']);
  return status === 0 ? undefined : 'not installed: libfuse3-dev';
}

export interface CutOrder {
  readonly seed: number;
  /** Of 100 pieces that were not flushed, how many survive. */
  readonly keep: number;
  /** Bytes of a piece. */
  readonly unit: number;
  readonly after: number;
}

/** What had not been flushed at the last cut, and what became of it. */
export interface CutReport {
  readonly cuts: number;
  readonly writes: number;
  readonly torn: number;
  readonly kept: number;
  readonly dropped: number;
}

export interface CutDisk {
  readonly kind: 'ext4' | 'xfs';
  /** Where its file system is mounted. */
  readonly path: string;
  /** The power fails. With `keepsNothing`, nothing that was not flushed survives. */
  cut(random: Random, keepsNothing?: boolean): Promise<CutReport | undefined>;
  /** Mounts what the cut left. */
  revive(): Promise<void>;
  /** Until the next cut, flushes do nothing; where the disk can do that. */
  readonly lie?: () => void;
  /** Soon a write fails once, and all is well again; where the disk can do that. */
  readonly failOnce?: (random: Random) => void;
  remove(): Promise<void>;
}

const source = join(import.meta.dirname, 'lossy-disk/lossy-disk.c');

/** The path of the built lossy-disk; built once for each state of its source. */
async function builtLossyDisk(): Promise<string> {
  const digest = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16);
  const home = join(tmpdir(), `holdfast-lossy-disk-${digest}`);
  await onlyOnce(home, async (folder) => {
    const flags = (await run('pkg-config', '--cflags', '--libs', 'fuse3')).trim().split(/\s+/);
    const path = join(folder, 'lossy-disk');
    await run('gcc', '-std=c17', '-O2', '-Wall', '-Wextra', '-o', path, source, ...flags);
  });
  return join(home, 'lossy-disk');
}

/** Our own disk: one file, for a loop device or for whoever writes and syncs it. */
export class LossyDisk {
  readonly #folder: string;
  readonly #gone: Promise<unknown>;

  private constructor(folder: string, gone: Promise<unknown>) {
    this.#folder = folder;
    this.#gone = gone;
  }

  /** Mounts it in a folder of its own. */
  static async start(folder: string, bytes: number): Promise<LossyDisk> {
    mkdirSync(folder, { recursive: true });
    const path = await builtLossyDisk();
    const started = spawn(path, [`${bytes}`, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const gone = once(started, 'exit');
    await Promise.race([
      once(started.stdout, 'data'),
      gone.then(() => Promise.reject(new Error('lossy-disk did not start'))),
    ]);
    return new LossyDisk(folder, gone);
  }

  get image(): string {
    return join(this.#folder, 'disk');
  }

  get #control(): string {
    return join(this.#folder, 'control');
  }

  get report(): CutReport {
    // In one read: it is another one a moment later, and may be longer.
    const control = openSync(this.#control, 'r');
    try {
      const bytes = Buffer.alloc(4096);
      const length = readSync(control, bytes, 0, bytes.length, 0);
      return JSON.parse(bytes.toString('utf8', 0, length)) as CutReport;
    } finally {
      closeSync(control);
    }
  }

  /** The power fails after so many more writes and syncs; at once for 0. */
  cut({ seed, keep, unit, after }: CutOrder): void {
    writeFileSync(this.#control, `cut ${seed} ${keep} ${unit} ${after}`);
  }

  /** After so many writes, `count` of them fail with EIO. */
  fail({ after, count }: { readonly after: number; readonly count: number }): void {
    writeFileSync(this.#control, `fail ${after} ${count}`);
  }

  /** Until the next cut, a sync does nothing. */
  lie(): void {
    writeFileSync(this.#control, 'lie');
  }

  async stop(): Promise<void> {
    await unmount(this.#folder);
    await this.#gone;
  }
}

class LossyExt4 implements CutDisk {
  readonly kind = 'ext4';
  readonly path: string;
  readonly #device: LossyDisk;

  private constructor(path: string, device: LossyDisk) {
    this.path = path;
    this.#device = device;
  }

  static async make(folder: string): Promise<LossyExt4> {
    const path = join(folder, 'ext4');
    mkdirSync(path, { recursive: true });
    const device = await LossyDisk.start(join(folder, 'device'), ext4Bytes);
    await run('mkfs.ext4', '-qF', '-b', '4096', '-J', 'size=4', '-E', 'nodiscard', device.image);
    await mountImage(device.image, path);
    return new LossyExt4(path, device);
  }

  async cut(random: Random, keepsNothing = false): Promise<CutReport> {
    const order = {
      seed: random.next32(),
      keep: keepsNothing ? 0 : 25 * random.below(4),
      unit: random.chance(0.5) ? 512 : 4096,
    };
    const { cuts } = this.#device.report;
    this.#device.cut({ ...order, after: random.below(afterMax) });
    for (const deadlineMs = performance.now() + afterMsMax; ; await pause(1)) {
      const { report } = this.#device;
      if (report.cuts > cuts) return report;
      // Nobody writes any more, as while a journal is read.
      if (performance.now() > deadlineMs) this.#device.cut({ ...order, after: 0 });
    }
  }

  async revive(): Promise<void> {
    await unmount(this.path);
    await mountImage(this.#device.image, this.path);
  }

  readonly lie = (): void => this.#device.lie();

  readonly failOnce = (random: Random): void =>
    this.#device.fail({ after: random.below(errorAfterMax), count: 1 });

  async remove(): Promise<void> {
    await unmount(this.path);
    await this.#device.stop();
  }
}

class ShutdownXfs implements CutDisk {
  readonly kind = 'xfs';
  readonly path: string;
  readonly #image: string;

  private constructor(folder: string) {
    this.path = join(folder, 'xfs');
    this.#image = join(folder, 'xfs.image');
  }

  static async make(folder: string): Promise<ShutdownXfs> {
    const disk = new ShutdownXfs(folder);
    mkdirSync(disk.path, { recursive: true });
    writeFileSync(disk.#image, '');
    truncateSync(disk.#image, xfsBytes);
    await run('mkfs.xfs', '-q', disk.#image);
    await mountImage(disk.#image, disk.path);
    return disk;
  }

  async cut(): Promise<undefined> {
    await run('xfs_io', '-x', '-c', 'shutdown', this.path);
  }

  async revive(): Promise<void> {
    await unmount(this.path);
    await mountImage(this.#image, this.path);
  }

  async remove(): Promise<void> {
    await unmount(this.path);
  }
}

export const makeDisk = (kind: CutDisk['kind'], folder: string): Promise<CutDisk> =>
  kind === 'ext4' ? LossyExt4.make(folder) : ShutdownXfs.make(folder);
