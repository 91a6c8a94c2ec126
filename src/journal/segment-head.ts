// The checkpoint that begins a file of the journal: all that is read of a segment whose successor
// tells the rest; and where a file must end.
import type { Disk, DiskFile } from '../disk.ts';
import { type BlockHeader, blockKind } from './block.ts';
import { BlockReader, headWindowBytes, payloadOf } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { type StreamFile, segmentPath, streamFiles } from './files.ts';
import { type CheckpointNote, decodeNote } from './notes.ts';

/** The beginning of a file: one block, in a group of its own. */
export interface Head extends StreamFile {
  readonly size: number;
  readonly header: BlockHeader;
  readonly note: CheckpointNote;
  /** Where the checkpoint ends. */
  readonly end: number;
}

export interface Opened {
  readonly file: DiskFile;
  readonly head: Head;
}

function openFile(disk: Disk, of: StreamFile): Opened {
  const file = disk.open(of.path, 'read');
  try {
    return { file, head: headOf(file, of) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Opens a segment, however long it is; throws CorruptJournal where it begins as none does. */
export const openSegment = (disk: Disk, directory: string, number: number): Opened =>
  openFile(disk, { number, path: segmentPath(directory, number), isCopy: false });

/** Reads the beginning of a segment; throws CorruptJournal where it is none, or is too short. */
export function readHead(disk: Disk, directory: string, number: number): Head {
  const { file, head } = openSegment(disk, directory, number);
  file.close();
  const made = head.note.bytes ?? 0;
  if (head.size >= made) return head;
  throw new CorruptJournal(head.path, head.size, `it was made with ${made} bytes`);
}

function headOf(file: DiskFile, of: StreamFile): Head {
  const { number, path, isCopy } = of;
  // A reader of its own: its window may hold bytes that are not written yet.
  const reader = new BlockReader(file, headWindowBytes);
  const block = reader.read(0);
  const { header } = block ?? {};
  const isSound = header?.kind === blockKind.checkpoint && header.segment === number;
  if (!block || !header || !isSound || header.blocks !== 1) {
    throw new CorruptJournal(path, 0, 'no checkpoint begins it');
  }
  const note = decodeNote<CheckpointNote>(payloadOf(block));
  return { number, path, isCopy, size: reader.limit, header, note, end: block.next };
}

/**
 * Opens the first of a stream's files whose number is `number` or more; undefined where there is
 * none. The journal may drop files meanwhile, and make other segments of them: what is gone was
 * copied aside or is not needed. Throws CorruptJournal where one that is there begins as none does.
 */
export function openStreamFile(
  disk: Disk,
  directory: string,
  of: { readonly stream: number; readonly number: number },
): Opened | undefined {
  const find = (): StreamFile | undefined =>
    streamFiles(disk, directory, of.stream).find((one) => one.number >= of.number);
  for (let found = find(); found; found = find()) {
    try {
      return openFile(disk, found);
    } catch (error) {
      if (find()?.path === found.path) throw error;
    }
  }
  return undefined;
}

/** Whether an open file has not become another segment since. */
export function isStill({ file, head: { header } }: Opened): boolean {
  return new BlockReader(file, headWindowBytes).read(0)?.header.salt === header.salt;
}

/**
 * Throws CorruptJournal where the sound blocks of a file end at `end`, and should not: a copy has
 * nothing but blocks, a segment goes to where the next one was begun. A segment that was dropped
 * meanwhile may end anywhere.
 */
export function mustEndAt(opened: Opened, end: number, next: Head): void {
  const { path, number, size, isCopy } = opened.head;
  const { segment, offset } = next.header.durable;
  const isSealed = next.number === number + 1;
  const isEnd = isCopy ? end === size : !isSealed || (segment === number && offset === end);
  if (!isEnd && isStill(opened)) throw new CorruptJournal(path, end, 'no sound block');
}
