// confirm: when is a settled record as durable in the target as the user asked? Until then its segment
// stays, so that a failover that forgets the last commits can be repaired from the journal.
// Levels: 'commit'; 'standby': a standby of the same history has flushed the commit's position, and
// `settled`, read afterwards on that history, still covers the batch (P2); a time, monotonic.
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
    const { confirmed, rest } = await this.#split(session);
    if (confirmed.length === 0) return [];
    if (this.#level === 'standby') {
      const settled = new Map(
        (await session.lanes(stream)).map((state) => [state.lane, state.settled]),
      );
      const isCovered = confirmed.every((open) =>
        open.lanes.every(({ lane, last }) => (settled.get(lane) ?? 0) >= last),
      );
      if (!isCovered) return [];
    }
    this.#open = rest;
    return confirmed.flatMap((open) => open.lanes);
  }

  /** The target went back: nothing that waits can be confirmed by its old position. */
  forget(): void {
    this.#open = [];
  }

  async #split(session: Session): Promise<{ confirmed: Open[]; rest: Open[] }> {
    const level = this.#level;
    if (typeof level === 'object') {
      const due = this.#clock.monotonicMs() - level.afterMs;
      const at = this.#open.findIndex((open) => open.atMs > due);
      const count = at < 0 ? this.#open.length : at;
      return { confirmed: this.#open.slice(0, count), rest: this.#open.slice(count) };
    }
    let count = 0;
    for (const { identity, position } of this.#open) {
      if (identity !== session.identity || !(await session.isReplicated(position))) break;
      count++;
    }
    return { confirmed: this.#open.slice(0, count), rest: this.#open.slice(count) };
  }
}
