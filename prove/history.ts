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
  /** The last note of each request that has a key. */
  readonly requests = new Map<string, RequestNote>();

  has(block: RecoveredBlock): boolean {
    return this.#written.get(placeOf(block))?.has(`${block.rows} ${block.crc}`) ?? false;
  }

  /** Takes in the blocks that begin `bytes`, as far as whole ones stand there. */
  learn(bytes: Uint8Array): void {
    const from = bytesOf(bytes);
    for (let at = 0; ; ) {
      const header = readHeader(from, at);
      if (!header || !isPayloadSound(from, at, header)) return;
      const { kind, stream, lane, first, rowCount: rows, payloadBytes } = header;
      const payload = bytes.subarray(at + headerBytes, at + headerBytes + payloadBytes);
      if (kind === blockKind.rows || kind === blockKind.undecoded) {
        const block = { stream, lane, first, rows, crc: crc32(payload) };
        const written = this.#written.get(placeOf(block)) ?? new Set();
        this.#written.set(placeOf(block), written.add(`${rows} ${block.crc}`));
      } else if (kind === blockKind.requests) {
        for (const note of decodeNote<RequestNote[]>(payload)) {
          if (note.key !== undefined) this.requests.set(requestName(note.stream, note.key), note);
        }
      }
      at += blockBytes(payloadBytes);
    }
  }
}
