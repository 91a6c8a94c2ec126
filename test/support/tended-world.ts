// A world in which somebody sees to things: a stream is staged, another one is held for want of its
// table until copies of its records are made, what waits twice is taken out, dead letters are
// replayed and dropped, a stream's target is set back and the lost records are passed over, and all
// of it is verified. Each step is tried until it is done, by whichever process lives then.
import assert from 'node:assert/strict';
import { checkBooks } from '../../prove/oracle.ts';
import { HoldfastError } from '../../src/errors.ts';
import { isLost } from '../../src/merge/lost.ts';
import type { OpenOptions } from '../../src/options.ts';
import { TargetError } from '../../src/target/target.ts';
import type { Holdfast, StreamStatus } from '../../src/types.ts';
import type { SimulatedTable } from '../simulation/simulated-store.ts';
import { directory, ProcessWorld } from './process-world.ts';
import { column } from './rows.ts';
import { checkLetters, checkStreams, checkTables } from './tended-checks.ts';
import {
  type ChapterName,
  chapters,
  endsOf,
  refusedNote,
  type TendedRequest,
  tendedRequests,
  tendedStreams,
} from './tended-requests.ts';

const segmentBytes = 64 * 1024;

const options: OpenOptions = {
  journal: directory,
  // Never connected to: the simulated target takes its place.
  target: 'postgres://simulated/shop',
  confirm: 'standby',
  streams: {
    orders: { table: 'orders', key: ['id'], lanes: 2, loaders: 1 },
    parcels: {
      ...{ table: 'parcels', key: ['id'], lanes: 2, loaders: 1 },
      ...{ route: 'staged', mergers: 1, mergeEveryMs: 400, stagingRetention: '1s' },
    },
    visits: { table: 'visits', key: ['id'], lanes: 2, loaders: 1 },
  },
  limits: { segmentBytes, retentionMsMin: 0, retentionBytesMin: 0 },
};

/** Four fifths of it are the journal's: four segments. */
const diskBytes = 6 * segmentBytes;

const columns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];

/** The first days of a staging table end in the first life. */
const wallMs = Date.UTC(2026, 0, 1, 23, 59, 55);
const lagMs = 5;
const pauseMs = 100;
/** So long a person tries before the process is ended; beyond what any order of theirs takes. */
const patienceMs = 15_000;
/** The ledger is pruned, and a staging table's days are looked at, once a minute. */
const idleMs = 61_000;

/** Rows wait for so many rounds, at most, before somebody looks for doubles no more. */
const roundsMax = 12;
const roundMs = 15;

const isSettled = ({ inFlight, state, levels }: StreamStatus): boolean =>
  inFlight === 0 && state === 'running' && levels.table.records === 0;

/** Somebody has tried for long enough. */
class Impatience extends Error {
  override readonly name = 'Impatience';
}

interface Step {
  readonly name: string;
  readonly run: (holdfast: Holdfast) => Promise<void>;
  readonly patienceMs?: number;
}

export class TendedWorld extends ProcessWorld {
  readonly acknowledged = new Set<string>();
  readonly done = new Set<string>();
  /** Rows that were taken out of the staging table. */
  collapsed = 0;
  /** The table of orders while it is not there. */
  #shut: SimulatedTable | undefined;
  #isRefusing = true;
  #isSetBack = false;

  constructor(seed = 1) {
    const target = {
      ...{ latencyMsMax: 8, standby: true, mergersMax: 1 },
      contention: { lockWaits: 0, lockTimeMs: 0, deadlocks: 0, isSampled: false },
    };
    super({ seed, options, target, clock: { seed, wallMs }, diskBytes });
    this.target.follow(lagMs);
    for (const name of tendedStreams) {
      const refuse = ({ note }: { readonly note?: unknown }): string | undefined =>
        this.#isRefusing && note === refusedNote ? 'Not yet.' : undefined;
      this.target.createTable(name, { columns, key: ['id'], refuse });
    }
  }

