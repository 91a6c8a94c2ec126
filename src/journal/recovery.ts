// What the journal holds after any end: a decision for every way in which a segment's blocks can
// stop. Reads only; the journal itself acts on what is found here (journal.ts), so that recovery
// may crash at any point and be run again (I9).
//
// The decision table. A scan of a segment stops at offset p, the end of its last whole group:
//
//   place    witness  rest     decision
//   earlier  -        -        'end' if the next segment was begun after p, exactly; else 'corrupt'
//   last     yes      -        'corrupt': a later block knows that p had been flushed
//   last     no       zeros    'end'
//   last     no       bytes    'end' behind a mark of a clean end, where no block of this life of
//                              the file is among them; else 'torn': the last group had not been
//                              synced whole, or nobody can tell; it is cut, so that none of its
//                              blocks can complete a later group
//
// A segment that has a successor is sealed: nothing was written behind it before it was synced, and
// its successor's checkpoint says where it ended and what it holds. So whoever opens a journal
// reads the checkpoints, and whole only the last segment and those with requests that nothing else
// knows. Damage inside the others is found by who reads them: feeds, `journal check`, `journal
// dump`, verify.
//
// A witness is a sound block of this life of the file, behind p, whose durable position lies
// beyond p. Sequences, groups and segment numbers must follow each other without gap or repeat;
// else 'corrupt'.
import { join } from 'node:path';
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import type { Position } from './block.ts';
import { BlockReader } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { segmentNumbers } from './files.ts';
import type { CheckpointNote, DictionaryNote, SealedNote } from './notes.ts';
import { apply, begin, emptyState, type Scan, type ScanEvents, type State } from './scan-state.ts';
import { type Head, readHead } from './segment-head.ts';
import { newSegment, type Segment } from './segments.ts';

type StopPlace = 'earlier' | 'last';
export type Decision = 'end' | 'torn' | 'corrupt';

export interface Stop {
  readonly place: StopPlace;
  /** earlier: whether the next segment's checkpoint says that this one ended at p. */
  readonly isExpected: boolean;
  readonly hasWitness: boolean;
  readonly isRestZero: boolean;
  /** Whether a sound block of this life of the file stands behind p. */
  readonly hasBlocks: boolean;
  /** Whether the last whole group is the mark of a clean end. */
  readonly isClean: boolean;
}

export function decide(stop: Stop): Decision {
  if (stop.place === 'earlier') return stop.isExpected ? 'end' : 'corrupt';
  if (stop.hasWitness) return 'corrupt';
  return stop.isRestZero || (stop.isClean && !stop.hasBlocks) ? 'end' : 'torn';
}

/** One segment as it was found. */
interface FoundSegment extends Segment {
  /** End of its last whole group. */
  readonly end: number;
}

export interface Found {
  readonly writer: string;
  readonly dictionary: DictionaryNote;
  readonly last: Map<number, Float64Array>;
  readonly confirmed: Map<number, Float64Array>;
  readonly segments: readonly FoundSegment[];
  readonly group: number;
  readonly end: Position;
  /** Where the last segment stops, whether something has to be cut, whether it was closed well. */
  readonly isTorn: boolean;
  readonly isClean: boolean;
}

/** Reads the whole groups from `start` on into the state; returns where they end. */
function scanGroups(reader: BlockReader, state: State, scan: Scan & { start: number }): number {
  const { path } = scan.head;
  for (let end = scan.start; ; ) {
    const blocks = wholeGroup(reader, end, scan.segment);
    if (!blocks) return end;
    for (const offset of blocks.offsets) {
      const block = reader.read(offset);
      if (!block) throw new CorruptJournal(path, offset, 'it changes while it is read');
      const { group, index } = block.header;
      const isNext = group === state.group + (index === 0 ? 1 : 0);
      const wrong = isNext ? apply(state, block, scan) : `group ${group} follows ${state.group}`;
      if (wrong) throw new CorruptJournal(path, offset, wrong);
      state.group = group;
    }
    end = blocks.end;
  }
}

/**
 * The offsets of the blocks of the group that begins at `start`, if all of it is there and sound.
 */
function wholeGroup(
  reader: BlockReader,
  start: number,
  life: { readonly salt: number; readonly number: number },
): { readonly offsets: readonly number[]; readonly end: number } | undefined {
  const offsets: number[] = [];
  let at = start;
  for (;;) {
    const block = reader.read(at);
    if (!block || block.header.salt !== life.salt || block.header.segment !== life.number) return;
    if (block.header.index !== offsets.length) return undefined;
    offsets.push(at);
    at = block.next;
    if (offsets.length === block.header.blocks) return { offsets, end: at };
  }
}

/** What stands behind the end of the last segment. */
function lookBehind(reader: BlockReader, { number, salt, end }: FoundSegment) {
  let hasBlocks = false;
  const witness = reader.search(end, ({ header }) => {
    if (header.salt !== salt || header.segment !== number) return false;
    hasBlocks = true;
    const { segment, offset } = header.durable;
    return segment > number || (segment === number && offset > end);
  });
  return { hasBlocks, hasWitness: witness !== undefined };
}

