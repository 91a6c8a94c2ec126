// The checkpoint that begins a file of the journal: all that is read of a segment whose successor
// tells the rest; and where a file must end.
import type { Disk, DiskFile } from '../disk.ts';
import { type BlockHeader, blockKind } from './block.ts';
import { BlockReader, headWindowBytes, payloadOf } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { type StreamFile, segmentPath } from './files.ts';
import { type CheckpointNote, decodeNote } from './notes.ts';

/** The beginning of a file: one block, in a group of its own. */
export interface Head extends StreamFile {
  readonly size: number;
  readonly header: BlockHeader;
  readonly note: CheckpointNote;
  /** Where the checkpoint ends. */
  readonly end: number;
}

/** Reads the beginning of a segment; throws CorruptJournal where it is none, or is too short. */
export function readHead(disk: Disk, directory: string, number: number): Head {
  const path = segmentPath(directory, number);
  const file = disk.open(path, 'read');
  try {
    const head = headOf(file, { number, path, isCopy: false });
    const made = head.note.bytes ?? 0;
    if (head.size >= made) return head;
    throw new CorruptJournal(path, head.size, `it was made with ${made} bytes`);
  } finally {
    file.close();
  }
}

/** The same of a file that is open, however long it is. */
export function headOf(file: DiskFile, of: StreamFile): Head {
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
 * Throws CorruptJournal where the sound blocks of a file end at `end`, and should not: a copy has
 * nothing but blocks, a segment goes to where the next one was begun.
 */
export function mustEndAt(head: Head, end: number, next: Head): void {
  const { path, number, size, isCopy } = head;
  const { segment, offset } = next.header.durable;
  const isSealed = next.number === number + 1;
  const isEnd = isCopy ? end === size : !isSealed || (segment === number && offset === end);
  if (!isEnd) throw new CorruptJournal(path, end, 'no sound block');
}
