// Names in a journal directory. Segments are named by number so that `ls` sorts them.
import { join } from 'node:path';
import type { Disk } from '../disk.ts';

const segmentName = /^(\d{10})\.segment$/;
const heldName = /^(\d{10})\.held-(\d+)$/;
const spareName = /^spare-(\d{10})$/;

export const segmentPath = (directory: string, number: number): string =>
  join(directory, `${String(number).padStart(10, '0')}.segment`);

export const sparePath = (directory: string, number: number): string =>
  join(directory, `spare-${String(number).padStart(10, '0')}`);

/** What a held stream needs of a segment that was dropped (held.ts). */
export const heldPath = (directory: string, number: number, stream: number): string =>
  join(directory, `${String(number).padStart(10, '0')}.held-${stream}`);

const numbers = (names: readonly string[], pattern: RegExp): number[] =>
  names.flatMap((name) => {
    const found = pattern.exec(name)?.[1];
    return found === undefined ? [] : [Number(found)];
  });

/** The numbers of the segments, ascending. */
export const segmentNumbers = (disk: Disk, directory: string): number[] =>
  numbers(disk.list(directory), segmentName);

/** The numbers of the prepared files that wait to become segments, ascending. */
export const spareNumbers = (disk: Disk, directory: string): number[] =>
  numbers(disk.list(directory), spareName);

/** The copies made for held streams, by segment number. */
export const heldFiles = (
  disk: Disk,
  directory: string,
): { readonly number: number; readonly stream: number }[] =>
  disk.list(directory).flatMap((name) => {
    const [, number, stream] = heldName.exec(name) ?? [];
    return number === undefined ? [] : [{ number: Number(number), stream: Number(stream) }];
  });

/** A segment, or what was copied of one for a held stream. */
export interface StreamFile {
  readonly number: number;
  readonly path: string;
  readonly isCopy: boolean;
}

/**
 * Where a stream's records stand, oldest first: the segments, and before them copies made for it.
 */
export function streamFiles(disk: Disk, directory: string, stream: number): StreamFile[] {
  const segments = segmentNumbers(disk, directory);
  const oldest = segments[0] ?? Number.POSITIVE_INFINITY;
  const copies = heldFiles(disk, directory).filter(
    (held) => held.stream === stream && held.number < oldest,
  );
  return [
    ...copies.map(({ number }) => {
      return { number, path: heldPath(directory, number, stream), isCopy: true };
    }),
    ...segments.map((number) => {
      return { number, path: segmentPath(directory, number), isCopy: false };
    }),
  ];
}
