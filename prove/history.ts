// All that was ever written to a journal's files, read from the writes themselves: so that what
// recovery serves can be held against it, byte for byte.
import { crc32 } from 'node:zlib';
import {
  blockBytes,
  blockKind,
  bytesOf,
  headerBytes,
  isPayloadSound,
  readHeader,
} from '../src/journal/block.ts';
import { decodeNote, type RequestNote } from '../src/journal/notes.ts';
import { type RecoveredBlock, requestName } from './oracle.ts';

const placeOf = ({ stream, lane, first }: RecoveredBlock): string => `${stream} ${lane} ${first}`;

export class History {
  /**
   * The CRCs of what was written for a place. Where a group was cut, its sequences are given again.
   */
  readonly #written = new Map<string, Set<string>>();
  /** How many blocks of records a group was written with. */
  readonly #groups = new Map<number, Set<number>>();
  /** The last note of each request that has a key. */
  readonly requests = new Map<string, RequestNote>();

  has(block: RecoveredBlock): boolean {
    return this.#written.get(placeOf(block))?.has(`${block.rows} ${block.crc}`) ?? false;
  }

  /** Whether a group with so many blocks of records was written. */
  hadGroup(group: number, blocks: number): boolean {
    return this.#groups.get(group)?.has(blocks) ?? false;
  }

  /** Takes in the blocks that begin `bytes`, as far as whole ones stand there. */
  learn(bytes: Uint8Array): void {
    const from = bytesOf(bytes);
    const blocksOf = new Map<number, number>();
    for (let at = 0; ; ) {
      const header = readHeader(from, at);
      if (!header || !isPayloadSound(from, at, header)) break;
      const { kind, stream, lane, first, rowCount: rows, payloadBytes } = header;
      const payload = bytes.subarray(at + headerBytes, at + headerBytes + payloadBytes);
      if (kind === blockKind.rows || kind === blockKind.undecoded) {
        const { group } = header;
        const block = { stream, lane, first, rows, crc: crc32(payload), group };
        blocksOf.set(group, (blocksOf.get(group) ?? 0) + 1);
        const written = this.#written.get(placeOf(block)) ?? new Set();
        this.#written.set(placeOf(block), written.add(`${rows} ${block.crc}`));
      } else if (kind === blockKind.requests) {
        for (const note of decodeNote<RequestNote[]>(payload)) {
          if (note.key !== undefined) this.requests.set(requestName(note.stream, note.key), note);
        }
      }
      at += blockBytes(payloadBytes);
    }
    for (const [group, blocks] of blocksOf) {
      const known = this.#groups.get(group) ?? new Set();
      this.#groups.set(group, known.add(blocks));
    }
  }
}
