// Forms a group: scatters the rows of the parcels that wait over blocks, one per lane and shape,
// gives them their sequences (P16: here and nowhere earlier), and seals the blocks. Pure: bytes
// in, bytes out.
import assert from 'node:assert/strict';
import type { RowBuffer } from '../accept/row-buffer.ts';
import type { Rejection } from '../errors.ts';
import {
  type BlockKind,
  blockBytes,
  blockKind,
  headerBytes,
  type Position,
  sealBlock,
} from './block.ts';
import { encodeNote, type LoadMark, type Range, type RequestNote } from './notes.ts';
import { encodeUndecoded, type UndecodedRow } from './undecoded.ts';
import type { Note } from './untold.ts';

/** What must be remembered of a request beside its rows. */
export interface RequestKeep {
  readonly rejected?: readonly Rejection[];
  readonly key?: string;
  readonly digest?: string;
  readonly load?: LoadMark;
}

/** The rows of one request, encoded, before they have sequences. Lies in one group whole (P15). */
export interface Parcel {
  readonly stream: number;
  readonly lanes: number;
  readonly rows: RowBuffer;
  /** Dictionary id of each of `rows.columnSets`. */
  readonly shapes: readonly number[];
  readonly undecoded: readonly UndecodedRow[];
  /** Absent where nothing but the rows is to be kept. */
  readonly keep?: RequestKeep;
}

/** Where the records of a parcel went. */
export interface Placed {
  readonly id: number;
  readonly ranges: readonly Range[];
  /** Wall time of its group. */
  readonly at: number;
}

/** The last sequence given per lane of each stream. */
type LastSequences = ReadonlyMap<number, Float64Array>;

export interface GroupPlace {
  readonly segment: number;
  readonly salt: number;
  readonly group: number;
  readonly durable: Position;
  readonly wallMs: number;
  readonly last: LastSequences;
  /** To put first: new ids are told before they are used. */
  readonly notes?: readonly Note[];
}

interface Draft {
  readonly kind: BlockKind;
  readonly stream: number;
  readonly lane: number;
  readonly shape: number;
  rows: number;
  payloadBytes: number;
  first: number;
  /** Where the next byte of the payload goes. */
  at: number;
  readonly payload?: Uint8Array;
}

/** A block of rows is closed at this size, so that batches stay near their bound. */
const blockBytesMax = 1024 * 1024;

/** No more than this many bytes are needed for a group of these parcels. */
export function groupBytesBound(parcels: readonly Parcel[]): number {
  let bytes = 1024;
  for (const { rows, undecoded, keep, lanes } of parcels) {
    // Each row may begin a block where shapes change; with one shape only lanes and size do.
    const runs = rows.columnSets.length > 1 ? rows.count : Math.min(rows.count, lanes);
    const blocks = runs + Math.ceil(rows.length / (blockBytesMax / 2)) + 1;
    bytes += rows.length + blocks * (headerBytes + 8);
    for (const row of undecoded) bytes += row.raw.length + 1200;
    if (keep) bytes += 1024 + blocks * 48 + JSON.stringify(keep).length * 4;
  }
  return bytes;
}

const draft = (part: Pick<Draft, 'kind' | 'stream' | 'lane' | 'shape'>, payload?: Uint8Array) => ({
  ...part,
  rows: 0,
  payloadBytes: payload?.length ?? 0,
  first: 0,
  at: 0,
  ...(payload ? { payload } : {}),
});

const note = (kind: BlockKind, body: object): Draft =>
  draft({ kind, stream: 0, lane: 0, shape: 0 }, encodeNote(body));

/** Which block each row goes to, as places in the list of drafts; parcels one after another. */
class Scatter {
  readonly drafts: Draft[] = [];
  readonly #open = new Map<number, Int32Array>();

