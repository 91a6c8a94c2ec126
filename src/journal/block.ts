// The bytes of a block: pure functions, no I/O. All integers little-endian; every block begins at a
// multiple of 8 bytes.
//
//   at  size
//    0   4   magic "HFB" and the format version, 1
//    4   4   CRC-32 over bytes 8 to 95 (so also over the payload's own CRC)
//    8   4   CRC-32 over the payload
//   12   4   payload length in bytes, without padding
//   16   4   number of the segment
//   20   4   salt of the segment: tells this life of a recycled file from its earlier ones
//   24   1   kind
//   25   1   reserved, 0
//   26   2   lane
//   28   4   stream id (dictionary)
//   32   4   shape id (dictionary): which columns, of which version of the table
//   36   4   row count
//   40   8   first sequence
//   48   8   group number
//   56   4   index within the group
//   60   4   number of blocks in the group
//   64   4   durable position: segment …
//   68   4   … and offset up to which the journal was flushed when this group was formed
//   72   8   wall time, milliseconds since 1970 (float64)
//   80  16   reserved, 0
//   96       payload, then zeros up to a multiple of 8
//
// Payloads. rows: tuples of the row format (accept/columns.ts), back to back. undecoded: see
// undecoded.ts. dictionary, checkpoint, requests: JSON in UTF-8 (journal/notes.ts); so is mark, or
// empty. end: empty.
import { crc32 } from 'node:zlib';

export const headerBytes = 96;
const formatVersion = 1;
const magic = 0x00424648 | (formatVersion << 24);

export const blockKind = {
  rows: 1,
  undecoded: 2,
  dictionary: 3,
  checkpoint: 4,
  requests: 5,
  /** The journal was closed in good order. */
  end: 6,
  /** Nothing was left to write: only says that all before it was flushed. */
  mark: 7,
} as const;
export type BlockKind = (typeof blockKind)[keyof typeof blockKind];

/** A place in the journal. */
export interface Position {
  readonly segment: number;
  readonly offset: number;
}

export interface BlockHeader {
  kind: number;
  segment: number;
  salt: number;
  lane: number;
  stream: number;
  shape: number;
  rowCount: number;
  first: number;
  group: number;
  index: number;
  blocks: number;
  durable: Position;
  wallMs: number;
  payloadBytes: number;
  payloadCrc: number;
}

export const comparePositions = (a: Position, b: Position): number =>
  a.segment - b.segment || a.offset - b.offset;

/** Bytes that a block with this payload takes in the file. */
export const blockBytes = (payloadBytes: number): number => (headerBytes + payloadBytes + 7) & ~7;

function putWide(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

const wide = (view: DataView, at: number): number =>
  view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;

export interface Bytes {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/**
 * Seals the block at `at`, whose payload already stands in place: header, checksums, zero
 * padding.
 */
export function sealBlock(out: Bytes, at: number, header: BlockHeader): void {
  const { bytes, view } = out;
  const payload = at + headerBytes;
  const end = payload + header.payloadBytes;
  const next = at + blockBytes(header.payloadBytes);
  for (let i = end; i < next; i++) bytes[i] = 0;
  view.setUint32(at, magic, true);
  view.setUint32(at + 8, crc32(bytes.subarray(payload, end)), true);
  view.setUint32(at + 12, header.payloadBytes, true);
  view.setUint32(at + 16, header.segment, true);
  view.setUint32(at + 20, header.salt, true);
  view.setUint16(at + 24, header.kind, true);
  view.setUint16(at + 26, header.lane, true);
  view.setUint32(at + 28, header.stream, true);
  view.setUint32(at + 32, header.shape, true);
  view.setUint32(at + 36, header.rowCount, true);
  putWide(view, at + 40, header.first);
  putWide(view, at + 48, header.group);
  view.setUint32(at + 56, header.index, true);
  view.setUint32(at + 60, header.blocks, true);
  view.setUint32(at + 64, header.durable.segment, true);
  view.setUint32(at + 68, header.durable.offset, true);
  view.setFloat64(at + 72, header.wallMs, true);
  for (let i = at + 80; i < payload; i += 4) view.setUint32(i, 0);
  view.setUint32(at + 4, crc32(bytes.subarray(at + 8, at + headerBytes)), true);
}

/** The header at `at`, or undefined where no header with a right checksum stands there. */
export function readHeader(from: Bytes, at: number): BlockHeader | undefined {
  const { bytes, view } = from;
  if (at + headerBytes > bytes.length) return undefined;
  if (view.getUint32(at, true) !== magic) return undefined;
  const sum = view.getUint32(at + 4, true);
  if (crc32(bytes.subarray(at + 8, at + headerBytes)) !== sum) return undefined;
  return {
    payloadCrc: view.getUint32(at + 8, true),
    payloadBytes: view.getUint32(at + 12, true),
    segment: view.getUint32(at + 16, true),
    salt: view.getUint32(at + 20, true),
    kind: view.getUint16(at + 24, true),
    lane: view.getUint16(at + 26, true),
    stream: view.getUint32(at + 28, true),
    shape: view.getUint32(at + 32, true),
    rowCount: view.getUint32(at + 36, true),
    first: wide(view, at + 40),
    group: wide(view, at + 48),
    index: view.getUint32(at + 56, true),
    blocks: view.getUint32(at + 60, true),
    durable: { segment: view.getUint32(at + 64, true), offset: view.getUint32(at + 68, true) },
    wallMs: view.getFloat64(at + 72, true),
  };
}

/**
 * Whether the whole payload of the block at `at` stands in `from` and has the header's checksum.
 */
export function isPayloadSound(from: Bytes, at: number, header: BlockHeader): boolean {
  const start = at + headerBytes;
  const end = start + header.payloadBytes;
  return end <= from.bytes.length && crc32(from.bytes.subarray(start, end)) === header.payloadCrc;
}

export const bytesOf = (bytes: Uint8Array): Bytes => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
});
