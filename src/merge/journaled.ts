// What the journal still has of a stream, block after block, headers alone: to look at it once,
// before anything is brought from there to the target.
import type { Disk } from '../disk.ts';
import { BlockReader, type ReadBlock } from '../journal/block-reader.ts';
import { isStill, mustEndAt, type Opened, openStreamFile } from '../journal/segment-head.ts';

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
}

/**
 * Blocks of all streams, in order; some come twice where the journal drops a file meanwhile.
 * `isWanted` hears where the stream's lanes stood when a file was begun and when the next one was,
 * if there is one; of a file that is not wanted only its beginning is read. Throws CorruptJournal
 * where a file does not begin, or end, as it must.
 */
export function* blocksOf(
  stream: JournaledStream,
  isWanted: (from: ArrayLike<number>, to: ArrayLike<number> | undefined) => boolean = () => true,
): Generator<JournaledBlock> {
  const lastOf = ({ head: { note } }: Opened): ArrayLike<number> =>
    note.marks.find((mark) => mark.stream === stream.id)?.last ?? [];
  let next = openFile(stream, 0);
  try {
    while (next) {
      const own: Opened = next;
      next = undefined;
      try {
        next = openFile(stream, own.head.number + 1);
        if (!isWanted(lastOf(own), next && lastOf(next))) continue;
        const end = yield* blocksIn(own);
        if (isStill(own)) {
          if (next) mustEndAt(own, end, next.head);
        } else {
          // It has become another segment: what it had for the stream was copied aside, if any.
          next?.file.close();
          next = undefined;
          next = openFile(stream, own.head.number);
        }
      } finally {
        own.file.close();
      }
    }
  } finally {
    next?.file.close();
  }
}

const openFile = ({ disk, directory, id }: JournaledStream, number: number): Opened | undefined =>
  openStreamFile(disk, directory, { stream: id, number });

/** Returns where the file's blocks end. */
function* blocksIn({ file, head }: Opened): Generator<JournaledBlock, number> {
  const reader = new BlockReader(file);
  for (let at = 0; ; ) {
    const block = reader.read(at, true);
    if (block?.header.segment !== head.number || block.header.salt !== head.header.salt) return at;
    at = block.next;
    yield { block, reader };
  }
}
