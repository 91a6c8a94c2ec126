// confirm: when is a settled record as durable in the target as the user asked? Until then its
// segment stays, so that a failover that forgets the last commits can be repaired from the
// journal. Levels: 'commit'; 'standby': a standby of the same history has flushed the commit's
// position; a time, monotonic, spent in one history. For the latter two `settled`, read afterwards
// on that history, must still cover the batch (P2).
import type { Clock } from './clock.ts';
import type { Confirm } from './options.ts';
import type { Session, StreamId } from './target/target.ts';

interface Open {
  readonly lanes: readonly { readonly lane: number; readonly last: number }[];
  readonly position: string;
  readonly identity: string;
  readonly atMs: number;
}

export type ConfirmedLanes = Open['lanes'];

export class Confirming {
  readonly #level: Confirm;
  readonly #clock: Clock;
  #open: Open[] = [];

  constructor(level: Confirm, clock: Clock) {
    this.#level = level;
    this.#clock = clock;
  }

  /** Takes what a commit settled; returns what is confirmed by that alone. */
  add(lanes: ConfirmedLanes, commit: { readonly position: string; readonly identity: string }) {
    if (this.#level === 'commit') return lanes;
    this.#open.push({ lanes, ...commit, atMs: this.#clock.monotonicMs() });
    return [];
  }

  get isIdle(): boolean {
    return this.#open.length === 0;
  }

  /** What has become confirmed since; asks `session` where the level needs the target. */
  async poll(session: Session, stream: StreamId): Promise<ConfirmedLanes> {
    const { identity } = session;
    const due =
      this.#level === 'standby' ? await this.#replicated(session) : this.#elapsed(identity);
    if (due.length === 0 || !(await covers(session, stream, due))) return [];
    // Only these: another loader may have added its own meanwhile. And of these only what is still
    // open: the rest was taken back by a rewind, and this answer may be of the history before it.
    const done = new Set(due.filter((open) => this.#open.includes(open)));
    this.#open = this.#open.filter((open) => !done.has(open));
    return [...done].flatMap((open) => open.lanes);
  }

  /**
   * The target went back, these lanes to `last`: what lies beyond will be added again. The rest is
   * still there, but no old position, and no time that began in another history, says how safely.
   */
  rewind(lanes: ConfirmedLanes): void {
    const ends = new Map(lanes.map(({ lane, last }) => [lane, last]));
    const atMs = this.#clock.monotonicMs();
    this.#open = this.#open.map((open) => ({
      lanes: open.lanes.map(({ lane, last }) => ({
        lane,
        last: Math.min(last, ends.get(lane) ?? last),
      })),
      identity: '',
      position: '',
      atMs,
    }));
  }

  /** What was in the history `identity` for long enough; a time spent in another one is none. */
  #elapsed(identity: string): Open[] {
    const { afterMs } = typeof this.#level === 'object' ? this.#level : { afterMs: 0 };
    const nowMs = this.#clock.monotonicMs();
    const dueMs = nowMs - afterMs;
    this.#open = this.#open.map((open) => {
      if (open.identity === identity) return open;
      return { ...open, identity, atMs: open.identity === '' ? open.atMs : nowMs };
    });
    return this.#open.filter((open) => open.atMs <= dueMs);
  }

  /** A position of another history, or none, is replaced by where this one stands now (P2). */
  async #replicated(session: Session): Promise<Open[]> {
    const { identity } = session;
    const isStale = (open: Open): boolean => open.identity !== identity || open.position === '';
    if (this.#open.some(isStale)) {
      const position = await session.position();
      this.#open = this.#open.map((open) =>
        isStale(open) ? { ...open, identity, position } : open,
      );
    }
    const due: Open[] = [];
    for (const open of [...this.#open]) {
      if (!(await session.isReplicated(open.position))) break;
      due.push(open);
    }
    return due;
  }
}

/** `settled`, read after the positions were reached, still covers what they stand for. */
async function covers(session: Session, stream: StreamId, due: readonly Open[]): Promise<boolean> {
  const lanes = await session.lanes(stream);
  const settled = new Map(lanes.map((state) => [state.lane, state.settled]));
  return due.every((open) =>
    open.lanes.every(({ lane, last }) => (settled.get(lane) ?? 0) >= last),
  );
}