  /** Files the rows of one parcel; appends to `drafts`. */
  assign(parcel: Parcel): Int32Array {
    const { rows } = parcel;
    const blockOf = new Int32Array(rows.count);
    let open = this.#open.get(parcel.stream);
    if (!open) {
      open = new Int32Array(parcel.lanes + 1).fill(-1);
      this.#open.set(parcel.stream, open);
    }
    let start = 0;
    for (let row = 0; row < rows.count; row++) {
      const end = rows.ends[row] ?? 0;
      const lane = rows.lanes[row] ?? 0;
      const shape = parcel.shapes[rows.sets[row] ?? 0] ?? 0;
      let at = open[lane] ?? -1;
      let block = this.drafts[at];
      // A lane keeps the order of its rows: another shape begins another block.
      if (!block || block.shape !== shape || block.payloadBytes + end - start > blockBytesMax) {
        block = draft({ kind: blockKind.rows, stream: parcel.stream, lane, shape });
        at = this.drafts.push(block) - 1;
        open[lane] = at;
      }
      block.rows++;
      block.payloadBytes += end - start;
      blockOf[row] = at;
      start = end;
    }
    if (parcel.undecoded.length > 0) {
      const block = draft(
        { kind: blockKind.undecoded, stream: parcel.stream, lane: parcel.lanes, shape: 0 },
        encodeUndecoded(parcel.undecoded),
      );
      block.rows = parcel.undecoded.length;
      this.drafts.push(block);
    }
    return blockOf;
  }
}

/** The lane ranges of a parcel, given the last sequences before it; moves them on. */
function takeRanges(parcel: Parcel, last: Float64Array): Range[] {
  const counts = new Int32Array(parcel.lanes + 1);
  const { lanes, count } = parcel.rows;
  for (let row = 0; row < count; row++) {
    const lane = lanes[row] ?? 0;
    counts[lane] = (counts[lane] ?? 0) + 1;
  }
  counts[parcel.lanes] = parcel.undecoded.length;
  const ranges: Range[] = [];
  for (let lane = 0; lane < counts.length; lane++) {
    const n = counts[lane] ?? 0;
    if (n === 0) continue;
    const before = last[lane] ?? 0;
    ranges.push([lane, before + 1, n]);
    last[lane] = before + n;
  }
  return ranges;
}

/** Copies each row behind the rows of its block. */
function scatterRows(
  { rows }: Parcel,
  blockOf: Int32Array,
  [drafts, { bytes }]: readonly [readonly Draft[], GroupBuffer],
): void {
  const { bytes: from, ends, count } = rows;
  let start = 0;
  for (let row = 0; row < count; row++) {
    const end = ends[row] ?? 0;
    const block = drafts[blockOf[row] ?? 0];
    assert(block, 'every row has a block');
    bytes.set(from.subarray(start, end), block.at);
    block.at += end - start;
    start = end;
  }
}

/** The buffer in which groups are formed: grows as needed, kept between groups. */
export class GroupBuffer {
  bytes = new Uint8Array(64 * 1024);
  view = new DataView(this.bytes.buffer);

  ensure(length: number): void {
    if (this.bytes.length >= length) return;
    this.bytes = new Uint8Array(Math.max(this.bytes.length * 2, Math.ceil(length / 65536) * 65536));
    this.view = new DataView(this.bytes.buffer);
  }
}

export interface FormedGroup {
  /** The group, in the buffer: valid until the next one is formed there. */
  readonly bytes: Uint8Array;
  /** The last sequences of its streams, once it is journaled. */
  readonly last: LastSequences;
  readonly placed: readonly Placed[];
  readonly rows: number;
  /** Bytes of records, by stream. */
  readonly bytesOf: ReadonlyMap<number, number>;
  /** The last request that is noted; undefined where none is. */
  readonly request: number | undefined;
}

/** First sequences follow the drafts' order, which keeps the order of each lane. */
function giveSequences(drafts: readonly Draft[], before: ReadonlyMap<number, Float64Array>): void {
  for (const block of drafts) {
    const next = before.get(block.stream);
    if (block.rows === 0 || !next) continue;
    block.first = (next[block.lane] ?? 0) + 1;
    next[block.lane] = (next[block.lane] ?? 0) + block.rows;
  }
}

