// The staged route on one connection to a simulated target. A merge claims its lane numbers when it
// reaches the server, and holds them until it ends: of those that are claimed meanwhile, another
// one takes none.
import assert from 'node:assert/strict';
import type { Clock } from '../../src/clock.ts';
import type { Batch } from '../../src/merge/batch.ts';
import { type LedgerRow, ledgerRows } from '../../src/merge/ledger.ts';
import type * as seam from '../../src/target/staging.ts';
import type { StreamId } from '../../src/target/target.ts';
import { count } from './simulated-books.ts';
import { dedupe, findDuplicates } from './simulated-dedupe.ts';
import { buryUndecoded, guard, kept, streamOf } from './simulated-merge.ts';
import type { Call, SimulatedServer } from './simulated-server.ts';
import {
  archive,
  dayOf,
  daysOf,
  dropDay,
  openStage,
  partitionsOf,
  stageOf,
  stageRows,
} from './simulated-stage.ts';
import { laneKey, ledgerPlace, type SimulatedStore } from './simulated-store.ts';
import { lanesWaiting, mergeTaken, takeBatches } from './simulated-turn.ts';

export interface StagingParts {
  readonly server: SimulatedServer;
  readonly store: SimulatedStore;
  readonly clock: Clock;
  position(): string;
  call<T>(of: Call<T>): Promise<T>;
}

const read = { writes: false } as const;
const write = { writes: true } as const;

export const claimKey = (stream: string, lane: number): string => `${lane} ${stream}`;

export class SimulatedStaging implements seam.Staging {
  readonly #parts: StagingParts;
  readonly #store: SimulatedStore;

  constructor(parts: StagingParts) {
    this.#parts = parts;
    this.#store = parts.store;
  }

  get #wallMs(): number {
    return this.#parts.clock.wallMs();
  }

  /** A transaction. */
  #write<T>(name: string, of: Omit<Call<T>, 'name' | 'writes'>): Promise<T> {
    const body = () => this.#store.transaction(of.body);
    return this.#parts.call({ ...of, name, ...write, body });
  }

  #read<T>(name: string, body: () => T): Promise<T> {
    return this.#parts.call({ name, ...read, body });
  }

  open(stream: seam.StagedStream): Promise<void> {
    const body = () => {
      openStage(this.#store, stream, this.#wallMs);
    };
    return this.#write('open stage', { body });
  }

  stage(given: Batch, stream: seam.StagedStream): Promise<{ readonly position: string }> {
    let batch = given;
    const keep = (): void => {
      batch = kept(given);
    };
    const id = streamOf(batch);
    const locks = batch.slices.map(({ lane }) => laneKey(id, lane));
    const body = () => {
      this.#store.transaction(() => this.#stage(batch, stream));
      return { position: this.#parts.position() };
    };
    return this.#parts.call({ name: 'stage', ...write, locks, isGuarded: true, keep, body });
  }

  #stage(batch: Batch, stream: seam.StagedStream): void {
    const at = this.#wallMs;
    const stage = openStage(this.#store, stream, at);
    guard(this.#store, batch, 'staged');
    stageRows(this.#store, batch, { stage, day: dayOf(at) });
    buryUndecoded(this.#store, batch);
    const id = streamOf(batch);
    for (const row of ledgerRows(batch, undefined)) {
      const key = laneKey(id, row.lane);
      this.#store.book(key, { row: { ...row, merged: 0 }, isMerged: false, at });
      const none = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
      count(this.#store, { ...id, lane: row.lane }, { ...none, staged: row.last });
    }
  }

  merge(turn: seam.MergeTurn): Promise<seam.MergedTurn | undefined> {
    const { stream } = turn.stream.rules;
    let taken: ReturnType<typeof takeBatches> = [];
    const claims = () => {
      const { lanes, count: most } = lanesWaiting(this.#store, turn);
      const isFree = (lane: number) => !this.#parts.server.isClaimed(claimKey(stream, lane));
      const mine = lanes.filter(isFree).slice(0, most);
      taken = takeBatches(this.#store, turn, new Set(mine));
      return mine.map((lane) => claimKey(stream, lane));
    };
    const body = () => {
      if (taken.length === 0) return undefined;
      const done = mergeTaken(this.#store, turn, { taken, wallMs: this.#wallMs });
      return done && { ...done, position: this.#parts.position() };
    };
    // Done late it takes what it finds then: `settled` is its guard.
    return this.#parts.call({ name: 'merge staged', ...write, isGuarded: true, claims, body });
  }

  mergedAfter(stream: StreamId, after: readonly number[]): Promise<LedgerRow[]> {
    return this.#read('mergedAfter', () =>
      after.flatMap((last, lane) => {
        const all = this.#store.entries(laneKey(stream, lane));
        const behind = all.slice(ledgerPlace(all, last + 1));
        return behind.filter(({ isMerged }) => isMerged).map(({ row }) => row);
      }),
    );
  }

  waiting(stream: string): Promise<seam.Waiting> {
    return this.#read('waiting', () => {
      let records = 0;
      let oldestAt: number | undefined;
      for (const { key } of this.#store.members(stream)) {
        for (const { row, at } of this.#store.waiting(key)) {
          records += row.rowCount;
          oldestAt = Math.min(oldestAt ?? at, at);
        }
      }
      return { records, oldestAt };
    });
  }

  confirm(id: StreamId, lanes: readonly { lane: number; last: number }[]): Promise<void> {
    const body = () => {
      for (const { lane, last } of lanes) {
        const key = laneKey(id, lane);
        const known = this.#store.stagedLanes.get(key);
        if (!known || known.confirmed === last) continue;
        this.#store.set(this.#store.stagedLanes, key, { ...known, confirmed: last });
      }
    };
    const locks = lanes.map(({ lane }) => laneKey(id, lane));
    return this.#write('confirm', { locks, body });
  }

  days(stream: string): Promise<seam.StagingDay[]> {
    return this.#read('days', () => daysOf(this.#store, stream));
  }

  partitions(stream: string): Promise<seam.StagingPartition[]> {
    return this.#read('partitions', () => partitionsOf(this.#store, stream, this.#wallMs));
  }

  createAhead(stream: seam.StagedStream): Promise<void> {
    const body = () => {
      if (stageOf(this.#store, stream)) openStage(this.#store, stream, this.#wallMs);
    };
    return this.#write('createAhead', { body });
  }

  dropPartition(stream: string, name: string, rows?: number): Promise<boolean> {
    const body = () => dropDay(this.#store, stream, { name, rows, wallMs: this.#wallMs });
    return this.#write('dropPartition', { body });
  }

  archivePage(
    stream: string,
    name: string,
    page: { readonly from: string; readonly rowsMax: number },
  ): Promise<seam.ArchivePage> {
    return this.#read('archivePage', () => archive(this.#store, { stream, name }, page));
  }

  duplicates(stream: seam.StagedStream, keysMax: number): Promise<seam.StagedDuplicates> {
    return this.#read('duplicates', () => findDuplicates(this.#store, stream, keysMax));
  }

  dedupe(
    stream: seam.StagedStream,
    lane: number,
    rowsMax: number,
  ): Promise<seam.DedupeStep | undefined> {
    assert(rowsMax > 0, 'a step has rows');
    const { server } = this.#parts;
    const body = () => {
      if (server.isClaimed(claimKey(stream.rules.stream, lane))) return undefined;
      return dedupe(this.#store, stream, lane);
    };
    return this.#parts.call({ name: 'dedupe', ...write, body });
  }
}
