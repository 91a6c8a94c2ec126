// What a power cut left of one directory: names, and for each file the bytes on the platter with
// those units put over it that had reached it. Read-only; made by the hundred thousand, so nothing
// is copied that is not read.
import { basename } from 'node:path';
import type { Disk, DiskFile } from '../src/disk.ts';

export interface ImageFile {
  readonly size: number;
  readonly platter: Uint8Array;
  /** By sector: what stands there in the place of the platter's bytes. */
  readonly patches: ReadonlyMap<number, Uint8Array>;
}

export const sectorBytes = 512;

/** The bytes of a file from `at` on, as many as it has and `into` takes. */
export function readImage(file: ImageFile, into: Uint8Array, at: number): number {
  const length = Math.max(0, Math.min(into.length, file.size - at));
  const own = file.platter.subarray(at, at + length);
  into.set(own);
  if (own.length < length) into.fill(0, own.length, length);
  for (const [sector, bytes] of file.patches) {
    const start = sector * sectorBytes;
    const from = Math.max(start, at);
    const to = Math.min(start + bytes.length, at + length);
    if (from < to) into.set(bytes.subarray(from - start, to - start), from - at);
  }
  return length;
}

/** Whoever recovers an image only reads it. */
function refuse(): never {
  throw new Error('a crash image is only read');
}

const notFound = (path: string): Error =>
  Object.assign(new Error(`ENOENT: '${path}'`), { code: 'ENOENT' });

/** A disk that shows one directory with these files, by name. */
export function imageDisk(files: ReadonlyMap<string, ImageFile>): Disk {
  const open = (path: string): DiskFile => {
    const file = files.get(basename(path));
    if (!file) throw notFound(path);
    return {
      write: refuse,
      sync: refuse,
      syncAside: refuse,
      read: (into, position) => readImage(file, into, position),
      size: () => file.size,
      close: () => undefined,
    };
  };
  return {
    open,
    list: () => [...files.keys()].sort(),
    rename: refuse,
    remove: refuse,
    makeDirectory: refuse,
    syncDirectory: refuse,
    changeNames: refuse,
    freeBytes: refuse,
    lock: refuse,
    database: refuse,
    createZeroed: refuse,
  };
}
