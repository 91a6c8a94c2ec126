// The files of a journal: which segments there are, the spares prepared ahead, beginning and
// dropping. A spare is zeroed and synced under a name of its own, or was a segment; it becomes one
// by rename, after its checkpoint is synced. So a name that looks like a segment always begins with
// a sound checkpoint. What else a file still has of an earlier life has another salt.
import { join } from 'node:path';
import type { Disk, DiskFile } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { isOutOfRoom, isShortage } from './disk-failure.ts';
import { segmentPath, spareNumbers, sparePath } from './files.ts';
import type { CheckpointNote, SealedNote, StreamMark } from './notes.ts';

export interface Segment {
  readonly number: number;
  /** Where each stream stood when it began. */
  readonly marks: readonly StreamMark[];
  readonly wallMs: number;
  readonly salt: number;
  /** Journaled bytes by stream, for the streams' shares. */
  readonly bytesOf: Map<number, number>;
  /** The last request noted in it; undefined where there is none. */
  request: number | undefined;
}

type SegmentBeginning = Pick<Segment, 'number' | 'salt' | 'wallMs' | 'marks'>;

/** A segment that holds no more than its checkpoint. */
export const newSegment = ({ number, salt, wallMs, marks }: SegmentBeginning): Segment => ({
  number,
  salt,
  wallMs,
  marks,
  bytesOf: new Map(),
  request: undefined,
});

/** What its successor says of a segment. */
const sealedNote = ({ salt, bytesOf, request }: Segment): SealedNote => ({
  salt,
  bytesOf: [...bytesOf],
  request,
});

export interface SegmentOptions {
  readonly segmentBytes: number;
  readonly bytesMax: number;
}

/** How many spares are wanted: the next segment, and one that only recovery may use (P17). */
const sparesWanted = 2;
/** One more of dropped segments: in a steady flow one is dropped between two that are begun. */
const sparesMax = sparesWanted + 1;

export class Segments {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #options: SegmentOptions;
  readonly list: Segment[] = [];
  #spares: number[] = [];
  #nextSpare = 1;
  #preparing: Promise<void> | undefined;
  /** Bytes of the copies made for held streams. */
  heldBytes = 0;
  /** Why no spare could be made when one was last asked for, and why none could be begun, if so. */
  #noSpare: string | undefined;
  #notBegun: string | undefined;
  /** Whether one could not be begun for want of room on the disk: a file less may give it. */
  #needsRoom = false;
  /** Why the oldest segment, which is not needed whole any more, cannot be dropped, if so. */
  stuck: string | undefined;
  /** Whether no segment that was dropped can be there again after a crash. */
  areDropsDurable = true;

  constructor(disk: Disk, directory: string, options: SegmentOptions) {
    this.#disk = disk;
    this.#directory = directory;
    this.#options = options;
  }

  get bytesMax(): number {
    return this.#options.bytesMax;
  }

  get bytes(): number {
    const files = this.list.length + this.#spares.length;
    return files * this.#options.segmentBytes + this.heldBytes;
  }

