// The only file that touches node:fs for the journal. Calls are synchronous on purpose: one
// thread owns the journal, and a call that returned has an order (HOTPATH: libuv's pool costs 26
// µs a sync). What takes long while others have work to do, zeroing and the syncs of a busy
// journal, leaves the thread free.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** An open file. Offsets and lengths in bytes. Errors are Node's, with `code` (ENOSPC, EIO …). */
export interface DiskFile {
  /** May write less than given; returns how many bytes. Not durable until `sync` returned. */
  write(bytes: Uint8Array, position: number): number;
  /**
   * fdatasync: all bytes written before are durable when it returns. After an error nothing is
   * known.
   */
  sync(): void;
  /** The same, while the thread goes on. Nothing is asked of the file until it has settled. */
  syncAside(): Promise<void>;
  /** Fills `into` from `position`; returns how many bytes there were. */
  read(into: Uint8Array, position: number): number;
  size(): number;
  close(): void;
}

export type OpenMode =
  /** New file for reading and writing; fails if it exists. */
  | 'create'
  /** Existing file for reading and writing. */
  | 'write'
  | 'read';

/** A lock that the kernel releases when its owner dies. */
export interface DiskLock {
  release(): void;
}

export interface Disk {
  open(path: string, mode: OpenMode): DiskFile;
  /** Names in a directory, sorted; [] where it does not exist. */
  list(directory: string): string[];
  /** Durable after `syncDirectory` of the directory. */
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** With parents; each new name is durable when it returns. */
  makeDirectory(path: string): void;
  syncDirectory(path: string): void;
  /**
   * Makes a change of a directory's names, and makes it durable. The directory is opened for its
   * sync first: where no descriptor is left for that, nothing is changed.
   */
  changeNames(directory: string, change: () => void): void;
  /** Bytes that this process may still write there. */
  freeBytes(directory: string): number;
  /** Takes the lock, or returns undefined where another process or this one holds it. */
  lock(path: string): DiskLock | undefined;
  /**
   * An SQLite database of this process alone, whose committed transactions are durable
   * (synchronous=FULL).
   */
  database(path: string): DatabaseSync;
  /**
   * Creates a file of `bytes` zeros under `path` and syncs it, in steps that leave the thread free.
   * Durable (content, not name) when it resolves. Leaves no file behind when it rejects.
   */
  createZeroed(path: string, bytes: number): Promise<void>;
}

const fileOf = (descriptor: number): DiskFile => ({
  write: (bytes, position) => fs.writeSync(descriptor, bytes, 0, bytes.length, position),
  sync: () => fs.fdatasyncSync(descriptor),
  syncAside: () =>
    new Promise((resolve, reject) => {
      fs.fdatasync(descriptor, (error) => (error ? reject(error) : resolve()));
    }),
  read: (into, position) => {
    let done = 0;
    while (done < into.length) {
      const n = fs.readSync(descriptor, into, done, into.length - done, position + done);
      if (n === 0) break;
      done += n;
    }
    return done;
  },
  size: () => fs.fstatSync(descriptor).size,
  close: () => fs.closeSync(descriptor),
});

const flags: Readonly<Record<OpenMode, string>> = { create: 'wx+', write: 'r+', read: 'r' };
/**
 * Small, so that syncs of other files do not wait long beside it; not smaller, for a disk whose
 * syncs take 5 ms zeroes 100 MB/s so.
 */
const zeroStepBytes = 512 * 1024;

function changeNames(path: string, change: () => void): void {
  const descriptor = fs.openSync(path, 'r');
  try {
    change();
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

const syncDirectory = (path: string): void => changeNames(path, () => undefined);

function makeDirectory(path: string): void {
  const first = fs.mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  for (let at = path; ; at = join(at, '..')) {
    syncDirectory(join(at, '..'));
    if (at === first) return;
  }
}

async function createZeroed(path: string, bytes: number): Promise<void> {
  const file = await fs.promises.open(path, 'wx');
  try {
    const zeros = new Uint8Array(zeroStepBytes);
    for (let at = 0; at < bytes; ) {
      const step = Math.min(zeroStepBytes, bytes - at);
      at += (await file.write(zeros, 0, step, at)).bytesWritten;
      // A sync per step keeps each one short, so that nobody's acknowledgement waits behind 64 MiB.
      await file.datasync();
    }
    await file.sync();
  } catch (error) {
    await file.close();
    await fs.promises.unlink(path);
    throw error;
  }
  await file.close();
}

function lock(path: string): DiskLock | undefined {
  // SQLite's lock is a POSIX lock: the kernel drops it with the process, and also when this process
  // closes *any* descriptor of the file, so nothing else may ever open it (P21).
  const database = new DatabaseSync(path);
  try {
    database.exec('PRAGMA locking_mode=EXCLUSIVE; PRAGMA busy_timeout=0; BEGIN EXCLUSIVE');
  } catch (error) {
    database.close();
    if (error instanceof Error && /locked|busy/i.test(error.message)) return undefined;
    throw error;
  }
  return { release: () => database.close() };
}

export const systemDisk: Disk = {
  open: (path, mode) => fileOf(fs.openSync(path, flags[mode])),
  list: (directory) => (fs.existsSync(directory) ? fs.readdirSync(directory).sort() : []),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.unlinkSync(path),
  makeDirectory,
  syncDirectory,
  changeNames,
  freeBytes: (directory) => {
    const { bavail, bsize } = fs.statfsSync(directory);
    return bavail * bsize;
  },
  lock,
  database: (path) => {
    const database = new DatabaseSync(path);
    try {
      // Alone first, then WAL: so its index is no file mapped into memory, of which a dead disk
      // makes a SIGBUS (https://www.sqlite.org/wal.html#use_of_wal_without_shared_memory). The
      // timeout before both: an owner that is just ending is waited for.
      database.exec(
        'PRAGMA busy_timeout=5000; PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; ' +
          'PRAGMA synchronous=FULL',
      );
    } catch (error) {
      database.close();
      throw error;
    }
    return database;
  },
  createZeroed,
};
