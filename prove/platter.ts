// What the platter holds while the operations of a log are done one after another, and beside it
// what is only in the page cache: writes and changes of names that no sync has covered yet.
//
// The model is that of test/simulation/simulated-disk.ts, which a test holds against this one: a
// sync of a file covers the writes made to it before, a sync of the directory the changes of its
// names; of all else any part may be there after a power cut.
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import type { ImageFile } from './crash-image.ts';
import type { Operation } from './disk-log.ts';
import { type Fill, PlatterFile, type Unit } from './platter-file.ts';

interface NameChange {
  readonly from?: string;
  readonly to?: string;
  readonly file?: PlatterFile;
}

type Names = Map<string, PlatterFile>;

/** A unit of a file, or a change of the directory's names. */
export type Loose = Unit | NameChange;

export interface CrashState {
  readonly files: ReadonlyMap<string, ImageFile>;
  /** Equal where recovery could not tell the states apart. */
  readonly key: string;
}

const isUnit = (loose: Loose): loose is Unit => 'versions' in loose;

/** Recovery reads their content. Of spares only names matter, of unfinished files nothing. */
const isRead = (name: string): boolean => /\.segment$|\.held-\d+$/.test(name);
const isNamed = (name: string): boolean => isRead(name) || /^spare-\d+$/.test(name);

function apply(names: Names, { from, to, file }: NameChange): void {
  if (from !== undefined && (to === undefined || names.get(from) === file)) names.delete(from);
  if (to !== undefined && file) names.set(to, file);
}

export class Platter {
  readonly #files = new Map<number, PlatterFile>();
  /** As a process sees them. */
  readonly #names: Names = new Map();
  readonly #durable: Names = new Map();
  #changes: NameChange[] = [];

  do(operation: Operation): void {
    switch (operation.kind) {
      case 'create': {
        const file = new PlatterFile();
        this.#files.set(operation.file, file);
        this.#change({ to: basename(operation.path), file });
        break;
      }
      case 'write':
        this.#file(operation.file).write(operation.position, operation.bytes);
        break;
      case 'sync':
        this.#file(operation.file).sync();
        break;
      case 'rename': {
        const from = basename(operation.from);
        const file = this.#names.get(from);
        assert(file, `${from} was made before it is renamed`);
        this.#change({ from, to: basename(operation.to), file });
        break;
      }
      case 'remove':
        this.#change({ from: basename(operation.path) });
        break;
      case 'syncDirectory':
        for (const change of this.#changes) apply(this.#durable, change);
        this.#changes = [];
    }
  }

  #file(number: number): PlatterFile {
    const file = this.#files.get(number);
    assert(file, `file ${number} was made before it is used`);
    return file;
  }

  #change(change: NameChange): void {
    apply(this.#names, change);
    this.#changes.push(change);
  }

  /** What was written to the file and no sync has covered yet. */
  pendingBytes(file: number): Uint8Array {
    return this.#file(file).pendingBytes();
  }

  /** All that a power cut may keep or drop now, of what recovery looks at. */
  loose(unitBytes: number): Loose[] {
    const read = new Set<PlatterFile>();
    for (const [name, file] of this.#durable) if (isRead(name)) read.add(file);
    for (const { to, file } of this.#changes) if (to && file && isRead(to)) read.add(file);
    const units = [...read].flatMap((file) => (file.hasPending ? file.units(unitBytes) : []));
    return [...units, ...this.#changes];
  }

  /** The directory after a power cut now that kept some of `loose`. */
  crash(loose: readonly Loose[], kept: ReadonlySet<Loose>, fill: Fill): CrashState {
    const names: Names = new Map(this.#durable);
    for (const one of loose) if (!isUnit(one) && kept.has(one)) apply(names, one);
    const files = new Map<string, ImageFile>();
    const keys: string[] = [];
    for (const [name, file] of names) {
      const own = loose.filter((one): one is Unit => isUnit(one) && one.file === file);
      const image = file.image(own, { kept: (unit) => kept.has(unit), fill });
      files.set(name, image);
      const [high, low] = isRead(name) ? image.digest : [0, 0];
      if (isNamed(name)) keys.push(`${name} ${isRead(name) ? image.size : ''} ${high} ${low}`);
    }
    return { files, key: keys.sort().join('\n') };
  }
}
