// What a journal is known to hold, segment after segment and block after block: each must follow
// what was read before.
import { blockKind } from './block.ts';
import { payloadOf, type ReadBlock } from './block-reader.ts';
import { CorruptJournal } from './corrupt.ts';
import { addBytes } from './group.ts';
import {
  type CheckpointNote,
  type ConfirmedNote,
  type DictionaryNote,
  decodeNote,
  type RequestNote,
  type StreamMark,
} from './notes.ts';
import type { Head } from './segment-head.ts';
import type { Segment } from './segments.ts';

/** What a scan tells as it goes: requests, so that nothing but them is kept in memory. */
export interface ScanEvents {
  readonly onRequests?: (requests: readonly RequestNote[], of: { isLast: boolean }) => void;
  /** Blocks of rows and of undecoded records, in order, whole groups only. */
  readonly onBlock?: (block: ReadBlock) => void;
  /**
   * Whether this request and all before it are known already. Where it is given, sealed segments
   * without other requests are not read, and tell nothing; where it is not, every byte is.
   */
  readonly isKnown?: (request: number) => boolean;
}

/** One segment of a scan. */
export interface Scan extends ScanEvents {
  readonly head: Head;
  /** Takes up what it holds. */
  readonly segment: Segment;
  /** A crash may have left things in it that only the page cache has. */
  readonly isLast: boolean;
}

/** What was read so far. */
export interface State {
  checkpoint: CheckpointNote | undefined;
  streams: Map<number, DictionaryNote['streams'][number]>;
  tables: Map<number, DictionaryNote['tables'][number]>;
  shapes: Map<number, DictionaryNote['shapes'][number]>;
  last: Map<number, Float64Array>;
  confirmed: Map<number, Float64Array>;
  group: number;
  isClean: boolean;
  /** Whether all before was read, so that it says where the next segment must go on. */
  isExact: boolean;
}

const learn = (state: State, note: DictionaryNote): void => {
  for (const entry of note.streams) {
    state.streams.set(entry.id, entry);
    if (!state.last.has(entry.id)) state.last.set(entry.id, new Float64Array(entry.lanes + 1));
  }
  for (const entry of note.tables) state.tables.set(entry.id, entry);
  for (const entry of note.shapes) state.shapes.set(entry.id, entry);
};

/** Each lane stands where the marks say or, where not all before was read, no further. */
function follows(state: State, marks: readonly StreamMark[]): boolean {
  if (marks.length < state.last.size) return false;
  return marks.every(({ stream, last }) => {
    const known = state.last.get(stream);
    return last.every((sequence, lane) => {
      const before = known?.[lane] ?? 0;
      return state.isExact ? before === sequence : before <= sequence;
    });
  });
}

/** Of a stream that nobody had opened when it was said, nothing is confirmed. */
const confirm = (state: State, all: ConfirmedNote): void => {
  for (const [stream, said] of all) {
    const lanes = new Float64Array(state.last.get(stream)?.length ?? said.length);
    lanes.set(said);
    state.confirmed.set(stream, lanes);
  }
};

/** Begins a segment: takes its checkpoint into the state, which must lead there. */
export function begin(state: State, { header, note, path }: Head): void {
  const { group } = header;
  const isNext = state.isExact ? group === state.group + 1 : group > state.group;
  if (!isNext) throw new CorruptJournal(path, 0, `group ${group} follows ${state.group}`);
  const isSame = note.writer === (state.checkpoint?.writer ?? note.writer);
  if (!isSame || !follows(state, note.marks)) {
    throw new CorruptJournal(path, 0, 'its checkpoint does not follow the segment before');
  }
  learn(state, note.dictionary);
  for (const { stream, last } of note.marks) state.last.set(stream, Float64Array.from(last));
  confirm(
    state,
    note.marks.map(({ stream, confirmed }) => [stream, confirmed]),
  );
  state.checkpoint = note;
  state.group = group;
  state.isClean = false;
}

/** Takes one block of a whole group into the state; returns what is wrong with it, if anything. */
export function apply(state: State, block: ReadBlock, scan: Scan): string {
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
      addBytes(scan.segment.bytesOf, header.stream, header.payloadBytes);
      scan.onBlock?.(block);
      return '';
    }
    case blockKind.dictionary:
      learn(state, decodeNote<DictionaryNote>(payloadOf(block)));
      return '';
    case blockKind.checkpoint:
      return 'a checkpoint stands inside it';
    case blockKind.requests: {
      const requests = decodeNote<RequestNote[]>(payloadOf(block));
      scan.segment.request = requests.at(-1)?.id;
      scan.onRequests?.(requests, scan);
      return '';
    }
    case blockKind.mark:
      if (header.payloadBytes > 0) confirm(state, decodeNote<ConfirmedNote>(payloadOf(block)));
      return '';
    case blockKind.end:
      return '';
    default:
      return `block kind ${header.kind} is not known to this version`;
  }
}

export const emptyState = (): State => ({
  checkpoint: undefined,
  streams: new Map(),
  tables: new Map(),
  shapes: new Map(),
  last: new Map(),
  confirmed: new Map(),
  group: -1,
  isClean: false,
  isExact: false,
});
