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
//   last     no       bytes    'torn': the last group had not been synced whole; it is cut
//
// A witness is a sound block of this life of the file, behind p, whose durable position lies
// beyond p. Sequences, groups and segment numbers must follow each other without gap or repeat;
// else 'corrupt'.
import { join } from 'node:path';
import type { Disk } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { blockKind, type Position } from './block.ts';
import { BlockReader, type ReadBlock } from './block-reader.ts';
import { segmentNumbers, segmentPath } from './files.ts';
import {
  type CheckpointNote,
  type DictionaryNote,
  decodeNote,
  type RequestNote,
  type StreamMark,
} from './notes.ts';

type StopPlace = 'earlier' | 'last';
export type Decision = 'end' | 'torn' | 'corrupt';

export interface Stop {
  readonly place: StopPlace;
  /** earlier: whether the next segment's checkpoint says that this one ended at p. */
  readonly isExpected: boolean;
  readonly hasWitness: boolean;
  readonly isRestZero: boolean;
}

export function decide(stop: Stop): Decision {
  if (stop.place === 'earlier') return stop.isExpected ? 'end' : 'corrupt';
  if (stop.hasWitness) return 'corrupt';
  return stop.isRestZero ? 'end' : 'torn';
}

/** One segment as it was found. */
interface FoundSegment {
  readonly number: number;
  readonly salt: number;
  /** Where each stream stood when it began. */
  readonly marks: readonly StreamMark[];
  /** End of its last whole group. */
  readonly end: number;
  readonly size: number;
  readonly wallMs: number;
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

export class CorruptJournal extends HoldfastError {
  readonly file: string;
  readonly offset: number;

