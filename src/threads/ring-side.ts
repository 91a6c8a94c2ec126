// How the two sides of a ring (ring.ts) sleep, wake each other, and learn that the other has gone.
//
// Each side has one word, its condition:
//
// | value | condition | set by                                                                    |
// | ----- | --------- | ------------------------------------------------------------------------- |
// | 0     | awake     | itself; or the other, which wakes it                                      |
// | 1     | asleep    | itself, from awake: it sleeps, or is about to                             |
// | 2     | closed    | itself, for good                                                          |
// | 3     | failed    | the parent that saw its thread end, for good                              |
//
// A side that has moved its position looks at the other's condition, which nobody writes while
// both are busy: the line stays in both caches, and no notify is paid for.
//
// No wake-up is lost. The sleeper (1) sets asleep, (2) looks once more whether there is something
// to do or nobody to wait for, (3) waits while its word is asleep. The waker (a) moves its
// position, or its own condition to closed, (b) reads the sleeper's word and, where it says
// asleep, sets it to awake, (c) notifies. Atomics are sequentially consistent, so if (b) comes
// before (1), then (a) comes before (2), which sees it. If (b) comes after (1), the word is awake
// from then on: either (3) begins later and finds it changed, since the wait compares under the
// lock that the notify takes, or the sleeper is in the list already and (c) wakes it. A notify
// that comes late, into the next sleep, wakes it for nothing: hence the loops.
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { openRing, ringWords } from './ring.ts';

export type SideName = 'producer' | 'consumer';

const awake = 0;
const asleep = 1;
const closed = 2;
const failed = 3;

/** How a thread with an event loop waits at a ring: on a real one, or a simulator's. */
export interface RingTurns {
  /** Lets all else go on for once. */
  turn(): Promise<unknown>;
  /** Until somebody notifies the word, which is `value` now; or no longer is. */
  changed(words: Int32Array, word: number, value: number): Promise<unknown> | string;
}

const systemTurns: RingTurns = {
  turn,
  changed: (words, word, value) => Atomics.waitAsync(words, word, value).value,
};

/** Where the other side stands. */
export type Presence = 'here' | 'closed' | 'failed';

/**
 * How often is looked before going to sleep. A sleep and its wake-up cost the two sides some 10 µs,
 * about as long as this takes; longer would burn a core that others need.
 */
const looksMax = 2_000;

export class RingSide {
  readonly #words: Int32Array;
  readonly #own: number;
  readonly #other: number;
  readonly #turns: RingTurns;
  #isWaiting = false;

  constructor(words: Int32Array, name: SideName, turns = systemTurns) {
    this.#words = words;
    this.#turns = turns;
    this.#own = ringWords[name];
    this.#other = ringWords[name === 'producer' ? 'consumer' : 'producer'];
  }

  get other(): Presence {
    const condition = Atomics.load(this.#words, this.#other);
    return condition === closed ? 'closed' : condition === failed ? 'failed' : 'here';
  }

  /**
   * Called when the position has moved. The common case, that the other is awake, is one load.
   * False: the other has gone.
   */
  wakeOther(): boolean {
    return Atomics.load(this.#words, this.#other) === awake || rouse(this.#words, this.#other);
  }

  /**
   * Blocks the thread until `isReady`. False: it is not, and the other side has gone, or this one
   * was closed.
   */
  wait(isReady: () => boolean): boolean {
    for (let looks = 0; looks < looksMax; looks++) if (isReady()) return true;
    this.#begin();
    while (this.#lieDown(isReady)) Atomics.wait(this.#words, this.#own, asleep);
    return this.#end(isReady);
  }

  /**
   * The same for a thread with an event loop, which takes at least one turn meanwhile: a side that
   * always finds something to do would starve all else. It does not keep the process alive: whoever
   * waits has a port or a server that does.
   */
  async waitAsync(isReady: () => boolean): Promise<boolean> {
    this.#begin();
    if (isReady()) await this.#turns.turn();
    while (this.#lieDown(isReady)) await this.#turns.changed(this.#words, this.#own, asleep);
    return this.#end(isReady);
  }

  close(): void {
    Atomics.store(this.#words, this.#own, closed);
    Atomics.notify(this.#words, this.#own);
    rouse(this.#words, this.#other);
  }

  /** Whether to sleep now. */
  #lieDown(isReady: () => boolean): boolean {
    if (Atomics.compareExchange(this.#words, this.#own, awake, asleep) >= closed) return false;
    if (!isReady() && this.other === 'here') return true;
    Atomics.compareExchange(this.#words, this.#own, asleep, awake);
    return false;
  }

  #begin(): void {
    assert(!this.#isWaiting, 'One side of a ring waits once at a time.');
    this.#isWaiting = true;
  }

  /** Looked at again: before it went, the other may have done what was waited for. */
  #end(isReady: () => boolean): boolean {
    this.#isWaiting = false;
    return Atomics.load(this.#words, this.#own) < closed && isReady();
  }
}

/** Wakes a side if it sleeps. False: it has gone. */
function rouse(words: Int32Array, side: number): boolean {
  const found = Atomics.compareExchange(words, side, asleep, awake);
  if (found === asleep) Atomics.notify(words, side);
  return found < closed;
}

/**
 * Told by the parent when the thread of one side has ended, however it ended: the other side is
 * woken, reads what was published, and is then told that nobody is there. A side that had closed
 * stays closed: it ended in good order before its thread did.
 */
export function failRing(memory: SharedArrayBuffer, name: SideName): void {
  const { words } = openRing(memory);
  const side = ringWords[name];
  // Again where the other side changed asleep to awake in between.
  for (let seen = awake; seen < closed; ) {
    const found = Atomics.compareExchange(words, side, seen, failed);
    if (found === seen) break;
    seen = found;
  }
  Atomics.notify(words, side);
  rouse(words, ringWords[name === 'producer' ? 'consumer' : 'producer']);
}