  readonly #steps: readonly Step[] = [
    { name: 'opens', run: (holdfast) => this.#sendAndSettle(holdfast, 'opening') },
    { name: 'shuts', run: (holdfast) => this.#shutAndSend(holdfast) },
    { name: 'takes out doubles', run: (holdfast) => this.#takeOutDoubles(holdfast) },
    { name: 'sees to letters', run: (holdfast) => this.#seeToLetters(holdfast) },
    { name: 'passes over', run: (holdfast) => this.#setBackAndPassOver(holdfast) },
    { name: 'goes on', run: (holdfast) => this.#sendAndSettle(holdfast, 'after') },
    { name: 'idles', run: () => this.clock.sleep(idleMs), patienceMs: idleMs * 2 },
    { name: 'verifies', run: (holdfast) => this.#verify(holdfast) },
  ];

  /** All that is not done yet; then the process closes. */
  async tend(holdfast: Holdfast): Promise<void> {
    try {
      await this.#tend(holdfast);
    } catch (error) {
      if (!(error instanceof Impatience)) throw error;
      await holdfast.close({ drainMs: 0 });
      return;
    }
    await holdfast.close();
  }

  async #tend(holdfast: Holdfast): Promise<void> {
    for (const step of this.#steps) {
      if (this.done.has(step.name)) continue;
      await this.#patiently(step, holdfast);
      this.done.add(step.name);
    }
  }

  #patiently({ name, run, patienceMs: ms = patienceMs }: Step, holdfast: Holdfast): Promise<void> {
    const over = this.clock.sleep(ms).then(() => {
      throw new Impatience(`"${name}" did not come to its end in ${ms} ms`);
    });
    return Promise.race([this.#trying(() => run(holdfast)), over]);
  }

  /** What the target refuses is tried again. */
  async #trying(run: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await run();
      } catch (error) {
        const isRefusal = error instanceof HoldfastError && error.code === 'HF_TARGET';
        if (!isRefusal && !(error instanceof TargetError)) throw error;
        await this.clock.sleep(pauseMs);
      }
    }
  }

  async #sendAndSettle(holdfast: Holdfast, name: ChapterName): Promise<void> {
    await this.#send(holdfast, name);
    await this.#settled(holdfast);
  }

  async #send(holdfast: Holdfast, name: ChapterName): Promise<void> {
    for (const burst of chapters[name]) {
      const wanted = burst.filter(({ key }) => !this.acknowledged.has(key));
      const sent = await Promise.allSettled(wanted.map((one) => this.#sendOne(holdfast, one)));
      const refused = sent.find((one) => one.status === 'rejected');
      if (refused) throw refused.reason;
    }
  }

  async #sendOne(holdfast: Holdfast, { stream, key, rows }: TendedRequest) {
    const receipt = await holdfast.write(
      stream,
      rows.map((row) => ({ ...row })),
      {
        idempotencyKey: key,
      },
    );
    assert.equal(receipt.accepted, rows.length);
    this.acknowledged.add(key);
    return receipt;
  }

  async #shutAndSend(holdfast: Holdfast): Promise<void> {
    if (!this.done.has('is shut')) this.#shut = this.target.dropTable('orders');
    this.done.add('is shut');
    await this.#send(holdfast, 'shut');
    this.#putBack();
    await this.#settled(holdfast);
  }

  #putBack(): void {
    if (this.#shut) this.target.putBack('orders', this.#shut);
    this.#shut = undefined;
  }

  /** As `holdfast dedupe` does, beside the process. */
  async #takeOutDoubles(holdfast: Holdfast): Promise<void> {
    await this.#send(holdfast, 'waiting');
    const session = await this.wrapTarget(this.target).connect();
    try {
      const { staging } = session;
      assert(staging, 'the target has a staged route');
      const rules = { stream: 'parcels', key: ['id'], onConflict: 'dead-letter' } as const;
      const stream = { rules, table: await session.describe('parcels'), isLogged: true };
      for (let round = 0; round < roundsMax && this.collapsed === 0; round++) {
        for (const { lane, duplicates } of (await staging.duplicates(stream, 1)).byLane) {
          const step = duplicates > 0 ? await staging.dedupe(stream, lane, 100) : undefined;
          this.collapsed += step?.collapsed ?? 0;
        }
        await this.clock.sleep(roundMs);
      }
    } finally {
      session.destroy();
    }
    await this.#settled(holdfast);
  }

