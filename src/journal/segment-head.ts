// The checkpoint that begins a segment: all that is read of one whose successor tells the rest.
import type { Disk } from '../disk.ts';
import { type BlockHeader, blockKind } from './block.ts';
import { BlockReader, headWindowBytes, payloadOf } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { segmentPath } from './files.ts';
import { type CheckpointNote, decodeNote } from './notes.ts';

/** The beginning of a segment: one block, in a group of its own. */
export interface Head {
  readonly number: number;
  readonly path: string;
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
    const reader = new BlockReader(file, headWindowBytes);
    const block = reader.read(0);
    const { header } = block ?? {};
    const isSound = header?.kind === blockKind.checkpoint && header.segment === number;
    if (!block || !header || !isSound || header.blocks !== 1) {
      throw new CorruptJournal(path, 0, 'no checkpoint begins it');
    }
    const note = decodeNote<CheckpointNote>(payloadOf(block));
    const size = reader.limit;
    const made = note.bytes ?? 0;
    if (size < made) throw new CorruptJournal(path, size, `it was made with ${made} bytes`);
    return { number, path, size, header, note, end: block.next };
  } finally {
    file.close();
  }
}
