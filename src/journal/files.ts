// Names in a journal directory. Segments are named by number so that `ls` sorts them.
import { join } from 'node:path';
import type { Disk } from '../disk.ts';

const segmentName = /^(\d{10})\.segment$/;
const spareName = /^spare-(\d{10})$/;

export const segmentPath = (directory: string, number: number): string =>
  join(directory, `${String(number).padStart(10, '0')}.segment`);

export const sparePath = (directory: string, number: number): string =>
  join(directory, `spare-${String(number).padStart(10, '0')}`);

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
