// The journal: appends groups to segments and syncs them; an acknowledgement is a resolved
// `submit`. It never acknowledges what `sync` has not answered for, and never writes or syncs
// again after either has failed once (I2, I3).
//
// States. running: `submit` is taken. full: no further segment can be had; what still fits is
// taken, the rest refused as not written; left when one can be begun again. failed: for good;
// entered by the first failed write or sync; every waiter gets its outcome. closed: by `close`.
//
// Beside these: rolling, until the next segment is begun, and syncing, while a group's sync leaves
// the thread free. Who is submitted meanwhile waits; neither begins while the other lasts.
import assert from 'node:assert/strict';
import type { DiskLock } from '../disk.ts';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type BlockKind, blockBytes, blockKind, type Position } from './block.ts';
import { Dictionary } from './dictionary.ts';
import { JournalFailure } from './failure.ts';
import { segmentPath } from './files.ts';
import { Forming } from './forming.ts';
import { addBytes, groupBytesBound, type Parcel, type Placed } from './group.ts';
import { lockJournal } from './lock.ts';
import { type StreamEntry, streamMarks } from './notes.ts';
import type { JournalEvents, JournalOptions, RecoveryHooks } from './options.ts';
import { Queue, type Waiting, type WaitingGroup } from './queue.ts';
import { type Found, readJournal } from './recovery.ts';
import { Retention } from './retention.ts';
import { newSegment, Segments, writeAgain } from './segments.ts';
import { Tail } from './tail.ts';
import { Telling } from './telling.ts';
import { notesBytesBound, Untold } from './untold.ts';

type State = 'running' | 'failed' | 'closed';

export class Journal {
  readonly writer: string;
  readonly dictionary: Dictionary;
  readonly segments: Segments;
  /** Per stream: the last journaled sequence of each lane. */
  readonly last = new Map<number, Float64Array>();
  /**
   * Per stream: up to where each lane is confirmed. Moved by whoever confirms; read here to trim.
   */
  readonly confirmed = new Map<number, Float64Array>();
  readonly retention: Retention;
  readonly #options: JournalOptions;
  readonly #lock: DiskLock;
  readonly #untold: Untold;
  readonly #forming: Forming;
  readonly #groupBytesMax: number;
  #state: State = 'running';
  readonly #failure = new JournalFailure();
  readonly #telling: Telling;
  readonly #queue = new Queue();
  #isScheduled = false;
  #isSyncing = false;
  #isClosing = false;
  #isRolling = false;
  /** Records stand behind the last block that says that all was flushed. */
  #isUnmarked = false;
  readonly #tail: Tail;

  private constructor(options: JournalOptions, lock: DiskLock, found: Found | undefined) {
    this.#options = options;
    this.#lock = lock;
    this.#tail = new Tail(options);
    this.#telling = new Telling(options.clock, () => this.end);
    this.segments = new Segments(options.disk, options.directory, options);
    this.writer = found?.writer ?? options.clock.uuid();
    this.dictionary = new Dictionary(found?.dictionary, options.segmentBytes);
    this.#groupBytesMax = Math.min(limits.groupBytesMax, options.segmentBytes / 2);
    for (const [stream, last] of found?.last ?? []) this.last.set(stream, last);
    for (const [stream, confirmed] of found?.confirmed ?? []) this.confirmed.set(stream, confirmed);
    this.#forming = new Forming({ clock: options.clock, last: this.last, end: () => this.end });
    this.#untold = new Untold(this.dictionary, this.confirmed);
    this.retention = new Retention(this.segments, this.confirmed, options);
  }

