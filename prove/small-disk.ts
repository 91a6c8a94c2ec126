// A small file system of its own for one attack: of memory, or XFS in a file, which writes as much
// as fits before it says that nothing more does. Both want root.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { isShortage } from '../src/journal/disk-failure.ts';

export type FileSystem = 'tmpfs' | 'xfs';

/** So much that no process takes all of it by itself before it is struck. */
const tmpfsBytes = 128 * 1024 * 1024;
/** The smallest that mkfs.xfs makes. */
const xfsBytes = 300 * 1024 * 1024;
/** Filled in small steps: what is free is not all to be had at once. */
const lastBytes = 512 * 1024;
const stepBytes = 16 * 1024;

const run = (command: string, ...args: string[]): void => {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
};

export class SmallDisk {
  readonly path: string;
  readonly #image: string;
  readonly #kind: FileSystem;

  /** Throws where it cannot be had. */
  constructor(root: string, kind: FileSystem) {
    this.path = join(root, kind);
    this.#image = join(root, `${kind}.image`);
    this.#kind = kind;
    mkdirSync(this.path);
    if (kind === 'tmpfs') run('mount', '-t', 'tmpfs', '-o', `size=${tmpfsBytes}`, kind, this.path);
    else {
      run('truncate', '-s', String(xfsBytes), this.#image);
      run('mkfs.xfs', '-q', this.#image);
      this.mount();
    }
    process.once('exit', this.#unmount);
  }

  mount(): void {
    run('mount', '-o', 'loop', this.#image, this.path);
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.path);
    return bavail * bsize;
  }

  /** Takes all room but so much, or as little as the file system gives up. */
  fill(leftBytes: number): void {
    const path = join(this.path, 'ballast');
    run('fallocate', '-l', String(Math.max(1, this.freeBytes - lastBytes)), path);
    const ballast = openSync(path, 'a');
    try {
      while (this.freeBytes > leftBytes) writeSync(ballast, Buffer.alloc(stepBytes, 1));
    } catch (error) {
      if (!isShortage(error)) throw error;
    } finally {
      closeSync(ballast);
    }
  }

  relieve(): void {
    rmSync(join(this.path, 'ballast'));
  }

  /** tmpfs: says that its size is another one. */
  resize(bytes: number): void {
    run('mount', '-o', `remount,size=${bytes}`, this.path);
  }

  /** Nobody may have a file open for writing. */
  setReadOnly(isReadOnly: boolean): void {
    run('mount', '-o', `remount,${isReadOnly ? 'ro' : 'rw'}`, this.path);
  }

  /** XFS: every call fails from now on, as on a disk that is gone; then mounts it anew. */
  shutDown(): void {
    run('xfs_io', '-x', '-c', 'shutdown -f', this.path);
  }

  remount(): void {
    run('umount', this.path);
    this.mount();
  }

  remove(): void {
    process.removeListener('exit', this.#unmount);
    this.#unmount();
    rmSync(this.path, { recursive: true, force: true });
    rmSync(this.#image, { force: true });
  }

  // Lazily: a process that still holds a file there must not keep the mount.
  readonly #unmount = (): void => run('umount', '-l', this.path);

  get kind(): FileSystem {
    return this.#kind;
  }
}