  /**
   * Finds complete spares; removes what a crash left of unfinished ones, and what is too small.
   */
  findSpares(): void {
    for (const name of this.#disk.list(this.#directory)) {
      if (/^spare-\d+\.tmp$/.test(name)) this.#disk.remove(join(this.#directory, name));
    }
    this.#spares = spareNumbers(this.#disk, this.#directory).filter((number) => {
      const path = sparePath(this.#directory, number);
      const isFit = this.#sizeOf(path) >= this.#options.segmentBytes;
      if (!isFit) this.#disk.remove(path);
      return isFit;
    });
    this.#nextSpare = (this.#spares.at(-1) ?? 0) + 1;
  }

  #sizeOf(path: string): number {
    const file = this.#disk.open(path, 'read');
    const size = file.size();
    file.close();
    return size;
  }

  /** Whether a segment can be begun without touching recovery's reserve. */
  get isReady(): boolean {
    return this.#spares.length >= sparesWanted;
  }

  /** Whether a segment that goes can help where the next one cannot be had. */
  get isShort(): boolean {
    return this.isReady ? this.#needsRoom : this.shortage !== undefined || this.isAtBound;
  }

  get isAtBound(): boolean {
    const { segmentBytes, bytesMax } = this.#options;
    return this.bytes + segmentBytes > bytesMax;
  }

  get isPreparing(): boolean {
    return this.#preparing !== undefined;
  }

  get hasSpare(): boolean {
    return this.#spares.length > 0;
  }

  /** Why no further segment can be had now; undefined where one can. */
  get shortage(): string | undefined {
    return this.#noSpare ?? this.#notBegun;
  }

  /** Whether the last attempt to begin one found no room, though a spare was ready. */
  get isRefused(): boolean {
    return this.#notBegun !== undefined;
  }

  /** What is said to whom no segment can be given. */
  full(): HoldfastError {
    const all = [this.shortage ?? 'no segment is ready', this.stuck];
    const why = all.filter((one) => one !== undefined).join('; ');
    return new HoldfastError('HF_JOURNAL_FULL', `The journal is full: ${why}.`, {
      retryAfterSeconds: 1,
    });
  }

  /** Prepares spares up to `count`; where there is no room for them, `shortage` says why. */
  prepare(count = sparesWanted): Promise<void> {
    this.#preparing ??= this.#prepareAll(count).finally(() => {
      this.#preparing = undefined;
    });
    return this.#preparing;
  }

  async #prepareAll(count: number): Promise<void> {
    while (this.#spares.length < count) {
      const { segmentBytes, bytesMax } = this.#options;
      if (this.isAtBound) {
        this.#noSpare = `the journal has reached its bound of ${bytesMax} bytes`;
        return;
      }
      const unfinished = `${sparePath(this.#directory, 0)}.tmp`;
      try {
        // Made before, when there was no room in the directory for its name.
        this.#removeLeft(unfinished);
        await this.#disk.createZeroed(unfinished, segmentBytes);
        // Named now: dropped segments may have taken numbers meanwhile.
        this.#disk.rename(unfinished, sparePath(this.#directory, this.#nextSpare));
        this.#disk.syncDirectory(this.#directory);
      } catch (error) {
        if (!isShortage(error)) throw error;
        this.#noSpare = `no further segment could be made (${error.code})`;
        return;
      }
      this.#spares.push(this.#nextSpare++);
    }
    this.#noSpare = undefined;
  }

  /** Removes what an attempt that was cut short left under this name. */
  #removeLeft(path: string): void {
    const isThere = this.#disk
      .list(this.#directory)
      .some((name) => join(this.#directory, name) === path);
    if (isThere) this.#disk.remove(path);
  }

  /** What the checkpoint of a next segment says. */
  checkpoint(
    number: number,
    of: Pick<CheckpointNote, 'writer' | 'dictionary' | 'marks'>,
  ): CheckpointNote {
    const before = this.list.at(-1);
    return {
      ...of,
      oldest: this.list[0]?.number ?? number,
      bytes: this.#options.segmentBytes,
      ...(before ? { sealed: sealedNote(before) } : {}),
    };
  }

  /**
   * Begins a segment with its checkpoint group. When it returns a file, the segment and its name
   * are durable. Undefined: there is no room or no descriptor, and `shortage` says why; the spare
   * is still there, so that it can be tried again, with a checkpoint of its own.
   */
  begin(segment: Segment, checkpoint: Uint8Array): DiskFile | undefined {
    const [spare] = this.#spares;
    if (spare === undefined) throw new RangeError('begin is called only where a spare is ready');
    const from = sparePath(this.#directory, spare);
    const to = segmentPath(this.#directory, segment.number);
    let file: DiskFile | undefined;
    // What a write or a sync answered is final, whatever it says (I3). An open or a rename that
    // found no room has changed nothing.
    let isFinal = false;
    const takeName = (): void => {
      this.#disk.rename(from, to);
      isFinal = true;
    };
    try {
      file = this.#disk.open(from, 'write');
      isFinal = true;
      writeAll(file, checkpoint, 0);
      file.sync();
      isFinal = false;
      this.#disk.changeNames(this.#directory, takeName);
    } catch (error) {
      if (isFinal || !isShortage(error)) throw error;
      file?.close();
      this.#notBegun = `no further segment could be begun (${error.code})`;
      this.#needsRoom = isOutOfRoom(error);
      return undefined;
    }
    this.#notBegun = undefined;
    this.#needsRoom = false;
    this.#spares.shift();
    this.list.push(segment);
    return file;
  }

  /**
   * Puts a fresh copy of the first `length` bytes in the place of a suspect segment, whose pages
   * may show what the disk lacks. Durable when it resolves with true; a crash before leaves the
   * suspect as it was, and so does false: there is no room, and `shortage` says why.
   */
  async replaceSuspect(number: number, length: number): Promise<boolean> {
    try {
      await this.#copySuspect(number, length);
      return true;
    } catch (error) {
      if (!isShortage(error)) throw error;
      this.#noSpare = `its last segment cannot be copied to safety (${error.code})`;
      return false;
    }
  }

  async #copySuspect(number: number, length: number): Promise<void> {
    const spare = this.#spares.shift();
    const path = segmentPath(this.#directory, number);
    const fresh = spare === undefined ? `${path}.tmp` : sparePath(this.#directory, spare);
    if (spare === undefined) {
      this.#removeLeft(fresh);
      await this.#disk.createZeroed(fresh, this.#options.segmentBytes);
    }
    const from = this.#disk.open(path, 'read');
    const to = this.#disk.open(fresh, 'write');
    const step = new Uint8Array(Math.min(stepBytes, length));
    for (let at = 0; at < length; at += step.length) {
      const part = step.subarray(0, Math.min(step.length, length - at));
      from.read(part, at);
      writeAll(to, part, at);
    }
    // It may have been made larger than segments are made now.
    const size = from.size();
    if (to.size() < size) writeAll(to, new Uint8Array(1), size - 1);
    // A copy that a crash cut short may stand in the spare: later groups with this very salt.
    clearFrom(to, length);
    to.sync();
    from.close();
    to.close();
    this.#disk.rename(fresh, path);
    this.#disk.syncDirectory(this.#directory);
  }

  /**
   * Drops the oldest segment. Its name is gone for good when it returns; its file is a spare where
   * one more is wanted and fits under the bound, which need not be zeroed. Whether it is.
   */
  dropOldest(): boolean {
    const [oldest] = this.list;
    if (!oldest) return false;
    const path = segmentPath(this.#directory, oldest.number);
    const { segmentBytes, bytesMax } = this.#options;
    const isFit = this.bytes <= bytesMax && !this.#needsRoom;
    const isWanted = this.#spares.length < sparesMax && isFit;
    // Segments may have been made larger or smaller before.
    const isKept = isWanted && this.#sizeOf(path) === segmentBytes;
    this.areDropsDurable = false;
    this.#disk.changeNames(this.#directory, () => {
      if (isKept) this.#disk.rename(path, sparePath(this.#directory, this.#nextSpare));
      else this.#disk.remove(path);
      this.list.shift();
    });
    this.areDropsDurable = true;
    if (isKept) this.#spares.push(this.#nextSpare++);
    return isKept;
  }
}

const stepBytes = 1024 * 1024;

/** Overwrites what is not zero from `offset` to the end of the file. */
function clearFrom(file: DiskFile, offset: number): void {
  const size = file.size();
  const found = new Uint8Array(Math.min(stepBytes, size - offset));
  const zeros = new Uint8Array(found.length);
  for (let at = offset; at < size; at += found.length) {
    const part = found.subarray(0, Math.min(found.length, size - at));
    file.read(part, at);
    const rest = zeros.subarray(0, part.length);
    if (Buffer.compare(part, rest) !== 0) writeAll(file, rest, at);
  }
}

/** Writes all of `bytes`, going on after short writes. */
export function writeAll(file: DiskFile, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) {
    const written = file.write(bytes.subarray(done), position + done);
    if (written <= 0) throw new Error('The disk took no bytes and gave no reason.');
    done += written;
  }
}

/**
 * Writes what stands from `start` to `end` once more. It is durable when it returns, also where a
 * sync has failed before, after which its pages may count as written although the disk lacks them.
 */
export function writeAgain(file: DiskFile, start: number, end: number): void {
  const bytes = new Uint8Array(end - start);
  // What is short of it must not be written over with zeros.
  if (file.read(bytes, start) < bytes.length) throw new Error('The disk gave less than before.');
  writeAll(file, bytes, start);
  file.sync();
}