  /**
   * Opens or creates the journal in a directory. When it resolves, everything that it says to
   * hold is durable. Rejects with HF_JOURNAL_LOCKED, HF_CORRUPT (nothing was changed) or
   * HF_JOURNAL_FULL.
   */
  static async open(options: JournalOptions, hooks: RecoveryHooks = {}): Promise<Journal> {
    const { disk, directory } = options;
    disk.makeDirectory(directory);
    const lock = lockJournal(disk, directory, { pid: options.pid });
    try {
      const events = hooks.onRequests ? hooks : { ...hooks, isKnown: () => true };
      const found = readJournal(disk, directory, events);
      hooks.check?.(found?.group ?? -1);
      const journal = new Journal(options, lock, found);
      await journal.#begin(found);
      return journal;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async #begin(found: Found | undefined): Promise<void> {
    const { disk, directory } = this.#options;
    this.segments.findSpares();
    this.retention.begin();
    if (!found) {
      await this.segments.prepare(1);
      if (!this.segments.hasSpare || !this.#beginSegment()) throw this.segments.full();
      return;
    }
    this.segments.list.push(...found.segments);
    const { segment, offset } = found.end;
    // After an unclean end the pages of the last segment may show what the disk lacks.
    const isSafe = found.isClean || (await this.segments.replaceSuspect(segment, offset));
    if (!isSafe) throw this.segments.full();
    const file = disk.open(segmentPath(directory, segment), 'write');
    // Whoever wrote the end may have died before its sync: what follows builds on it (P17).
    if (found.isClean) writeAgain(file, offset - blockBytes(0), offset);
    this.#tail.goOn(file, found.end);
    this.#forming.salt = found.segments.at(-1)?.salt ?? 0;
    this.#forming.last = found.group;
    // Nothing is trimmed yet: whoever opens has not taken over what the old segments know.
    void this.segments.prepare().catch((error: unknown) => this.#fail(error, []));
  }

  listen(events: JournalEvents): void {
    this.#telling.onSynced = events.onSynced;
    this.retention.beforeDrop = events.beforeDrop;
  }

  /** Resolves with the reason once the journal has failed. */
  get failed(): Promise<HoldfastError> {
    return this.#failure.told;
  }

  /** Up to where the journal is durable. */
  get end(): Position {
    return this.#tail.end;
  }

  /** Bytes of rows that wait for their sync. */
  get pendingBytes(): number {
    return this.#queue.bytes;
  }

  /** How long the disk has been syncing while others wait, milliseconds; 0 where it is not. */
  get syncingMs(): number {
    return this.#tail.syncingMs;
  }

  get state() {
    return this.#state;
  }

  /** The stream's entry in the dictionary; new streams begin at sequence 0. */
  openStream(name: string, lanes: number, rule: string): StreamEntry {
    const entry = this.dictionary.stream(name, lanes, rule);
    for (const marks of [this.last, this.confirmed]) {
      if (!marks.has(entry.id)) marks.set(entry.id, new Float64Array(lanes + 1));
    }
    return entry;
  }

  /**
   * Journals one parcel. When it resolves, its records are durable in one group, with these
   * sequences. Rejects with HF_JOURNAL_FAILED ('unknown' if the group was being written, else
   * 'not written'), HF_JOURNAL_FULL, HF_TOO_LARGE or HF_DRAINING.
   */
  submit(parcel: Parcel): Promise<Placed> {
    if (this.#state !== 'running' || this.#isClosing) return Promise.reject(this.#refusal());
    const bytesBound = groupBytesBound([parcel]);
    if (bytesBound > this.#groupBytesMax) {
      const message = `The request takes ${bytesBound} bytes; ${this.#groupBytesMax} fit at once.`;
      return Promise.reject(new HoldfastError('HF_TOO_LARGE', message));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ parcel, bytesBound, resolve, reject });
      // Alone after a pause, a write goes straight through on its caller's turn.
      if (this.#isFree && this.#tail.isRested) this.#flush();
      else this.#schedule();
    });
  }

  /** Nothing is going on: what is appended now meets nobody. */
  get #isFree(): boolean {
    return !this.#isScheduled && !this.#isBusy;
  }

  /** Nothing can be appended now; who ends that goes on with what waits. */
  get #isBusy(): boolean {
    return this.#isRolling || this.#isSyncing;
  }

  #schedule(): void {
    if (!this.#isFree) return;
    this.#isScheduled = true;
    this.#options.clock.soon(() => {
      this.#isScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#state === 'running' && !this.#isBusy) {
      const { taken, bytes } = this.#queue.take(this.#groupBytesMax);
      const { notes } = this.#untold;
      const more = notesBytesBound(notes);
      if (this.end.offset + bytes + more > this.#options.segmentBytes) {
        this.#queue.putBack(taken);
        this.#roll();
        continue;
      }
      const isAlone = taken.length === 1 && this.#tail.isRested;
      const group = this.#forming.group(taken, notes);
      // More may become known while it is synced; where that fails, nothing is told any more.
      this.#untold.told();
      if (isAlone || !this.#tail.paysAside) this.#append(group);
      else void this.#appendAside(group);
    }
  }

