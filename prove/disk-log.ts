// A disk that writes down what is done to it: a log from which every state can be made that a power
// cut may leave (crash-states.ts), and by which a real disk and the simulated one are compared.
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Disk, DiskFile, OpenMode } from '../src/disk.ts';

/** What the world outside has learned since the operation before. */
export interface Mark {
  readonly kind: 'mark';
  /** Requests that were acknowledged: stream name and key. */
  readonly acknowledged?: readonly (readonly [stream: string, key: string])[];
  /** Where the target has settled its lanes. */
  readonly settled?: readonly (readonly [stream: string, lane: number, settled: number])[];
  /** Requests that the database of requests holds: stream id and key. */
  readonly remembered?: readonly (readonly [stream: number, key: string])[];
}

/** Files have numbers: their names change. */
export type Operation =
  | { readonly kind: 'create'; readonly path: string; readonly file: number }
  | {
      readonly kind: 'write';
      readonly file: number;
      readonly position: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'sync'; readonly file: number }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'syncDirectory'; readonly path: string };

export type Logged = Operation | Mark;

export class DiskLog {
  readonly entries: Logged[] = [];
  /** How many of them only say what was there at the beginning. */
  begunAt = 0;
  /** Asked before each operation: what was learned meanwhile. */
  watch: () => Mark | undefined = () => undefined;
  readonly #names = new Map<string, number>();
  #files = 0;
  /** Requests that the database holds now: asked before a segment is dropped. */
  #remembered: () => readonly (readonly [stream: number, key: string])[] = () => [];

  /** The same disk, each change of which is written down once it was done. */
  recorded(disk: Disk): Disk {
    return {
      open: (path, mode) => this.#open(disk, path, mode),
      list: (directory) => disk.list(directory),
      rename: (from, to) => {
        disk.rename(from, to);
        this.#add({ kind: 'rename', from, to });
        const file = this.#names.get(from);
        this.#names.delete(from);
        if (file !== undefined) this.#names.set(to, file);
      },
      remove: (path) => {
        disk.remove(path);
        this.#add({ kind: 'remove', path });
        this.#names.delete(path);
      },
      makeDirectory: (path) => disk.makeDirectory(path),
      syncDirectory: (path) => {
        disk.syncDirectory(path);
        this.#add({ kind: 'syncDirectory', path });
      },
      changeNames: (path, change) => {
        disk.changeNames(path, change);
        this.#add({ kind: 'syncDirectory', path });
      },
      freeBytes: (directory) => disk.freeBytes(directory),
      lock: (path) => disk.lock(path),
      database: (path) => this.#database(disk, path),
      createZeroed: (path, bytes) => this.#createZeroed(disk, path, bytes),
    };
  }

  /** What was learned after the last operation. */
  end(): void {
    const mark = this.watch();
    if (mark) this.entries.push(mark);
  }

  #add(operation: Operation): void {
    this.end();
    if (isDropped(operation)) {
      this.entries.push({ kind: 'mark', remembered: this.#remembered() });
    }
    this.entries.push(operation);
  }

  /** What a disk holds already, all of it durable. */
  begin(disk: Disk, directory: string): void {
    for (const name of disk.list(directory)) {
      const path = join(directory, name);
      const opened = disk.open(path, 'read');
      const bytes = new Uint8Array(opened.size());
      opened.read(bytes, 0);
      opened.close();
      const file = this.#create(path);
      this.#add({ kind: 'write', file, position: 0, bytes });
      this.#add({ kind: 'sync', file });
    }
    this.#add({ kind: 'syncDirectory', path: directory });
    this.begunAt = this.entries.length;
  }

  #create(path: string): number {
    const file = ++this.#files;
    this.#add({ kind: 'create', path, file });
    this.#names.set(path, file);
    return file;
  }

  #open(disk: Disk, path: string, mode: OpenMode): DiskFile {
    const opened = disk.open(path, mode);
    const file = mode === 'create' ? this.#create(path) : (this.#names.get(path) ?? 0);
    return {
      ...opened,
      write: (bytes, position) => {
        const taken = opened.write(bytes, position);
        this.#add({ kind: 'write', file, position, bytes: bytes.slice(0, taken) });
        return taken;
      },
      sync: () => {
        opened.sync();
        this.#add({ kind: 'sync', file });
      },
      syncAside: async () => {
        await opened.syncAside();
        this.#add({ kind: 'sync', file });
      },
    };
  }

  async #createZeroed(disk: Disk, path: string, bytes: number): Promise<void> {
    const file = this.#create(path);
    this.#add({ kind: 'write', file, position: 0, bytes: new Uint8Array(bytes) });
    await disk.createZeroed(path, bytes);
    this.#add({ kind: 'sync', file });
  }

  /** Its committed transactions are durable. */
  #database(disk: Disk, path: string): DatabaseSync {
    const database = disk.database(path);
    this.#remembered = () => (database.isOpen ? rememberedIn(database) : []);
    return database;
  }
}

/** Removed, or made a spare: what was in it is nowhere else in the journal. */
const isDropped = (operation: Operation): boolean =>
  (operation.kind === 'remove' && operation.path.endsWith('.segment')) ||
  (operation.kind === 'rename' && operation.from.endsWith('.segment'));

/** The requests that the database of requests holds, by stream and key. */
export function rememberedIn(database: DatabaseSync): (readonly [stream: number, key: string])[] {
  const [table] = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'requests'").all();
  if (!table) return [];
  const rows = database.prepare('SELECT stream, key FROM requests WHERE key IS NOT NULL').all();
  return rows.map((row) => [Number(row['stream']), String(row['key'])]);
}
