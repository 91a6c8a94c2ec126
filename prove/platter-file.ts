// One file while a log is replayed: the bytes on the platter, and the writes that no sync has
// covered. What may be of it after a power cut is put together from units: what a sector, or all
// sectors of a page, held after one of those writes.
import { hash } from 'node:crypto';
import { type ImageFile, sectorBytes } from './crash-image.ts';

/** 64 bits of a digest. Those of a file's sectors are added by XOR, in any order. */
export type Digest = readonly [number, number];

/** What a sector held after one of the writes. */
interface Version {
  readonly sector: number;
  readonly bytes: Uint8Array;
  /** What it adds to the file's digest, with what it takes away: the platter's own bytes. */
  readonly change: Digest;
}

/** What a power cut keeps or drops as one. */
export interface Unit {
  readonly file: PlatterFile;
  readonly versions: readonly Version[];
}

/** What the sectors show that were being written and did not get there. */
export type Fill = 'old' | 'garbage';

const zeros = new Uint8Array(sectorBytes);
const none: Digest = [0, 0];

/** Of a sector of zeros it is nothing: so a file may grow without being digested again. */
function digestOf(sector: number, bytes: Uint8Array): Digest {
  if (Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0) return none;
  const sum = hash('sha1', Buffer.concat([Buffer.from(`${sector} `), bytes]), 'buffer');
  return [sum.readInt32LE(0), sum.readInt32LE(4)];
}

const xor = (a: Digest, b: Digest): Digest => [a[0] ^ b[0], a[1] ^ b[1]];

/** Lies only where the platter has nothing but zeros. */
const garbage = (sector: number): Version => {
  let state = (sector + 1) * 0x9e3779b1;
  const bytes = Uint8Array.from({ length: sectorBytes }, () => {
    state = Math.imul(state ^ (state >>> 15), 0x85ebca6b) + 1;
    return state >>> 24;
  });
  return { sector, bytes, change: digestOf(sector, bytes) };
};

const garbageKept = new Map<number, Version>();

function garbageOf(sector: number): Version {
  const known = garbageKept.get(sector) ?? garbage(sector);
  garbageKept.set(sector, known);
  return known;
}

export class PlatterFile {
  #platter = new Uint8Array(0);
  #size = 0;
  #pending: { readonly at: number; readonly bytes: Uint8Array }[] = [];
  #digest: Digest = none;
  /** Behind it nothing but zeros was ever synced. */
  #frontier = 0;

  get hasPending(): boolean {
    return this.#pending.length > 0;
  }

  write(at: number, bytes: Uint8Array): void {
    this.#pending.push({ at, bytes });
    this.#size = Math.max(this.#size, at + bytes.length);
  }

  sync(): void {
    if (this.#platter.length < this.#size) {
      const grown = new Uint8Array(this.#size);
      grown.set(this.#platter);
      this.#platter = grown;
    }
    for (const { at, bytes } of this.#pending) {
      const end = at + bytes.length;
      const sectors = sectorsOf(at, end).map((sector) => ({ sector, was: this.#sector(sector) }));
      for (const { sector, was } of sectors) this.#add(digestOf(sector, was));
      this.#platter.set(bytes, at);
      for (const { sector } of sectors) this.#add(digestOf(sector, this.#sector(sector)));
      if (bytes.some((byte) => byte !== 0)) this.#frontier = Math.max(this.#frontier, end);
    }
    this.#pending = [];
  }

  #sector(sector: number): Uint8Array {
    const start = sector * sectorBytes;
    return this.#platter.subarray(start, start + sectorBytes);
  }

  #add(digest: Digest): void {
    this.#digest = xor(this.#digest, digest);
  }

  /** The bytes of the writes that no sync has covered, from the first of them on. */
  pendingBytes(): Uint8Array {
    const from = Math.min(...this.#pending.map(({ at }) => at));
    const to = Math.max(...this.#pending.map(({ at, bytes }) => at + bytes.length));
    const whole = new Uint8Array(to - from);
    whole.set(this.#platter.subarray(from, to));
    for (const { at, bytes } of this.#pending) whole.set(bytes, at - from);
    return whole;
  }

  /** In the order of the writes; those of one write in the order of the file. */
  units(unitBytes: number): Unit[] {
    const seen = new Uint8Array(this.#size);
    seen.set(this.#platter);
    return this.#pending.flatMap(({ at, bytes }) => {
      seen.set(bytes, at);
      const byUnit = new Map<number, Version[]>();
      for (const sector of sectorsOf(at, at + bytes.length)) {
        const start = sector * sectorBytes;
        const shown = seen.slice(start, start + sectorBytes);
        const unit = Math.floor(start / unitBytes);
        const own = byUnit.get(unit) ?? [];
        const was = digestOf(sector, this.#sector(sector));
        own.push({ sector, bytes: shown, change: xor(was, digestOf(sector, shown)) });
        byUnit.set(unit, own);
      }
      return [...byUnit.values()].map((versions) => ({ file: this, versions }));
    });
  }

  /** The file after a power cut that kept `kept`, of the units in `all`, and its digest. */
  image(
    all: readonly Unit[],
    { kept, fill }: { readonly kept: (unit: Unit) => boolean; readonly fill: Fill },
  ): ImageFile & { readonly digest: Digest } {
    const chosen = new Map<number, Version>();
    for (const unit of all) {
      for (const version of unit.versions) {
        const { sector } = version;
        if (kept(unit)) chosen.set(sector, version);
        else if (fill === 'garbage' && sector * sectorBytes >= this.#frontier) {
          if (!chosen.has(sector)) chosen.set(sector, garbageOf(sector));
        }
      }
    }
    const patches = new Map<number, Uint8Array>();
    let digest = this.#digest;
    let size = fill === 'garbage' ? this.#size : this.#platter.length;
    for (const { sector, bytes, change } of chosen.values()) {
      patches.set(sector, bytes);
      digest = xor(digest, change);
      size = Math.max(size, sector * sectorBytes + bytes.length);
    }
    return { size, platter: this.#platter, patches, digest };
  }
}

function sectorsOf(from: number, to: number): number[] {
  const first = Math.floor(from / sectorBytes);
  const count = Math.ceil(to / sectorBytes) - first;
  return Array.from({ length: Math.max(0, count) }, (_, i) => first + i);
}
