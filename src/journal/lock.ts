// One owner (I6): a lock that the kernel releases with the process, and beside it, in another
// file, who the owner is. Nothing but `disk.lock` ever opens the lock file: with SQLite's POSIX
// lock, the owner's own second descriptor on it would release it silently (P21).
import { join } from 'node:path';
import type { Disk, DiskLock } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { writeAll } from './segments.ts';

/** Who owns a journal, and where its HTTP address is if it serves one. */
export interface Owner {
  readonly pid: number;
  readonly url?: string;
}

const ownerPath = (directory: string): string => join(directory, 'owner.json');

/** Replaces the note of who owns the journal. Advisory: the lock alone decides. */
export function announceOwner(disk: Disk, directory: string, owner: Owner): void {
  const path = ownerPath(directory);
  const bytes = Buffer.from(`${JSON.stringify(owner)}\n`);
  const file = disk.open(`${path}.tmp`, 'create');
  writeAll(file, bytes, 0);
  file.close();
  disk.rename(`${path}.tmp`, path);
}

/** The last announced owner; undefined where there is none. It may be dead: ask the lock. */
export function readOwner(disk: Disk, directory: string): Owner | undefined {
  if (!disk.list(directory).includes('owner.json')) return undefined;
  const file = disk.open(ownerPath(directory), 'read');
  try {
    const bytes = new Uint8Array(file.size());
    file.read(bytes, 0);
    const text = Buffer.from(bytes).toString().trim();
    return text === '' ? undefined : (JSON.parse(text) as Owner);
  } finally {
    file.close();
  }
}

/** Takes the lock or throws HF_JOURNAL_LOCKED with the owner's pid. */
export function lockJournal(disk: Disk, directory: string, owner: Owner): DiskLock {
  const lock = disk.lock(join(directory, 'lock'));
  if (!lock) {
    const pid = readOwner(disk, directory)?.pid;
    const who = pid === undefined ? 'another process' : `process ${pid}`;
    throw new HoldfastError(
      'HF_JOURNAL_LOCKED',
      `Journal directory "${directory}" is held by ${who}. Stop it or open another directory.`,
    );
  }
  try {
    if (disk.list(directory).includes('owner.json.tmp')) disk.remove(`${ownerPath(directory)}.tmp`);
    announceOwner(disk, directory, owner);
  } catch (error) {
    lock.release();
    throw error;
  }
  return lock;
}
