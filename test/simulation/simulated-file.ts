// One file of the simulated disk: what the page cache shows, what the platter holds, and the writes
// between the two, in order.
import type { Random } from './random.ts';

export const sectorBytes = 512;

/** A thing that a power cut may or may not have left behind. */
export type Unit =
  /** The content of a sector as the `write`-th write since the last sync left it. */
  | {
      readonly kind: 'sector';
      readonly path: string;
      readonly sector: number;
      readonly write: number;
    }
  /** The size that the file had grown to. */
  | { readonly kind: 'size'; readonly path: string }
  /** A change of a directory's names that was not synced. */
  | { readonly kind: 'name'; readonly path: string; readonly change: string };

export interface Survival {
  readonly path: string;
  readonly keep: (unit: Unit) => boolean;
  readonly random: Random;
}

export class SimulatedFile {
  #cache: Uint8Array = new Uint8Array(0);
  #size = 0;
  #durable: Uint8Array = new Uint8Array(0);
  #pending: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  /** Whether a copy of this file shows the same bytes: they are copied before they change. */
  #isCacheShared = false;
  #isDurableShared = false;

  get size(): number {
    return this.#size;
  }

  write(bytes: Uint8Array, at: number): void {
    this.#ownCache();
    this.#growTo(at + bytes.length);
    this.#cache.set(bytes, at);
    this.#pending.push({ at, bytes: bytes.slice() });
  }

  #ownCache(): void {
    if (this.#isCacheShared) this.#cache = this.#cache.slice();
    this.#isCacheShared = false;
  }

  #growTo(size: number): void {
    if (size <= this.#size) return;
    if (size > this.#cache.length) {
      const grown = new Uint8Array(Math.max(size, this.#cache.length * 2));
      grown.set(this.#cache.subarray(0, this.#size));
      this.#cache = grown;
    }
    this.#size = size;
  }

  read(into: Uint8Array, at: number): number {
    const bytes = this.#cache.subarray(
      Math.min(at, this.#size),
      Math.min(at + into.length, this.#size),
    );
    into.set(bytes);
    return bytes.length;
  }

  sync(): void {
    if (this.#pending.length === 0) return;
    if (this.#size > this.#durable.length || this.#isDurableShared) {
      const grown = new Uint8Array(this.#size);
      grown.set(this.#durable);
      this.#durable = grown;
      this.#isDurableShared = false;
    }
    for (const { at, bytes } of this.#pending) this.#durable.set(bytes, at);
    this.#pending = [];
  }

  /** Linux after a failed write-back: pages marked clean, dropped, read again from the platter. */
  loseUnsynced(survival: Survival): void {
    const left = this.#platter(survival);
    this.#durable = left;
    this.#cache = left;
    this.#isDurableShared = true;
    this.#isCacheShared = true;
    this.#size = left.length;
    this.#pending = [];
  }

  /** The same file after the process died: the page cache is as it was. */
  copy(): SimulatedFile {
    const file = new SimulatedFile();
    for (const one of [this, file]) {
      one.#isCacheShared = true;
      one.#isDurableShared = true;
    }
    file.#cache = this.#cache;
    file.#size = this.#size;
    file.#durable = this.#durable;
    file.#pending = [...this.#pending];
    return file;
  }

  /** The file as it may come back after a power cut. */
  afterPowerCut(survival: Survival): SimulatedFile {
    const file = this.copy();
    file.loseUnsynced(survival);
    return file;
  }

  /** The platter, with those of the pending writes that reached it, sector by sector. */
  #platter({ path, keep, random }: Survival): Uint8Array {
    if (this.#pending.length === 0) return this.#durable;
    const before = this.#durable.length;
    const seen = new Uint8Array(this.#size);
    seen.set(this.#durable);
    const left = seen.slice();
    const kept = new Set<number>();
    let size = before;
    for (const [write, { at, bytes }] of this.#pending.entries()) {
      seen.set(bytes, at);
      const end = at + bytes.length;
      for (let sector = Math.floor(at / sectorBytes); sector * sectorBytes < end; sector++) {
        if (!keep({ kind: 'sector', path, sector, write })) continue;
        const from = sector * sectorBytes;
        left.set(seen.subarray(from, from + sectorBytes), from);
        kept.add(sector);
        size = Math.max(size, Math.min(end, from + sectorBytes));
      }
    }
    if (keep({ kind: 'size', path })) size = this.#size;
    // Blocks given to the file and never written show zeros, or what they held for someone else.
    const isGarbage = random.chance(0.5);
    for (let at = before; isGarbage && at < size; at++) {
      if (!kept.has(Math.floor(at / sectorBytes))) left[at] = random.below(256);
    }
    return left.slice(0, size);
  }
}
