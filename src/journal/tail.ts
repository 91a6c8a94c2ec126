// The end of the journal. Bytes are written behind it and synced, and it moves once they are
// durable. Nothing is written while a sync is under way, nor after a write or a sync has failed:
// whoever owns it sees to that.
import assert from 'node:assert/strict';
import type { Clock } from '../clock.ts';
import type { DiskFile } from '../disk.ts';
import type { Metrics } from '../metrics.ts';
import type { Position } from './block.ts';
import { writeAll } from './segments.ts';

export interface TailParts {
  readonly clock: Clock;
  readonly metrics: Metrics;
}

export class Tail {
  readonly #parts: TailParts;
  #file: DiskFile | undefined;
  #end: Position = { segment: 0, offset: 0 };
  #syncedAtMs = 0;
  #syncMs = 0;

  constructor(parts: TailParts) {
    this.#parts = parts;
  }

  /** Up to where the journal is durable. */
  get end(): Position {
    return this.#end;
  }

  /** Whether the last sync is longer ago than two take. */
  get isRested(): boolean {
    return this.#parts.clock.monotonicMs() - this.#syncedAtMs > 2 * this.#syncMs;
  }

  /** From now on in this file, behind what of it is durable. */
  goOn(file: DiskFile, end: Position): void {
    this.#file?.close();
    this.#file = file;
    this.#end = end;
  }

  /** Durable when it returns. Throws what the disk says. */
  append(bytes: Uint8Array): void {
    const file = this.#write(bytes);
    const begunMs = this.#parts.clock.monotonicMs();
    file.sync();
    this.#synced(bytes.length, begunMs);
  }

  /**
   * Durable when it resolves; the bytes may be used again at once. The thread goes on meanwhile.
   * Rejects with what the disk says.
   */
  async appendAside(bytes: Uint8Array): Promise<void> {
    const { length } = bytes;
    const file = this.#write(bytes);
    const begunMs = this.#parts.clock.monotonicMs();
    await file.syncAside();
    this.#synced(length, begunMs);
  }

  #write(bytes: Uint8Array): DiskFile {
    assert(this.#file, 'a running journal has a segment');
    writeAll(this.#file, bytes, this.#end.offset);
    return this.#file;
  }

  #synced(length: number, begunMs: number): void {
    const { clock, metrics } = this.#parts;
    this.#syncedAtMs = clock.monotonicMs();
    this.#syncMs = this.#syncedAtMs - begunMs;
    metrics.journalSyncSeconds.observe(this.#syncMs / 1000);
    const { segment, offset } = this.#end;
    this.#end = { segment, offset: offset + length };
  }

  close(): void {
    this.#file?.close();
  }
}
