// What the journal still has of a stream, block after block, headers alone: to look at it once,
// before anything is brought from there to the target.
import type { Disk, DiskFile } from '../disk.ts';
import { blockKind } from '../journal/block.ts';
import {
  BlockReader,
  headWindowBytes,
  payloadOf,
  type ReadBlock,
} from '../journal/block-reader.ts';
import { openStreamFile } from '../journal/files.ts';
import { type CheckpointNote, decodeNote } from '../journal/notes.ts';

export interface JournaledStream {
  readonly disk: Disk;
  readonly directory: string;
  /** The stream's id in the journal. */
  readonly id: number;
}

export interface JournaledBlock {
  readonly block: ReadBlock;
  /** Can make the block whole until the next is asked for. */
  readonly reader: BlockReader;
  /** Of the segment, or of what was copied of it for a held stream. */
  readonly path: string;
}

/**
 * Blocks of all streams, in order. `isWanted` hears where the stream's lanes stood when a file was
 * begun and when the next one was, if there is one; of a file that is not wanted only its beginning
 * is read.
 */
export function* blocksOf(
  { disk, directory, id }: JournaledStream,
  isWanted: (from: ArrayLike<number>, to: ArrayLike<number> | undefined) => boolean = () => true,
): Generator<JournaledBlock> {
  let next = openStreamFile(disk, directory, { stream: id, number: 0 });
  try {
    while (next) {
      const { number, path, file } = next;
      next = undefined;
      try {
        next = openStreamFile(disk, directory, { stream: id, number: number + 1 });
        const to = next && lastOf(next.file, id);
        if (isWanted(lastOf(file, id), to)) yield* blocksIn(file, path);
      } finally {
        file.close();
      }
    }
  } finally {
    next?.file.close();
  }
}

/** Where the stream's lanes stood when the file was begun. */
function lastOf(file: DiskFile, stream: number): ArrayLike<number> {
  const block = new BlockReader(file, headWindowBytes).read(0);
  if (block?.header.kind !== blockKind.checkpoint) return [];
  const { marks } = decodeNote<CheckpointNote>(payloadOf(block));
  return marks.find((mark) => mark.stream === stream)?.last ?? [];
}

function* blocksIn(file: DiskFile, path: string): Generator<JournaledBlock> {
  const reader = new BlockReader(file);
  const salt = reader.read(0)?.header.salt;
  for (let at = 0; ; ) {
    const block = reader.read(at, true);
    if (!block || block.header.salt !== salt) return;
    at = block.next;
    yield { block, reader, path };
  }
}