  #append(group: WaitingGroup): void {
    try {
      this.#tail.append(group.formed.bytes);
    } catch (error) {
      this.#fail(error, group.taken);
      return;
    }
    this.#acknowledge(group);
  }

  /** Others are taken in meanwhile, and go together in the next group. */
  async #appendAside(group: WaitingGroup): Promise<void> {
    this.#isSyncing = true;
    try {
      await this.#tail.appendAside(group.formed.bytes);
    } catch (error) {
      this.#fail(error, group.taken);
      return;
    } finally {
      this.#isSyncing = false;
    }
    this.#acknowledge(group);
    if (this.#queue.length > 0) this.#schedule();
  }

  #acknowledge({ taken, formed }: WaitingGroup): void {
    this.#queue.done(taken);
    this.#forming.last++;
    this.#isUnmarked = true;
    for (const [stream, last] of formed.last) this.last.get(stream)?.set(last);
    this.#options.metrics.journalGroupRows.observe(formed.rows);
    const own = this.segments.list.at(-1);
    assert(own, 'a running journal has a segment');
    for (const [stream, bytes] of formed.bytesOf) addBytes(own.bytesOf, stream, bytes);
    own.request = formed.request ?? own.request;
    assert.equal(formed.placed.length, taken.length, 'every parcel was placed');
    for (const [i, placed] of formed.placed.entries()) taken[i]?.resolve(placed);
    this.#telling.add(formed.last.keys());
  }

  /** A block of its own without rows: a witness that all before it was flushed. */
  #writeNote(kind: BlockKind, body?: object): boolean {
    if (this.#state !== 'running') return false;
    const bytes = this.#forming.note(kind, body);
    if (this.end.offset + bytes.length > this.#options.segmentBytes) return false;
    try {
      this.#tail.append(bytes);
      this.#forming.last++;
    } catch (error) {
      this.#fail(error, []);
    }
    return true;
  }

  #fail(cause: unknown, inGroup: readonly Waiting[]): void {
    this.#state = 'failed';
    const failure = this.#failure.begin(cause);
    this.#queue.done(inGroup);
    for (const { reject } of inGroup) reject(failure('unknown'));
    this.#queue.reject(failure('not written'));
    this.#failure.tell();
  }

  #refusal(): HoldfastError {
    return this.#failure.refusal ?? new HoldfastError('HF_DRAINING', 'The journal is closed.');
  }

  /** Goes on in the next segment, now or when a spare is ready; else refuses who waits. */
  #roll(): void {
    if (this.segments.isReady && this.#tryBeginSegment()) return;
    this.#isRolling = true;
    void this.#prepareSpare().then(() => {
      this.#isRolling = false;
      if (this.#state !== 'running') return;
      // Once more: what is over by now refuses nobody, and lets nobody past who came later.
      const isBegun = this.segments.isReady && this.#tryBeginSegment();
      if (!isBegun) this.#queue.reject(this.segments.full());
      this.#schedule();
    });
  }

  async #prepareSpare(): Promise<void> {
    try {
      this.retention.trim();
      await this.segments.prepare();
    } catch (error) {
      this.#fail(error, []);
    }
  }

  #tryBeginSegment(): boolean {
    try {
      return this.#beginSegment();
    } catch (error) {
      this.#fail(error, []);
      return true;
    }
  }

  /** False: there is no room for it now, and all is as it was. */
  #beginSegment(): boolean {
    const number = this.end.segment + 1;
    const marks = streamMarks(this.last, this.confirmed);
    const dictionary = this.dictionary.whole();
    const body = this.segments.checkpoint(number, { writer: this.writer, dictionary, marks });
    const salt = this.#options.clock.random32();
    const place = { ...this.#forming.place(), segment: number, salt };
    const bytes = this.#forming.checkpoint(place, body);
    assert(
      bytes.length <= this.#options.segmentBytes / 2,
      'a checkpoint and the largest group fit',
    );
    const segment = newSegment({ ...place, number, marks });
    const file = this.segments.begin(segment, bytes);
    if (!file) return false;
    this.#tail.goOn(file, { segment: number, offset: bytes.length });
    this.#forming.salt = salt;
    this.#untold.told();
    this.#forming.last++;
    void this.#prepareSpare();
    return true;
  }

  /** Gives the last group a witness: damage to it is told from a write that a crash cut short. */
  mark(): void {
    if (this.#state !== 'running' || this.#queue.length > 0 || this.#isBusy) return;
    const { fallen } = this.#untold;
    if (!this.#isUnmarked && !fallen) return;
    this.#isUnmarked = false;
    if (this.#writeNote(blockKind.mark, fallen)) this.#untold.hasFallen = false;
    else if (fallen && this.segments.isReady) this.#tryBeginSegment();
  }

  /**
   * Confirmed positions went back (P3). It is durable with the next group, when it returns where
   * none waits: a restart must not drop what the target has to be told again. Where there is no
   * room for it, with the next segment.
   */
  unconfirm(): void {
    this.#untold.hasFallen = true;
    this.mark();
  }

  /** Tries to get out of `full`: called when something was confirmed, and now and then. */
  async relieve(): Promise<void> {
    if (this.#state !== 'running') return;
    if (this.segments.shortage !== undefined) {
      await this.#prepareSpare();
      // Tried again also where nobody writes: else it would be called full for as long.
      if (this.state === 'running' && this.segments.isRefused && this.#isFree) this.#roll();
      return;
    }
    try {
      this.retention.trim();
    } catch (error) {
      this.#fail(error, []);
    }
  }

  /** Marks a clean end and lets go of the directory; what was submitted is answered first. */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#rest();
    if (this.#untold.hasFallen) {
      this.mark();
      await this.#rest();
    }
    this.#writeNote(blockKind.end);
    if (this.#state === 'running') this.#state = 'closed';
    this.#tail.close();
    this.#lock.release();
  }

  async #rest(): Promise<void> {
    // A spare in the making would meet the next owner, who clears unfinished ones away.
    while (this.#isBusy || this.#queue.length > 0 || this.segments.isPreparing) {
      this.#schedule();
      await this.#options.clock.sleep(1);
    }
  }
}
