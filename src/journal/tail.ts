// The end of the journal. Bytes are written behind it and synced, and it moves once they are
// durable. Nothing is written while a sync is under way, nor after a write or a sync has failed.
import assert from 'node:assert/strict';
import type { Clock } from '../clock.ts';
import type { DiskFile } from '../disk.ts';
import { limits } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import type { Position } from './block.ts';
import { writeAll } from './segments.ts';

export interface TailParts {
  readonly clock: Clock;
  readonly metrics: Metrics;
}

/** A sync aside is late where it took so many times what one takes on the caller's turn. */
const lateTimes = 20;

export class Tail {
  readonly #parts: TailParts;
  #file: DiskFile | undefined;
  #end: Position = { segment: 0, offset: 0 };
  #isSound = true;
  /** Since when a sync aside is under way. */
  #syncingSinceMs: number | undefined;
  #syncedAtMs = 0;
  /** What a sync takes that nothing kept waiting. */
  #syncMs = 0;
  /** Until then syncs aside do not pay, and for how long that was found. */
  #asideFromMs = 0;
  #withoutMs = 0;

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

  /** Whether a sync aside comes back in time: the process may keep its threads busy otherwise. */
  get paysAside(): boolean {
    return this.#parts.clock.monotonicMs() >= this.#asideFromMs;
  }

  /** How long the sync that is under way has taken; 0 where none is. */
  get syncingMs(): number {
    const { clock } = this.#parts;
    return this.#syncingSinceMs === undefined ? 0 : clock.monotonicMs() - this.#syncingSinceMs;
  }

  /** From now on in this file, behind what of it is durable. */
  goOn(file: DiskFile, end: Position): void {
    this.#mustBeSound();
    this.#file?.close();
    this.#file = file;
    this.#end = end;
  }

  /** Durable when it returns. Throws what the disk says. */
  append(bytes: Uint8Array): void {
    const file = this.#write(bytes);
    const begunMs = this.#parts.clock.monotonicMs();
    file.sync();
    this.#syncMs = this.#synced(bytes.length, begunMs);
  }

  /**
   * Durable when it resolves; the bytes may be used again at once. The thread goes on meanwhile.
   * Rejects with what the disk says.
   */
  async appendAside(bytes: Uint8Array): Promise<void> {
    const { length } = bytes;
    const file = this.#write(bytes);
    const begunMs = this.#parts.clock.monotonicMs();
    this.#syncingSinceMs = begunMs;
    try {
      await file.syncAside();
    } finally {
      this.#syncingSinceMs = undefined;
    }
    this.#judgeAside(this.#synced(length, begunMs));
  }

  #mustBeSound(): void {
    assert(this.#isSound, 'nothing is written after a failure, nor while a sync is under way');
  }

  #write(bytes: Uint8Array): DiskFile {
    this.#mustBeSound();
    assert(this.#file, 'a running journal has a segment');
    // Until it is synced.
    this.#isSound = false;
    writeAll(this.#file, bytes, this.#end.offset);
    return this.#file;
  }

  #synced(length: number, begunMs: number): number {
    const { clock, metrics } = this.#parts;
    this.#syncedAtMs = clock.monotonicMs();
    const tookMs = this.#syncedAtMs - begunMs;
    metrics.journalSyncSeconds.observe(tookMs / 1000);
    const { segment, offset } = this.#end;
    this.#end = { segment, offset: offset + length };
    this.#isSound = true;
    return tookMs;
  }

  #judgeAside(tookMs: number): void {
    const { asideLateMsMin, asideWithoutMsMin, asideWithoutMsMax } = limits;
    const isLate = tookMs > Math.max(asideLateMsMin, lateTimes * this.#syncMs);
    if (!isLate) {
      this.#withoutMs = 0;
      // What kept the last one on the caller's turn waiting is over; more is no news of the disk.
      this.#syncMs = Math.min(this.#syncMs, tookMs);
      return;
    }
    this.#withoutMs = Math.min(Math.max(asideWithoutMsMin, 2 * this.#withoutMs), asideWithoutMsMax);
    this.#asideFromMs = this.#syncedAtMs + this.#withoutMs;
  }

  close(): void {
    assert(this.#syncingSinceMs === undefined, 'a sync that is under way is waited for');
    this.#file?.close();
  }
}
