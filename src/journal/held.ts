// Copies of what a held stream still needs of segments that everybody else is done with (P18): a
// trickle of rows for a target that is down lies in every segment, and would pin them all. A copy
// has the segment's number, its checkpoint and dictionary blocks, and the stream's blocks that
// are not confirmed, byte for byte, in order; feeds read it in the place of the segment. It is
// durable before the segment is dropped; where a crash leaves both, the segment is read.
import { join } from 'node:path';
import type { Disk } from '../disk.ts';
import { type BlockHeader, blockBytes, blockKind, headerBytes } from './block.ts';
import { BlockReader, type ReadBlock } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { heldFiles, heldPath, segmentPath } from './files.ts';
import type { StreamMark } from './notes.ts';
import { type Segment, writeAll } from './segments.ts';

interface Held {
  readonly number: number;
  readonly stream: number;
  readonly bytes: number;
  /** The last sequence that it holds, per lane. */
  readonly last: ReadonlyMap<number, number>;
  /** One that is damaged stays: it may have records behind that. */
  readonly isWhole: boolean;
}

type Confirmed = ReadonlyMap<number, Float64Array>;

export class HeldCopies {
  readonly #disk: Disk;
  readonly #directory: string;
  #list: Held[] = [];

  constructor(disk: Disk, directory: string) {
    this.#disk = disk;
    this.#directory = directory;
  }

  get bytes(): number {
    return this.#list.reduce((sum, held) => sum + held.bytes, 0);
  }

  bytesOf(stream: number): number {
    return this.#list.reduce((sum, held) => sum + (held.stream === stream ? held.bytes : 0), 0);
  }

  /** Takes up the copies that are in the directory. */
  find(): void {
    for (const name of this.#disk.list(this.#directory)) {
      if (/\.held-\d+\.tmp$/.test(name)) this.#disk.remove(join(this.#directory, name));
    }
    this.#list = heldFiles(this.#disk, this.#directory).map(({ number, stream }) => {
      const path = heldPath(this.#directory, number, stream);
      const last = new Map<number, number>();
      const { end, size } = eachBlock(this.#disk, path, ({ header }) => note(last, header));
      return { number, stream, bytes: size, last, isWhole: end > 0 && end === size };
    });
  }

  /**
   * Copies what the streams need of a segment, up to where they stood when the next one began.
   * Durable when it returns. Throws CorruptJournal where the segment does not have all of it.
   */
  copy(segment: Segment, marks: readonly StreamMark[], confirmed: Confirmed): void {
    for (const mark of marks) this.#copyOne(segment, mark, confirmed.get(mark.stream));
    this.#disk.syncDirectory(this.#directory);
  }

  /** Removes the copies whose records are all confirmed. */
  dropConfirmed(confirmed: Confirmed): void {
    const isDone = ({ stream, last, isWhole }: Held): boolean =>
      isWhole &&
      [...last].every(([lane, sequence]) => (confirmed.get(stream)?.[lane] ?? 0) >= sequence);
    const done = this.#list.filter(isDone);
    for (const { number, stream } of done) {
      this.#disk.remove(heldPath(this.#directory, number, stream));
    }
    if (done.length > 0) this.#list = this.#list.filter((held) => !done.includes(held));
  }

  #copyOne(
    { number, marks }: Segment,
    { stream, last: wanted }: StreamMark,
    confirmed: Float64Array | undefined,
  ): void {
    const before = marks.find((mark) => mark.stream === stream)?.last ?? [];
    const from = segmentPath(this.#directory, number);
    const path = heldPath(this.#directory, number, stream);
    const unfinished = `${path}.tmp`;
    const to = this.#disk.open(unfinished, 'create');
    const last = new Map<number, number>();
    let bytes = 0;
    try {
      const { end } = eachBlock(this.#disk, from, (head, reader) => {
        if (!isNeeded(head.header, stream, confirmed)) return;
        const block = reader.whole(head);
        if (!block) throw new CorruptJournal(from, head.offset, 'no sound block');
        const start = block.start - headerBytes;
        const length = blockBytes(block.header.payloadBytes);
        writeAll(to, block.window.bytes.subarray(start, start + length), bytes);
        bytes += length;
        note(last, block.header);
      });
      const isThere = (sequence: number, lane: number): boolean =>
        sequence <= Math.max(last.get(lane) ?? 0, before[lane] ?? 0, confirmed?.[lane] ?? 0);
      if (!wanted.every(isThere)) throw new CorruptJournal(from, end, 'no sound block');
      to.sync();
    } catch (error) {
      to.close();
      this.#disk.remove(unfinished);
      throw error;
    }
    to.close();
    this.#disk.rename(unfinished, path);
    // A drop that did not come about is tried again: the new copy stands in the place of the old.
    this.#list = this.#list.filter((held) => held.number !== number || held.stream !== stream);
    this.#list.push({ number, stream, bytes, last, isWhole: true });
  }
}

const isRecords = ({ kind }: BlockHeader): boolean =>
  kind === blockKind.rows || kind === blockKind.undecoded;

function isNeeded(header: BlockHeader, stream: number, confirmed?: Float64Array): boolean {
  if (header.kind === blockKind.checkpoint || header.kind === blockKind.dictionary) return true;
  if (!isRecords(header) || header.stream !== stream) return false;
  return header.first + header.rowCount - 1 > (confirmed?.[header.lane] ?? 0);
}

function note(last: Map<number, number>, header: BlockHeader): void {
  if (isRecords(header)) last.set(header.lane, header.first + header.rowCount - 1);
}

/** Hands over the blocks of a segment or a copy, in order, headers alone; and where they end. */
function eachBlock(
  disk: Disk,
  path: string,
  use: (block: ReadBlock, reader: BlockReader) => void,
): { readonly end: number; readonly size: number } {
  const file = disk.open(path, 'read');
  try {
    const reader = new BlockReader(file);
    const salt = reader.read(0)?.header.salt;
    for (let end = 0; ; ) {
      const block = reader.read(end, true);
      if (!block || block.header.salt !== salt) return { end, size: reader.limit };
      end = block.next;
      use(block, reader);
    }
  } finally {
    file.close();
  }
}
