// Reads the blocks of one segment file in order, through a window, without holding the file in
// memory. Used by recovery, by the loaders' feeds, by verify and by inspection: one way to read a
// journal.
import type { DiskFile } from '../disk.ts';
import {
  type BlockHeader,
  type Bytes,
  blockBytes,
  bytesOf,
  headerBytes,
  isPayloadSound,
  readHeader,
} from './block.ts';

const windowBytes = 1024 * 1024;
/** A window for who reads the first block of a file only. */
export const headWindowBytes = 64 * 1024;

/** A block in the reader's window; its bytes are valid until the next `read`. */
export interface ReadBlock {
  readonly header: BlockHeader;
  /** Where the block begins in the file, and where the next one would. */
  readonly offset: number;
  readonly next: number;
  readonly window: Bytes;
  /** The payload is window.bytes[start .. end). */
  readonly start: number;
  readonly end: number;
}

export const payloadOf = ({ window, start, end }: ReadBlock): Uint8Array =>
  window.bytes.subarray(start, end);

export class BlockReader {
  readonly #file: DiskFile;
  #window: Bytes;
  #from = 0;
  #filled = 0;
  /** Nothing at or beyond this offset is read. */
  limit: number;

  constructor(file: DiskFile, windowBytesMax = windowBytes) {
    this.#file = file;
    this.limit = file.size();
    this.#window = bytesOf(new Uint8Array(Math.min(windowBytesMax, this.limit)));
  }

  /**
   * The sound block at `offset`, or undefined where none stands there. With `isHeaderEnough` the
   * payload is neither read nor checked.
   */
  read(offset: number, isHeaderEnough = false): ReadBlock | undefined {
    if (!this.#cover(offset, headerBytes)) return undefined;
    const header = readHeader(this.#window, offset - this.#from);
    if (!header) return undefined;
    if (offset + blockBytes(header.payloadBytes) > this.limit) return undefined;
    return isHeaderEnough ? this.#place(header, offset) : this.#sound(header, offset);
  }

  /** The same block with its payload, or undefined where that is not whole. */
  whole({ header, offset }: ReadBlock): ReadBlock | undefined {
    return this.#sound(header, offset);
  }

  #sound(header: BlockHeader, offset: number): ReadBlock | undefined {
    if (!this.#cover(offset, blockBytes(header.payloadBytes))) return undefined;
    if (!isPayloadSound(this.#window, offset - this.#from, header)) return undefined;
    return this.#place(header, offset);
  }

  #place(header: BlockHeader, offset: number): ReadBlock {
    const start = offset - this.#from + headerBytes;
    const end = start + header.payloadBytes;
    const next = offset + blockBytes(header.payloadBytes);
    return { header, offset, next, window: this.#window, start, end };
  }

  /** Whether all bytes from `offset` to the end of the file are zero. */
  isZeroFrom(offset: number): boolean {
    const zeros = new Uint8Array(Math.min(this.#window.bytes.length, this.limit));
    for (let at = offset; at < this.limit; at = this.#from + this.#filled) {
      if (!this.#cover(at, 1)) return true;
      const part = this.#window.bytes.subarray(at - this.#from, this.#filled);
      if (Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) return false;
    }
    return true;
  }

  /** The first sound block at or after `offset` that `accepts`, looking at every eighth byte. */
  search(offset: number, accepts: (block: ReadBlock) => boolean): ReadBlock | undefined {
    for (let at = (offset + 7) & ~7; at + headerBytes <= this.limit; at += 8) {
      if (!this.#cover(at, headerBytes)) return undefined;
      if (this.#window.view.getUint32(at - this.#from, true) === 0) continue;
      const block = this.read(at);
      if (block && accepts(block)) return block;
    }
    return undefined;
  }

  #cover(offset: number, length: number): boolean {
    if (offset >= this.#from && offset + length <= this.#from + this.#filled) return true;
    if (offset + length > this.limit) return false;
    if (length > this.#window.bytes.length) {
      this.#window = bytesOf(new Uint8Array(Math.ceil(length / windowBytes + 1) * windowBytes));
    }
    const wanted = Math.min(this.#window.bytes.length, this.limit - offset);
    this.#from = offset;
    this.#filled = this.#file.read(this.#window.bytes.subarray(0, wanted), offset);
    return this.#filled >= length;
  }
}
