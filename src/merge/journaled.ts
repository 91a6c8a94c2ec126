// All that the journal still has of a stream, block after block, headers alone: to look at it once,
// before anything is brought from there to the target.
import type { Disk } from '../disk.ts';
import { BlockReader, type ReadBlock } from '../journal/block-reader.ts';
import { openStreamFile } from '../journal/files.ts';

export interface JournaledStream {
  readonly disk: Disk;
  readonly directory: string;
  /** The stream's id in the journal. */
  readonly id: number;
}

/** Blocks of other streams, too; the reader can make one whole until the next is asked for. */
export function* blocksOf({ disk, directory, id }: JournaledStream): Generator<{
  readonly block: ReadBlock;
  readonly reader: BlockReader;
  /** Of the segment, or of what was copied of it for a held stream. */
  readonly path: string;
}> {
  for (let number = 0; ; number++) {
    const found = openStreamFile(disk, directory, { stream: id, number });
    if (!found) return;
    const { file, path } = found;
    number = found.number;
    try {
      const reader = new BlockReader(file);
      const salt = reader.read(0)?.header.salt;
      for (let at = 0; ; ) {
        const block = reader.read(at, true);
        if (!block || block.header.salt !== salt) break;
        at = block.next;
        yield { block, reader, path };
      }
    } finally {
      file.close();
    }
  }
}
