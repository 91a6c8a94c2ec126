// Reads a stream's records back from the journal, for some of its lanes, in order, as far as the
// journal is durable. It never sees a byte that was not synced, and whatever the backlog, holds
// one batch. Damage at rest is found here: every block is of this life of its segment and sound,
// every lane goes on without a gap, and every segment ends where the next one says.
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { type BlockHeader, blockKind, comparePositions, type Position } from '../journal/block.ts';
import { BlockReader, payloadOf, type ReadBlock } from '../journal/block-reader.ts';
import { CorruptJournal } from '../journal/corrupt.ts';
import { Dictionary } from '../journal/dictionary.ts';
import { streamFiles } from '../journal/files.ts';
import { type CheckpointNote, type DictionaryNote, decodeNote } from '../journal/notes.ts';
import { isStill, mustEndAt, type Opened, openStreamFile } from '../journal/segment-head.ts';

export interface FeedOptions {
  readonly disk: Disk;
  readonly directory: string;
  readonly stream: number;
  readonly serves: (lane: number) => boolean;
}

/**
 * Takes a block; answers whether the batch has room for more. False without taking: it is given
 * again.
 */
export type BlockSink = (block: ReadBlock) => 'more' | 'full' | 'later';

export class Feed {
  readonly #options: FeedOptions;
  readonly dictionary = new Dictionary();
  /** The next sequence wanted per lane, less one. */
  readonly #taken: Float64Array;
  #position: Position = { segment: 0, offset: 0 };
  #end: Position = { segment: 0, offset: 0 };
  #opened: Opened | undefined;
  #reader: BlockReader | undefined;

  constructor(options: FeedOptions, lanes: number) {
    this.#options = options;
    this.#taken = new Float64Array(lanes);
  }