  constructor(file: string, offset: number, what: string) {
    super('HF_CORRUPT', `${file} is corrupt at byte ${offset}: ${what}.`);
    this.file = file;
    this.offset = offset;
  }
}

/** What a scan tells as it goes: requests, so that nothing but them is kept in memory. */
export interface ScanEvents {
  readonly onRequests?: (requests: readonly RequestNote[], of: { isLast: boolean }) => void;
  /** Blocks of rows and of undecoded records, in order, whole groups only. */
  readonly onBlock?: (block: ReadBlock) => void;
}

/** One segment of a scan. */
interface Scan extends ScanEvents {
  readonly number: number;
  readonly path: string;
  readonly isFirst: boolean;
  /** A crash may have left things in it that only the page cache has. */
  readonly isLast: boolean;
}

interface State {
  checkpoint: CheckpointNote | undefined;
  streams: Map<number, DictionaryNote['streams'][number]>;
  tables: Map<number, DictionaryNote['tables'][number]>;
  shapes: Map<number, DictionaryNote['shapes'][number]>;
  last: Map<number, Float64Array>;
  group: number;
  isClean: boolean;
}

const learn = (state: State, note: DictionaryNote): void => {
  for (const entry of note.streams) {
    state.streams.set(entry.id, entry);
    if (!state.last.has(entry.id)) state.last.set(entry.id, new Float64Array(entry.lanes + 1));
  }
  for (const entry of note.tables) state.tables.set(entry.id, entry);
  for (const entry of note.shapes) state.shapes.set(entry.id, entry);
};

const sameMarks = (state: State, marks: readonly StreamMark[]): boolean =>
  marks.every(({ stream, last }) => {
    const known = state.last.get(stream);
    return known !== undefined && last.every((sequence, lane) => known[lane] === sequence);
  });

function applyCheckpoint(state: State, note: CheckpointNote, isFirst: boolean): boolean {
  learn(state, note.dictionary);
  if (isFirst) {
    for (const { stream, last } of note.marks) state.last.set(stream, Float64Array.from(last));
  }
  const isSame = note.writer === (state.checkpoint?.writer ?? note.writer);
  state.checkpoint = note;
  return isSame && sameMarks(state, note.marks);
}

const payloadOf = (block: ReadBlock): Uint8Array =>
  block.window.bytes.subarray(block.start, block.end);

/** Takes one block of a whole group into the state; returns what is wrong with it, if anything. */
function apply(state: State, block: ReadBlock, scan: Scan): string {
  const { header } = block;
  state.isClean = header.kind === blockKind.end;
  switch (header.kind) {
    case blockKind.rows:
    case blockKind.undecoded: {
      const last = state.last.get(header.stream);
      const before = last?.[header.lane];
      if (!last || before === undefined) return `stream ${header.stream} is not in the dictionary`;
      if (header.first !== before + 1) {
        return `lane ${header.lane} goes on at ${header.first} after ${before}`;
      }
      last[header.lane] = before + header.rowCount;
      scan.onBlock?.(block);
      return '';
    }
    case blockKind.dictionary:
      learn(state, decodeNote<DictionaryNote>(payloadOf(block)));
      return '';
    case blockKind.checkpoint:
      return applyCheckpoint(state, decodeNote(payloadOf(block)), scan.isFirst)
        ? ''
        : 'its checkpoint does not follow the segment before';
    case blockKind.requests:
      scan.onRequests?.(decodeNote<RequestNote[]>(payloadOf(block)), scan);
      return '';
    case blockKind.end:
    case blockKind.mark:
      return '';
    default:
      return `block kind ${header.kind} is not known to this version`;
  }
}

interface Scanned {
  readonly end: number;
  readonly salt: number;
  readonly wallMs: number;
  readonly durable: Position;
  readonly marks: readonly StreamMark[];
}

/** Reads the whole groups of one segment into the state. */
function scanSegment(reader: BlockReader, state: State, scan: Scan): Scanned {
  const first = reader.read(0);
  const isSound =
    first?.header.kind === blockKind.checkpoint && first.header.segment === scan.number;
  if (!first || !isSound) throw new CorruptJournal(scan.path, 0, 'no checkpoint begins it');
  const { salt, wallMs, durable } = first.header;
  let end = 0;
  let marks: readonly StreamMark[] = [];
  for (let groupStart = 0; ; groupStart = end) {
    const blocks = wholeGroup(reader, groupStart, { salt, number: scan.number });
    if (!blocks) return { end, salt, wallMs, durable, marks };
    for (const offset of blocks.offsets) {
      const block = reader.read(offset);
      if (!block) throw new CorruptJournal(scan.path, offset, 'it changes while it is read');
      const group = block.header.group;
      const isNext = state.group < 0 || group === state.group + (block.header.index === 0 ? 1 : 0);
      const wrong = isNext ? apply(state, block, scan) : `group ${group} follows ${state.group}`;
      if (wrong) throw new CorruptJournal(scan.path, offset, wrong);
      state.group = group;
    }
    end = blocks.end;
    if (groupStart > 0) continue;
    marks = state.checkpoint?.marks ?? [];
    const made = state.checkpoint?.bytes ?? 0;
    if (reader.limit >= made) continue;
    throw new CorruptJournal(scan.path, reader.limit, `it was made with ${made} bytes`);
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

const hasWitness = (reader: BlockReader, scanned: Scanned, number: number): boolean =>
  reader.search(scanned.end, ({ header }) => {
    const isOfThisLife = header.salt === scanned.salt && header.segment === number;
    const { segment, offset } = header.durable;
    return isOfThisLife && (segment > number || (segment === number && offset > scanned.end));
  }) !== undefined;

const emptyState = (): State => ({
  checkpoint: undefined,
  streams: new Map(),
  tables: new Map(),
  shapes: new Map(),
  last: new Map(),
  group: -1,
  isClean: false,
});

/**
 * Reads a whole journal directory. Returns undefined where it holds no segment.
 * Throws CorruptJournal with file and offset where a crash cannot explain what stands there.
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
  numbers.forEach((number, i) => {
    const path = segmentPath(directory, number);
    const before = numbers[i - 1];
    if (before !== undefined && before !== number - 1) {
      throw new CorruptJournal(join(directory), 0, `segment ${number - 1} is missing`);
    }
    const file = disk.open(path, 'read');
    try {
      const reader = new BlockReader(file);
      const isLast = i === numbers.length - 1;
      const scan = { ...events, isFirst: i === 0, isLast, number, path };
      const scanned = scanSegment(reader, state, scan);
      checkPredecessor(segments.at(-1), scanned, directory);
      if (isLast) isTorn = isTailTorn(reader, scanned, { number, path });
      segments.push({ number, size: reader.limit, ...scanned });
    } finally {
      file.close();
    }
  });
  return segments.length === 0 ? undefined : summary(state, segments, isTorn);
}

/** An earlier segment ends where its successor says that it was flushed to. */
function checkPredecessor(
  before: FoundSegment | undefined,
  scanned: Scanned,
  directory: string,
): void {
  if (!before) return;
  const { segment, offset } = scanned.durable;
  const isExpected = segment === before.number && offset === before.end;
  const stop = { place: 'earlier', isExpected, hasWitness: false, isRestZero: false } as const;
  if (decide(stop) === 'end') return;
  const path = segmentPath(directory, before.number);
  throw new CorruptJournal(path, before.end, `its successor was begun when it ended at ${offset}`);
}

function isTailTorn(
  reader: BlockReader,
  scanned: Scanned,
  segment: { readonly number: number; readonly path: string },
): boolean {
  const isRestZero = reader.isZeroFrom(scanned.end);
  const stop = {
    place: 'last',
    isExpected: false,
    hasWitness: !isRestZero && hasWitness(reader, scanned, segment.number),
    isRestZero,
  } as const;
  const decision = decide(stop);
  if (decision !== 'corrupt') return decision === 'torn';
  const what = 'a later block proves that these bytes had been flushed';
  throw new CorruptJournal(segment.path, scanned.end, what);
}

function summary(state: State, segments: readonly FoundSegment[], isTorn: boolean): Found {
  const { checkpoint } = state;
  const newest = segments.at(-1);
  if (!checkpoint || !newest) throw new HoldfastError('HF_BUG', 'A segment without a checkpoint.');
  const confirmed = new Map<number, Float64Array>();
  for (const mark of checkpoint.marks) {
    confirmed.set(mark.stream, Float64Array.from(mark.confirmed));
  }
  return {
    writer: checkpoint.writer,
    dictionary: {
      streams: [...state.streams.values()],
      tables: [...state.tables.values()],
      shapes: [...state.shapes.values()],
    },
    last: state.last,
    confirmed,
    segments,
    group: state.group,
    end: { segment: newest.number, offset: newest.end },
    isTorn,
    isClean: state.isClean && !isTorn,
  };
}
