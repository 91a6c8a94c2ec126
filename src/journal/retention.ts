// Which segments may go. One is dropped only when all its records are confirmed (I4), both limits
// of retention have passed, and nobody reads; where no further segment can be had, retention
// gives way, one segment after another until one can.
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import { CorruptJournal } from './corrupt.ts';
import { isShortage } from './disk-failure.ts';
import { HeldCopies } from './held.ts';
import type { StreamMark } from './notes.ts';
import type { Segment, Segments } from './segments.ts';

export interface RetentionOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly bytesMax: number;
  readonly retentionMsMin: number;
  readonly retentionBytesMin: number;
}

const copyAgainMs = 1_000;

export class Retention {
  readonly #segments: Segments;
  readonly #confirmed: ReadonlyMap<number, Float64Array>;
  readonly #options: RetentionOptions;
  readonly #held: HeldCopies;
  /**
   * Until then nothing is copied aside: the last copy, or the drop behind it, could not be made.
   * Whoever waits for room asks again at once, and each try takes what room there is.
   */
  #copyAtMs = 0;
  /** Others read segments and copies while this is above 0: none is dropped. */
  pins = 0;
  /**
   * Whether a stream waits for its target or for a person, so that its records are copied aside.
   */
  isHeld: (stream: number) => boolean = () => false;
  /**
   * Called before each drop: what a segment alone knows must be durable elsewhere when it
   * returns.
   */
  beforeDrop: () => void = () => undefined;

  constructor(
    segments: Segments,
    confirmed: ReadonlyMap<number, Float64Array>,
    options: RetentionOptions,
  ) {
    this.#segments = segments;
    this.#confirmed = confirmed;
    this.#options = options;
    this.#held = new HeldCopies(options.disk, options.directory);
  }

  /** Takes up what an earlier process copied aside. */
  begin(): void {
    this.#held.find();
    this.#segments.heldBytes = this.#held.bytes;
  }

  /**
   * Drops what may go, oldest first. A copy takes its time: no more than one is made. Where what
   * must be kept cannot be saved, because there is no room or it is damaged, it stays.
   */
  trim(): void {
    try {
      if (this.#trim()) this.#segments.stuck = undefined;
    } catch (error) {
      if (!isShortage(error) && !(error instanceof CorruptJournal)) throw error;
      const what = 'what the oldest segment still holds cannot be saved';
      this.#segments.stuck = `${what}: ${error.message}`;
    }
  }

  /** False where a copy is put off. */
  #trim(): boolean {
    const { list } = this.#segments;
    if (this.pins > 0) return true;
    this.#held.dropConfirmed(this.#confirmed);
    this.#segments.heldBytes = this.#held.bytes;
    for (let [oldest, next] = list; oldest && next; [oldest, next] = list) {
      const open = next.marks.filter((mark) => !this.#isConfirmed(mark));
      const { isShort } = this.#segments;
      if (open.length > 0) return !isShort || this.#dropHeld(oldest, open);
      if (!isShort && !this.#isPast(next)) return true;
      const isSpare = this.#drop();
      // Whether what is gone was room enough is seen when a segment is made, or begun.
      if (isShort && !isSpare && !this.#segments.isAtBound) return true;
    }
    return true;
  }

  /** Copies aside what the oldest segment has of held streams, if only those need it. */
  #dropHeld(oldest: Segment, open: readonly StreamMark[]): boolean {
    if (!open.every(({ stream }) => this.isHeld(stream))) return true;
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs < this.#copyAtMs) return false;
    this.#copyAtMs = nowMs + copyAgainMs;
    this.#held.copy(oldest, open, this.#confirmed);
    this.#segments.heldBytes = this.#held.bytes;
    this.#drop();
    this.#copyAtMs = 0;
    return true;
  }

  /** Whether its file is a spare now. */
  #drop(): boolean {
    this.beforeDrop();
    return this.#segments.dropOldest();
  }

  /** Whether both limits of retention have passed for the segment before. */
  #isPast({ wallMs }: Segment): boolean {
    const { clock, retentionMsMin, retentionBytesMin, segmentBytes } = this.#options;
    const isOld = clock.wallMs() - wallMs > retentionMsMin;
    return isOld && (this.#segments.list.length - 1) * segmentBytes > retentionBytesMin;
  }

  /**
   * Bytes that a stream keeps from being dropped: its records in segments not confirmed to their
   * end.
   */
  unconfirmedBytes(stream: number): number {
    let bytes = this.#held.bytesOf(stream);
    this.#segments.list.forEach(({ bytesOf }, i) => {
      const after = this.#segments.list[i + 1]?.marks.find((mark) => mark.stream === stream);
      if (!after || !this.#isConfirmed(after)) bytes += bytesOf.get(stream) ?? 0;
    });
    return bytes;
  }

  #isConfirmed({ stream, last }: StreamMark): boolean {
    const confirmed = this.#confirmed.get(stream);
    return last.every((sequence, lane) => (confirmed?.[lane] ?? 0) >= sequence);
  }
}