  /** The journal is durable up to here. */
  extend(end: Position): void {
    if (comparePositions(end, this.#end) > 0) this.#end = end;
  }

  /** Goes to where the records after `settled` begin: the newest segment that began before them. */
  seek(settled: ArrayLike<number>): void {
    this.#taken.set(settled);
    const { disk, directory, stream } = this.#options;
    let oldest: CheckpointNote | undefined;
    for (const { number } of streamFiles(disk, directory, stream).reverse()) {
      const { note } = this.#enter(number).head;
      oldest = note;
      const mark = note.marks.find(({ stream }) => stream === this.#options.stream);
      const isBefore = mark?.last.every(
        (last, lane) => !this.#options.serves(lane) || last <= (settled[lane] ?? 0),
      );
      // A segment that does not know the stream began before its first record.
      if (isBefore ?? true) return;
    }
    if (oldest) this.#mustContinue(oldest);
  }

  /** Goes to the beginning of a segment, to read all that the stream has from there on. */
  seekSegment(number: number): void {
    const { note } = this.#enter(number).head;
    const mark = note.marks.find(({ stream }) => stream === this.#options.stream);
    this.#taken.fill(0);
    if (mark) this.#taken.set(mark.last);
  }

  /**
   * Hands over the blocks that come next until the sink is full or the durable end is reached.
   * True where it is reached.
   */
  read(sink: BlockSink): boolean {
    while (comparePositions(this.#position, this.#end) < 0) {
      const { segment, offset } = this.#position;
      const reader = this.#reader;
      if (!reader) {
        this.#mustContinue(this.#enter(0).head.note);
        continue;
      }
      // A copy has fewer blocks, and all are durable: where the journal ends says nothing of it.
      const isLast = segment >= this.#end.segment && this.#opened?.head.isCopy === false;
      reader.limit = isLast ? this.#end.offset : this.#fileSize();
      const head = reader.read(offset, true);
      if (!head || !this.#isOfThisLife(head.header)) {
        // Behind the last block of a segment that has a successor.
        if (isLast && this.#isStill) throw this.#corrupt(offset);
        this.#goOn();
        continue;
      }
      const answer = this.#give(reader, head, sink);
      if (answer === 'gone') {
        this.#goAgain();
        continue;
      }
      if (answer === 'later') return false;
      this.#position = { segment, offset: head.next };
      if (answer === 'full') return false;
    }
    return true;
  }

  close(): void {
    this.#opened?.file.close();
    this.#opened = undefined;
    this.#reader = undefined;
  }

  /** 'gone' where the file became another segment while it was read. */
  #give(reader: BlockReader, head: ReadBlock, sink: BlockSink): ReturnType<BlockSink> | 'gone' {
    const { kind, stream, lane, first, rowCount } = head.header;
    if (kind === blockKind.dictionary) {
      const block = this.#whole(reader, head);
      if (!block) return 'gone';
      this.dictionary.learn(decodeNote<DictionaryNote>(payloadOf(block)));
      return 'more';
    }
    const isRecords = kind === blockKind.rows || kind === blockKind.undecoded;
    if (!isRecords || stream !== this.#options.stream || !this.#options.serves(lane)) return 'more';
    const taken = this.#taken[lane] ?? 0;
    if (first + rowCount - 1 <= taken) return 'more';
    if (first !== taken + 1) throw gone(lane, taken, first);
    const block = this.#whole(reader, head);
    if (!block) return 'gone';
    const answer = sink(block);
    if (answer !== 'later') this.#taken[lane] = first + rowCount - 1;
    return answer;
  }

  #whole(reader: BlockReader, head: ReadBlock): ReadBlock | undefined {
    const block = reader.whole(head);
    if (!block && this.#isStill) throw this.#corrupt(head.offset);
    return block;
  }

  get #isStill(): boolean {
    return this.#opened !== undefined && isStill(this.#opened);
  }

  /** What a file that became another segment had for us was copied aside, or was taken. */
  #goAgain(): void {
    this.#mustContinue(this.#enter(this.#position.segment).head.note);
  }

  /**
   * What a segment has behind it was taken, or is gone: a target may have gone back further than
   * the journal reaches (P3), and no later record need be there to show it.
   */
  #mustContinue({ marks }: CheckpointNote): void {
    const mark = marks.find(({ stream }) => stream === this.#options.stream);
    mark?.last.forEach((last, lane) => {
      const taken = this.#taken[lane] ?? 0;
      if (this.#options.serves(lane) && last > taken) throw gone(lane, taken, last + 1);
    });
  }

  #isOfThisLife({ segment, salt }: BlockHeader): boolean {
    const { number, header } = this.#opened?.head ?? {};
    return segment === number && salt === header?.salt;
  }

  /** Goes to the segment behind this one, which must end here. */
  #goOn(): void {
    if (!this.#isStill) {
      this.#goAgain();
      return;
    }
    const { segment, offset } = this.#position;
    const before = this.#opened;
    this.#opened = undefined;
    try {
      // An idle stream's place may have been dropped meanwhile: nothing of it was there.
      const { head } = this.#enter(segment + 1);
      if (before) mustEndAt(before, offset, head);
      this.#mustContinue(head.note);
    } finally {
      before?.file.close();
    }
  }

  /** Opens the first file of that number or a later one, and goes behind its checkpoint. */
  #enter(number: number): Opened {
    this.close();
    const { disk, directory, stream } = this.#options;
    const opened = openStreamFile(disk, directory, { stream, number });
    if (!opened) throw this.#corrupt(0);
    this.#opened = opened;
    this.#reader = new BlockReader(opened.file);
    this.#position = { segment: opened.head.number, offset: opened.head.end };
    this.dictionary.learn(opened.head.note.dictionary);
    return opened;
  }

  #fileSize(): number {
    return this.#opened?.file.size() ?? 0;
  }

  #corrupt(offset: number): HoldfastError {
    const path = this.#opened?.head.path ?? this.#options.directory;
    return new CorruptJournal(path, offset, 'no sound block');
  }
}

const gone = (lane: number, taken: number, next: number): HoldfastError =>
  new HoldfastError(
    'HF_CORRUPT',
    `Lane ${lane} is settled to ${taken} and the journal goes on at ${next}: ` +
      'the records between are not in the journal any more. ' +
      '`holdfast pass-over --stream NAME` gives them up.',
  );
