// A disk in memory that can lose what a real one may lose. Everything follows from the seed.
//
// What survives: a process's death (`kill`) leaves all that was written. A power cut (`crash`)
// leaves what was synced, and of the rest any part: each 512-byte sector as some write left it,
// each change of a directory's names made or not. Directories themselves and committed
// transactions of a `database` are durable at once.
//
// Every call to a method of the disk or of a file counts as one operation, in `trace`; a fault
// strikes before the operation has done anything. After a death every operation throws.
import assert from 'node:assert/strict';
import { basename, dirname, normalize } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../src/clock.ts';
import type { Disk, DiskFile, DiskLock, OpenMode } from '../../src/disk.ts';
import { Random } from './random.ts';
import { SimulatedDatabase } from './simulated-database.ts';
import { Directory, type NameChange } from './simulated-directory.ts';
import { type Fault, type FaultPlan, failure, faultsOf, strikes } from './simulated-fault.ts';
import { SimulatedFile, type Survival, type Unit } from './simulated-file.ts';

/** The process is gone: nothing may catch this and go on. */
export class SimulatedDeath extends Error {
  override readonly name = 'SimulatedDeath';
}

export interface Traced {
  readonly operation: string;
  readonly path: string;
  readonly position?: number;
  readonly length?: number;
}

export interface SimulatedDiskOptions {
  readonly seed?: number;
  /** What takes its time on a real disk takes up to `takesMsMax` of its time; else a turn. */
  readonly clock?: Pick<Clock, 'sleep' | 'random'>;
  /** Bytes of all files together. */
  readonly capacityBytes?: number;
}

export const quickMs = 4;

export class SimulatedDisk implements Disk {
  readonly trace: Traced[] = [];
  /** May be changed at any time: that is how room is freed. */
  capacityBytes: number;
  /** So may this: a slow disk. */
  takesMsMax = quickMs;
  readonly #random: Random;
  readonly #directories = new Map<string, Directory>();
  readonly #databases = new Map<string, SimulatedDatabase>();
  #connections: DatabaseSync[] = [];
  readonly #locks = new Set<string>();
  #plans: FaultPlan[] = [];
  #isDead = false;
  #tellDied: () => void = () => undefined;
  /** Resolves when the process that uses this disk has died. */
  readonly died = new Promise<void>((resolve) => {
    this.#tellDied = resolve;
  });

  readonly #clock: SimulatedDiskOptions['clock'];

  constructor(options: SimulatedDiskOptions = {}) {
    const { seed = 1, capacityBytes = Number.POSITIVE_INFINITY, clock } = options;
    this.#random = new Random(seed);
    this.#clock = clock;
    this.capacityBytes = capacityBytes;
  }