/**
 * Reads a journal directory, all of it unless `isKnown` is given. Returns undefined where it holds
 * no segment. Throws CorruptJournal with file and offset where a crash cannot explain what stands
 * there.
 */
export function readJournal(
  disk: Disk,
  directory: string,
  events: ScanEvents = {},
): Found | undefined {
  const numbers = segmentNumbers(disk, directory);
  const state = emptyState();
  const segments: FoundSegment[] = [];
  let isTorn = false;
  let next = numbers[0] === undefined ? undefined : readHead(disk, directory, numbers[0]);
  for (let i = 1; next; i++) {
    const head: Head = next;
    const following = numbers[i];
    if (following !== undefined && following !== head.number + 1) {
      throw new CorruptJournal(join(directory), 0, `segment ${head.number + 1} is missing`);
    }
    next = following === undefined ? undefined : readHead(disk, directory, following);
    begin(state, head);
    const sealed = next && knownFrom(next.note, events);
    if (next && sealed) {
      segments.push(sealedSegment(head, sealed, next.header.durable.offset));
      state.isExact = false;
    } else {
      const scanned = scanSegment(disk, state, { ...events, head, isLast: !next });
      segments.push(scanned.segment);
      isTorn = scanned.isTorn;
      state.isExact = true;
    }
    if (next) checkSealed(head.path, segments.at(-1), next);
  }
  return segments.length === 0 ? undefined : summary(state, segments, isTorn);
}

/** What a checkpoint says of the segment before, where that is all that is wanted of it. */
function knownFrom({ sealed }: CheckpointNote, { isKnown }: ScanEvents): SealedNote | undefined {
  const isEnough = isKnown && (sealed?.request === undefined || isKnown(sealed.request));
  return isEnough ? sealed : undefined;
}

const segmentOf = ({ header, note: { marks } }: Head): Segment =>
  newSegment({ number: header.segment, salt: header.salt, wallMs: header.wallMs, marks });

/** A segment as its successor describes it, which was begun when it ended at `end`. */
function sealedSegment(head: Head, { bytesOf, request }: SealedNote, end: number): FoundSegment {
  if (end < head.end || end > head.size) {
    throw new CorruptJournal(head.path, head.size, `its successor says that it ended at ${end}`);
  }
  return { ...segmentOf(head), bytesOf: new Map(bytesOf), request, end };
}

function scanSegment(
  disk: Disk,
  state: State,
  given: Omit<Scan, 'segment'>,
): { readonly segment: FoundSegment; readonly isTorn: boolean } {
  const { head, isLast } = given;
  const file = disk.open(head.path, 'read');
  try {
    const scan: Scan = { ...given, segment: segmentOf(head) };
    for (let start = head.end, isAgain = false; ; isAgain = true) {
      const reader = new BlockReader(file);
      const end = scanGroups(reader, state, { ...scan, start });
      const segment = { ...scan.segment, end };
      const decision = isLast ? decideTail(reader, segment, state.isClean) : 'end';
      if (decision !== 'corrupt') return { segment, isTorn: decision === 'torn' };
      if (isAgain && end === start) throw new CorruptJournal(head.path, end, flushedBefore);
      // Its owner may have written there after the first look, and behind it before the second.
      start = end;
    }
  } finally {
    file.close();
  }
}

const flushedBefore = 'a later block proves that these bytes had been flushed';

/** A sealed segment is the one that its successor followed, and ends where that says. */
function checkSealed(path: string, before: FoundSegment | undefined, { header, note }: Head): void {
  if (!before) return;
  const { segment, offset } = header.durable;
  if (note.sealed && note.sealed.salt !== before.salt) {
    throw new CorruptJournal(path, 0, 'it is not the one that its successor followed');
  }
  const isExpected = segment === before.number && offset === before.end;
  const rest = { hasWitness: false, isRestZero: false, hasBlocks: false, isClean: false };
  const stop = { place: 'earlier', isExpected, ...rest } as const;
  if (decide(stop) === 'end') return;
  throw new CorruptJournal(path, before.end, `its successor was begun when it ended at ${offset}`);
}

function decideTail(reader: BlockReader, last: FoundSegment, isClean: boolean): Decision {
  const isRestZero = reader.isZeroFrom(last.end);
  const behind = isRestZero ? { hasBlocks: false, hasWitness: false } : lookBehind(reader, last);
  return decide({ place: 'last', isExpected: false, ...behind, isRestZero, isClean });
}

function summary(state: State, segments: readonly FoundSegment[], isTorn: boolean): Found {
  const { checkpoint } = state;
  const newest = segments.at(-1);
  if (!checkpoint || !newest) throw new HoldfastError('HF_BUG', 'A segment without a checkpoint.');
  return {
    writer: checkpoint.writer,
    dictionary: {
      streams: [...state.streams.values()],
      tables: [...state.tables.values()],
      shapes: [...state.shapes.values()],
    },
    last: state.last,
    confirmed: state.confirmed,
    segments,
    group: state.group,
    end: { segment: newest.number, offset: newest.end },
    isTorn,
    isClean: state.isClean && !isTorn,
  };
}