  /** The refused rows are taken now; what conflicts is dropped. */
  async #seeToLetters(holdfast: Holdfast): Promise<void> {
    this.#isRefusing = false;
    for (const letter of await holdfast.deadLetters.list()) {
      const { code, writer, lane, sequence, stream } = letter;
      const id = `${writer}.${lane}.${sequence}.${stream}`;
      assert.equal((await holdfast.deadLetters.show(id)).code, code);
      try {
        if (code === 'refused') assert.equal(await holdfast.deadLetters.replay(id), 'merged');
        else await holdfast.deadLetters.drop(id);
      } catch (error) {
        // It was done, and only the answer was lost.
        if (!(error instanceof HoldfastError && error.code === 'HF_NOT_FOUND')) throw error;
      }
    }
    assert.deepEqual(await holdfast.deadLetters.list(), []);
  }

  /** The table of visits, and all that the target knows of them, is as it was at first. */
  #setBack(): void {
    const { store } = this.target;
    store.transaction(() => {
      for (const member of store.members('visits')) {
        const state = store.lanes.get(member.key);
        assert(state, 'a lane has a state');
        const totals = { merged: 0, duplicates: 0, superseded: 0, deadLetters: 0 };
        store.setLane(member, { ...state, ...totals, staged: 0, settled: 0 });
        const entries = store.entries(member.key);
        store.splice(entries, { start: 0, count: entries.length });
      }
      const { rows } = store.table('visits');
      for (const key of rows.keys()) store.set(rows, key, undefined);
    });
  }

  async #setBackAndPassOver(holdfast: Holdfast): Promise<void> {
    if (!this.#isSetBack) this.#setBack();
    this.#isSetBack = true;
    for (;;) {
      await this.#passOver(holdfast);
      const { visits } = (await holdfast.status()).streams;
      if (visits && isSettled(visits)) return;
      await this.clock.sleep(pauseMs);
    }
  }

  async #passOver(holdfast: Holdfast): Promise<void> {
    try {
      await holdfast.passOver('visits', { dryRun: true });
      const lost = await holdfast.passOver('visits');
      const { store } = this.target;
      for (const { lane, key } of store.members('visits')) {
        const { last = 0 } = lost.find((range) => range.lane === lane) ?? {};
        const { settled = 0 } = store.lanes.get(key) ?? {};
        assert(settled >= last, `lane ${lane} was passed over to ${last} and is at ${settled}`);
      }
    } catch (error) {
      // The journal has all of it until now, or only the answer to an earlier order was lost.
      if (!(error instanceof HoldfastError && error.code === 'HF_USAGE')) throw error;
    }
  }

  async #verify(holdfast: Holdfast): Promise<void> {
    await this.#settled(holdfast);
    const { differences } = await holdfast.verify();
    const lost = this.lostRecords > 0 ? ['unaccounted'] : [];
    const wrong = differences.filter(
      ({ stream, kind }) => stream !== 'visits' || !lost.includes(kind),
    );
    assert.deepEqual(wrong, []);
  }

  /** Records of visits that were passed over. */
  get lostRecords(): number {
    const { store } = this.target;
    return [...store.members('visits')]
      .flatMap(({ key }) => store.entries(key))
      .reduce((sum, { row }) => sum + (isLost(row) ? row.rowCount : 0), 0);
  }

  /** Waits until nothing is in flight, and each stream runs (O10). */
  async #settled(holdfast: Holdfast): Promise<void> {
    for (;;) {
      const { streams, target } = await holdfast.status();
      for (const [name, books] of Object.entries(streams)) {
        if (name !== 'visits') checkBooks(name, books);
      }
      if (target.reachable && Object.values(streams).every(isSettled)) return;
      await this.clock.sleep(pauseMs);
    }
  }

  /**
   * The last process, to which nothing happens: what was acknowledged before it must come to the
   * tables without its sender. Then it does what is not done yet, and all is sent again, of which
   * nothing may double.
   */
  audit(after: string): Promise<void> {
    return this.judged(after, () => this.#audit());
  }

  async #audit(): Promise<void> {
    const acknowledged = new Set(this.acknowledged);
    this.#putBack();
    const end = await this.live(async (holdfast) => {
      const drain = () => this.#drain(holdfast);
      await this.#patiently({ name: 'drains', run: drain }, holdfast);
      this.#checkTables(({ key }) => acknowledged.has(key));
      await this.#tend(holdfast);
      const repeat = async (): Promise<void> => {
        for (const request of tendedRequests) await this.#sendAgain(holdfast, request);
      };
      await this.#patiently({ name: 'repeats', run: repeat }, holdfast);
      await this.#verify(holdfast);
      checkStreams((await holdfast.status()).streams, this.lostRecords);
      await holdfast.close();
    });
    assert.equal(end, 'ended');
    this.#checkTables(() => true);
    checkLetters(this.target);
  }

  /** Somebody has to give up what was lost before; all else comes to its end by itself. */
  async #drain(holdfast: Holdfast): Promise<void> {
    if (this.#isSetBack && !this.done.has('passes over')) await this.#setBackAndPassOver(holdfast);
    await this.#settled(holdfast);
  }

  #checkTables(isAcknowledged: (request: TendedRequest) => boolean): void {
    const areReplayed = this.done.has('sees to letters');
    const { target, lostRecords } = this;
    checkTables(target, { isAcknowledged, lostRecords, areReplayed });
  }

  async #sendAgain(holdfast: Holdfast, request: TendedRequest): Promise<void> {
    const { repeated, settled } = await this.#sendOne(holdfast, request);
    assert(repeated, `request ${request.key} is known`);
    try {
      const ends = await settled;
      // What was counted before the letter was replayed stays so.
      const known = [endsOf(request), { ...endsOf(request), merged: 0, deadLetters: 1 }];
      const may = request.not === 'refused' ? known : known.slice(0, 1);
      assert(
        may.some((one) => JSON.stringify(one) === JSON.stringify(ends)),
        request.key,
      );
    } catch (error) {
      const isLostOne = error instanceof HoldfastError && error.code === 'HF_NOT_FOUND';
      if (!isLostOne || request.stream !== 'visits' || this.lostRecords === 0) throw error;
    }
  }
}
