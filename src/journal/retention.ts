// Which segments may go. One is dropped only when all its records are confirmed (I4), both limits
// of retention have passed, and nobody reads; where no further segment can be had, retention
// gives way.
import type { Clock } from '../clock.ts';
import type { Disk } from '../disk.ts';
import { CorruptJournal } from './corrupt.ts';
import { isShortage } from './disk-failure.ts';
import { HeldCopies } from './held.ts';
import type { StreamMark } from './notes.ts';
import type { Segments } from './segments.ts';

export interface RetentionOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly directory: string;
  readonly segmentBytes: number;
  readonly bytesMax: number;
  readonly retentionMsMin: number;
  readonly retentionBytesMin: number;
}

export class Retention {
  readonly #segments: Segments;
  readonly #confirmed: ReadonlyMap<number, Float64Array>;
  readonly #options: RetentionOptions;
  readonly #held: HeldCopies;
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
   * Drops what may go, oldest first. Where what must be kept cannot be saved, because there is no
   * room or it is damaged, it stays.
   */
  trim(): void {
    try {
      this.#trim();
      this.#segments.stuck = undefined;
    } catch (error) {
      if (!isShortage(error) && !(error instanceof CorruptJournal)) throw error;
      const what = 'what the oldest segment still holds cannot be saved';
      this.#segments.stuck = `${what}: ${error.message}`;
    }
  }

  #trim(): void {
    const { clock, retentionMsMin, retentionBytesMin, segmentBytes } = this.#options;
    const { list } = this.#segments;
    if (this.pins > 0) return;
    this.#held.dropConfirmed(this.#confirmed);
    this.#segments.heldBytes = this.#held.bytes;
    while (list.length > 1) {
      const next = list[1];
      if (!next || !this.#mayLeave(next.marks)) return;
      const isOld = clock.wallMs() - next.wallMs > retentionMsMin;
      const isMuch = (list.length - 1) * segmentBytes > retentionBytesMin;
      if (!(isOld && isMuch) && !this.#isShort()) return;
      this.beforeDrop();
      this.#segments.dropOldest();
    }
  }

  /**
   * Whether everybody is done with the oldest segment; makes it so where only held streams are
   * not.
   */
  #mayLeave(marks: readonly StreamMark[]): boolean {
    const open = marks.filter((mark) => !this.#isConfirmed(mark));
    const oldest = this.#segments.list[0];
    if (open.length === 0 || !oldest) return true;
    if (!this.#isShort() || !open.every(({ stream }) => this.isHeld(stream))) return false;
    this.#held.copy(oldest, open, this.#confirmed);
    this.#segments.heldBytes = this.#held.bytes;
    return true;
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

  #isShort(): boolean {
    const { segmentBytes, bytesMax } = this.#options;
    const { shortage, bytes, isReady } = this.#segments;
    return shortage !== undefined || (!isReady && bytes + segmentBytes > bytesMax);
  }

  #isConfirmed({ stream, last }: StreamMark): boolean {
    const confirmed = this.#confirmed.get(stream);
    return last.every((sequence, lane) => (confirmed?.[lane] ?? 0) >= sequence);
  }
}