  /** How many operations there were. */
  get operations(): number {
    return this.trace.length;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Adds a fault; each strikes once. */
  inject(plan: FaultPlan): void {
    this.#plans.push({ ...plan });
  }

  /** Faults of this kind strike no more. */
  spare(fault: Fault): void {
    this.#plans = this.#plans.filter((plan) => plan.fault !== fault);
  }

  /** No fault strikes any more, and there is room. */
  heal(): void {
    this.#plans = [];
    this.capacityBytes = Number.POSITIVE_INFINITY;
    this.takesMsMax = quickMs;
  }

  /** Ends the process that uses this disk: from now on every operation throws. */
  die(): void {
    this.#isDead = true;
    this.#tellDied();
    // Otherwise the dead could still commit.
    for (const connection of this.#connections) if (connection.isOpen) connection.close();
    this.#connections = [];
  }

  /** Lets go of its databases. No image can be taken any more. */
  dispose(): void {
    this.die();
    for (const database of this.#databases.values()) database.close();
    this.#databases.clear();
  }

  /** The disk that the next process finds after this one died. */
  kill(): SimulatedDisk {
    this.die();
    return this.snapshot();
  }

  /** A copy as it is shown now; its lock is nobody's. */
  snapshot(): SimulatedDisk {
    return this.#image((file) => file.copy(), undefined);
  }

  /**
   * The disk after a power cut. `keep` says which unsynced units are there; by default chance
   * does.
   */
  crash(options: { readonly keep?: (unit: Unit) => boolean } = {}): SimulatedDisk {
    this.die();
    // Nothing, everything and every other unit are the telling cases.
    const share = [0, 1, 0.5, this.#random.next()][this.#random.below(4)] ?? 0;
    const keep = options.keep ?? (() => this.#random.chance(share));
    const random = this.#random;
    return this.#image((file, path) => file.afterPowerCut({ path, keep, random }), keep);
  }

  #image(
    survivor: (file: SimulatedFile, path: string) => SimulatedFile,
    keep: ((unit: Unit) => boolean) | undefined,
  ): SimulatedDisk {
    const { capacityBytes } = this;
    const image = new SimulatedDisk({
      seed: this.#random.next32(),
      capacityBytes,
      ...(this.#clock ? { clock: this.#clock } : {}),
    });
    image.takesMsMax = this.takesMsMax;
    const survivors = new Map<SimulatedFile, SimulatedFile>();
    const survive = (file: SimulatedFile, path: string): SimulatedFile => {
      const known = survivors.get(file) ?? survivor(file, path);
      survivors.set(file, known);
      return known;
    };
    for (const [path, directory] of this.#directories) {
      const copy = new Directory();
      image.#directories.set(path, copy);
      for (const [name, file] of directory.durable) {
        copy.durable.set(name, survive(file, `${path}/${name}`));
      }
      for (const [name, file] of copy.durable) copy.names.set(name, file);
      for (const change of directory.pending) {
        const name = change.kind === 'rename' ? change.to : change.name;
        const unit: Unit = { kind: 'name', path: `${path}/${name}`, change: change.kind };
        if (keep && !keep(unit)) continue;
        const file = change.kind === 'unlink' ? undefined : survive(change.file, unit.path);
        copy.change(file ? ({ ...change, file } as NameChange) : change);
      }
      // What a power cut left is on the platter.
      if (keep) copy.sync();
    }
    for (const [path, database] of this.#databases) image.#databases.set(path, database.shared());
    return image;
  }

  /** Counts the operation; returns the fault that strikes it, a death aside. */
  #begin(operation: string, path: string, more: Partial<Traced> = {}): Fault | undefined {
    if (this.#isDead) throw new SimulatedDeath(`${operation} '${path}' by a dead process`);
    this.trace.push({ operation, path, ...more });
    const plan = this.#plans.find((one) =>
      strikes(one, { operation, path, number: this.operations }),
    );
    if (!plan) return undefined;
    if (!plan.isLasting) this.#plans = this.#plans.filter((other) => other !== plan);
    if (plan.fault !== 'die') return plan.fault;
    this.die();
    throw new SimulatedDeath(`died at operation ${this.operations}, ${operation} '${path}'`);
  }

  /** The same; throws the fault where it is an error of this operation. */
  #beginOrFail(operation: string, path: string): void {
    const fault = this.#begin(operation, path);
    if (fault && faultsOf(operation).includes(fault)) throw failure(fault, operation, path);
  }

  #directory(path: string): Directory {
    const directory = this.#directories.get(normalize(path));
    if (!directory) throw failure('ENOENT', 'open', path);
    return directory;
  }

  /** Of all files, as they are seen. */
  get usedBytes(): number {
    const files = [...this.#directories.values()].flatMap(({ names }) => [...names.values()]);
    return files.reduce((sum, file) => sum + file.size, 0);
  }

  open(path: string, mode: OpenMode): DiskFile {
    this.#beginOrFail(`open ${mode}`, path);
    const directory = this.#directory(dirname(path));
    const name = basename(path);
    const found = directory.names.get(name);
    if (mode !== 'create') {
      if (!found) throw failure('ENOENT', 'open', path);
      return this.#fileOf(found, path, mode);
    }
    if (found) throw failure('EEXIST', 'open', path);
    const file = new SimulatedFile();
    directory.change({ kind: 'link', name, file });
    return this.#fileOf(file, path, mode);
  }

  #fileOf(file: SimulatedFile, path: string, mode: OpenMode): DiskFile {
    let isOpen = true;
    const begin = (operation: string, more: Partial<Traced> = {}): Fault | undefined => {
      const fault = this.#begin(operation, path, more);
      if (!isOpen) throw failure('EBADF', operation, path);
      return fault;
    };
    const sync = (): void => {
      const fault = begin('sync');
      if (fault === 'EIO') file.loseUnsynced(this.#halfLost(path));
      if (fault && faultsOf('sync').includes(fault)) throw failure(fault, 'sync', path);
      file.sync();
    };
    return {
      write: (bytes, position) => {
        const fault = begin('write', { position, length: bytes.length });
        if (mode === 'read') throw failure('EBADF', 'write', path);
        return this.#write(file, { bytes, position, path, fault });
      },
      sync,
      syncAside: async () => {
        // Others run, and may die, while it is under way.
        await this.#takeTime();
        sync();
      },
      read: (into, position) => {
        const fault = begin('read', { position, length: into.length });
        if (fault === 'EIO') throw failure(fault, 'read', path);
        return file.read(into, position);
      },
      size: () => {
        begin('size');
        return file.size;
      },
      close: () => {
        begin('close');
        isOpen = false;
      },
    };
  }

  #halfLost(path: string): Survival {
    const random = this.#random;
    return { path, random, keep: () => random.chance(0.5) };
  }

  #write(
    file: SimulatedFile,
    {
      bytes,
      position,
      path,
      fault,
    }: {
      readonly bytes: Uint8Array;
      readonly position: number;
      readonly path: string;
      readonly fault: Fault | undefined;
    },
  ): number {
    if (fault && fault !== 'short' && faultsOf('write').includes(fault)) {
      throw failure(fault, 'write', path);
    }
    const room = this.capacityBytes - this.usedBytes + file.size - position;
    const fitting = Math.min(bytes.length, Math.max(room, file.size - position));
    if (bytes.length > 0 && fitting <= 0) throw failure('ENOSPC', 'write', path);
    const taken = fault === 'short' ? Math.ceil(fitting / 2) : fitting;
    if (taken > 0) file.write(bytes.subarray(0, taken), position);
    return taken;
  }

  list(directory: string): string[] {
    this.#beginOrFail('list', directory);
    return [...(this.#directories.get(normalize(directory))?.names.keys() ?? [])].sort();
  }

  rename(from: string, to: string): void {
    this.#beginOrFail('rename', to);
    assert.equal(dirname(from), dirname(to), 'the simulated disk renames within a directory');
    const directory = this.#directory(dirname(from));
    const file = directory.names.get(basename(from));
    if (!file) throw failure('ENOENT', 'rename', from);
    directory.change({ kind: 'rename', from: basename(from), to: basename(to), file });
  }

  remove(path: string): void {
    this.#beginOrFail('remove', path);
    const directory = this.#directory(dirname(path));
    if (!directory.names.has(basename(path))) throw failure('ENOENT', 'remove', path);
    directory.change({ kind: 'unlink', name: basename(path) });
  }

  makeDirectory(path: string): void {
    this.#beginOrFail('makeDirectory', path);
    for (let at = normalize(path); !this.#directories.has(at); at = dirname(at)) {
      this.#directories.set(at, new Directory());
    }
  }

  syncDirectory(path: string): void {
    this.#beginOrFail('syncDirectory', path);
    this.#directory(path).sync();
  }

  changeNames(directory: string, change: () => void): void {
    this.#beginOrFail('open directory', directory);
    change();
    this.syncDirectory(directory);
  }

  freeBytes(directory: string): number {
    this.#beginOrFail('freeBytes', directory);
    return Math.max(0, this.capacityBytes - this.usedBytes);
  }

  lock(path: string): DiskLock | undefined {
    this.#beginOrFail('lock', path);
    const key = normalize(path);
    if (this.#locks.has(key)) return undefined;
    this.#locks.add(key);
    this.#touch(path);
    return {
      release: () => {
        this.#begin('release', path);
        this.#locks.delete(key);
      },
    };
  }

  /** The name of a file that SQLite would make. */
  #touch(path: string): void {
    const directory = this.#directory(dirname(path));
    const name = basename(path);
    if (!directory.names.has(name)) {
      directory.change({ kind: 'link', name, file: new SimulatedFile() });
    }
  }

  database(path: string): DatabaseSync {
    this.#beginOrFail('database', path);
    const key = normalize(path);
    const database = this.#databases.get(key)?.own() ?? new SimulatedDatabase();
    this.#databases.set(key, database);
    this.#touch(path);
    const connection = database.connect();
    this.#connections.push(connection);
    return connection;
  }

  async #takeTime(): Promise<void> {
    if (this.#clock) await this.#clock.sleep(this.#clock.random() * this.takesMsMax);
    else await turn();
  }

  async createZeroed(path: string, bytes: number): Promise<void> {
    const file = this.open(path, 'create');
    try {
      // The real one leaves the thread free in between, and takes its time: others run, and may
      // die, here.
      await this.#takeTime();
      const zeros = new Uint8Array(bytes);
      for (let at = 0; at < bytes; ) at += file.write(zeros.subarray(at), at);
      file.sync();
      file.close();
    } catch (error) {
      if (!this.#isDead) this.remove(path);
      throw error;
    }
  }
}