function sealAll(drafts: readonly Draft[], place: GroupPlace, out: GroupBuffer): void {
  const { segment, salt, group, durable, wallMs } = place;
  const shared = { segment, salt, group, durable, wallMs, blocks: drafts.length };
  const own = { kind: 0, stream: 0, lane: 0, shape: 0, rowCount: 0, first: 0, payloadBytes: 0 };
  // One object for all headers: groups of many small blocks are the usual ones.
  const header = { ...shared, ...own, index: 0, payloadCrc: 0 };
  let at = 0;
  for (const block of drafts) {
    if (block.payload) out.bytes.set(block.payload, at + headerBytes);
    header.kind = block.kind;
    header.stream = block.stream;
    header.lane = block.lane;
    header.shape = block.shape;
    header.rowCount = block.rows;
    header.first = block.first;
    header.payloadBytes = block.payloadBytes;
    sealBlock(out, at, header);
    header.index++;
    at += blockBytes(block.payloadBytes);
  }
}

function bytesByStream({ drafts }: Scatter): Map<number, number> {
  const sums = new Map<number, number>();
  for (const { stream, payloadBytes } of drafts) addBytes(sums, stream, payloadBytes);
  return sums;
}

/** Adds to what a stream has. */
export function addBytes(sums: Map<number, number>, stream: number, bytes: number): void {
  sums.set(stream, (sums.get(stream) ?? 0) + bytes);
}

const requestsOfGroup = 65_536;

const requestId = (group: number, index: number): number => group * requestsOfGroup + index;

/** The group in which a request was journaled. */
export const groupOf = (id: number): number => Math.floor(id / requestsOfGroup);

/** Writes the group of `parcels` into `out`. */
export function formGroup(
  parcels: readonly Parcel[],
  place: GroupPlace,
  out: GroupBuffer,
): FormedGroup {
  const before = new Map<number, Float64Array>();
  const last = new Map<number, Float64Array>();
  for (const { stream } of parcels) {
    const known = place.last.get(stream);
    if (!known || last.has(stream)) continue;
    before.set(stream, known.slice());
    last.set(stream, known.slice());
  }
  const scatter = new Scatter();
  const blockOf = parcels.map((parcel) => scatter.assign(parcel));
  const placed: Placed[] = [];
  const requests: RequestNote[] = [];
  let rows = 0;
  parcels.forEach((parcel, index) => {
    const ranges = takeRanges(parcel, last.get(parcel.stream) ?? new Float64Array(0));
    const id = requestId(place.group, index);
    const count = parcel.rows.count + parcel.undecoded.length;
    placed.push({ id, ranges, at: place.wallMs });
    rows += count;
    const note = { id, stream: parcel.stream, rows: count, ranges, at: place.wallMs };
    if (parcel.keep) requests.push({ ...note, ...parcel.keep });
  });
  giveSequences(scatter.drafts, before);
  const drafts = [...scatter.drafts];
  drafts.unshift(...(place.notes ?? []).map(({ kind, body }) => note(kind, body)));
  if (requests.length > 0) drafts.push(note(blockKind.requests, requests));
  let length = 0;
  for (const block of drafts) {
    block.at = length + headerBytes;
    length += blockBytes(block.payloadBytes);
  }
  out.ensure(length + 64);
  parcels.forEach((parcel, i) => {
    scatterRows(parcel, blockOf[i] ?? new Int32Array(0), [scatter.drafts, out]);
  });
  sealAll(drafts, place, out);
  const bytesOf = bytesByStream(scatter);
  const bytes = out.bytes.subarray(0, length);
  return { bytes, last, placed, rows, bytesOf, request: requests.at(-1)?.id };
}

/** Writes a group of one note: a checkpoint, or the mark of a clean end. Returns it, in `out`. */
export function formNote(
  kind: BlockKind,
  place: GroupPlace & { readonly body?: object | undefined },
  out: GroupBuffer,
): Uint8Array {
  const block = draft(
    { kind, stream: 0, lane: 0, shape: 0 },
    place.body ? encodeNote(place.body) : new Uint8Array(0),
  );
  const length = blockBytes(block.payloadBytes);
  out.ensure(length + 64);
  sealAll([block], place, out);
  return out.bytes.subarray(0, length);
}
