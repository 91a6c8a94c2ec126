// A world in which processes die: one target and one clock that live on, and the disk that each
// process leaves to the next.
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { checkBooks, checkTable } from '../../prove/oracle.ts';
import type { Disk } from '../../src/disk.ts';
import { HoldfastError } from '../../src/errors.ts';
import { open, type Ports } from '../../src/holdfast.ts';
import type { OpenOptions } from '../../src/options.ts';
import type { Holdfast } from '../../src/types.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedTarget } from '../simulation/simulated-target.ts';
import { allRequests, endsOf, finalBooks, rowsIn, Sender } from './crash-sender.ts';
import { column } from './rows.ts';

export const directory = '/journal';
const streamNames = ['orders', 'events'] as const;

const options: OpenOptions = {
  journal: directory,
  // Never connected to: the simulated target takes its place.
  target: 'postgres://simulated/shop',
  streams: {
    orders: { table: 'orders', key: ['id'], lanes: 2 },
    events: { table: 'events', lanes: 2 },
  },
  limits: {
    segmentBytes: 64 * 1024,
    bytesMax: 8 * 64 * 1024,
    retentionMsMin: 0,
    retentionBytesMin: 0,
  },
};

const columns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];

export interface WorldOptions {
  readonly seed?: number;
  /** Rows are confirmed once a standby has them. */
  readonly standby?: boolean;
  /** Each call of the target takes up to this, by chance. */
  readonly latencyMsMax?: number;
}

interface Run {
  /** What was there before is settled first: no sync of new records helps it to the disk. */
  readonly drainsFirst?: boolean;
  /** All is settled before the process closes: it may not leave that to the next. */
  readonly settles?: boolean;
}

export class World {
  readonly clock: SimulatedClock;
  readonly target: SimulatedTarget;
  readonly sender: Sender;
  disk: SimulatedDisk;
  /** What stands between a process and its disk. */
  wrap: (disk: SimulatedDisk) => Disk = (disk) => disk;
  /** What else goes on while a process lives; begun with each, and ended with it. */
  beside: () => Promise<void> = async () => undefined;
  /** Whether all that `beside` may break is broken. */
  isCalm: () => boolean = () => true;

  readonly #options: OpenOptions;

  constructor({ seed = 1, standby = false, latencyMsMax = 8 }: WorldOptions = {}) {
    const clock = new SimulatedClock({ seed });
    this.clock = clock;
    this.sender = new Sender(clock);
    this.disk = new SimulatedDisk({ seed });
    const onDeath = () => this.disk.die();
    this.target = new SimulatedTarget({ clock, latencyMsMax, onDeath, standby });
    this.#options = { ...options, confirm: standby ? 'standby' : 'commit' };
    this.target.createTable('orders', { columns, key: ['id'] });
    this.target.createTable('events', { columns, key: [] });
  }

  /** Rows in both tables together. */
  get rowCount(): number {
    return streamNames.reduce((sum, name) => sum + this.target.rows(name).length, 0);
  }

  /** A process from its start to its death or its end; says whether it died. */
  async live(work: (holdfast: Holdfast) => Promise<void>): Promise<'died' | 'ended'> {
    const { disk, clock, target } = this;
    const ports: Ports = { disk: this.wrap(disk), clock, target };
    void this.beside();
    const life = (async () => work(await open(this.#options, ports)))();
    try {
      await clock.run(Promise.race([life, disk.died]));
    } catch (error) {
      if (!disk.isDead) throw error;
    } finally {
      // Whatever of it can still go on does so before the next process begins.
      await turn();
      clock.abandon();
    }
    return disk.isDead ? 'died' : 'ended';
  }

  /** All that was not acknowledged is sent, and the journal is closed once it is drained. */
  run(how: Run = {}): Promise<'died' | 'ended'> {
    return this.live((holdfast) => this.#sendAndClose(holdfast, how));
  }

  async #sendAndClose(holdfast: Holdfast, { drainsFirst, settles }: Run): Promise<void> {
    if (drainsFirst) await this.settled(holdfast);
    await this.sender.sendAll(holdfast);
    if (settles) await this.settled(holdfast);
    await holdfast.close();
  }

  /**
   * The same with errors below. Once the journal has failed nothing may be acknowledged; then
   * the process leaves.
   */
  async runUntilFailure(how: Run = {}): Promise<'failed' | 'died' | 'ended'> {
    let isFailed = false;
    try {
      return await this.live(async (holdfast) => {
        try {
          await this.#sendAndClose(holdfast, how);
        } catch (error) {
          isFailed = error instanceof HoldfastError && error.code === 'HF_JOURNAL_FAILED';
          if (isFailed) await this.#checkRefusing(holdfast);
          throw error;
        }
      });
    } catch (error) {
      assert(isExpected(error), error instanceof Error ? error : String(error));
      return 'failed';
    }
  }

  async #checkRefusing(holdfast: Holdfast): Promise<void> {
    const refused = holdfast.write('events', { id: 1_000_000, note: 'never taken' });
    const isRefusal = (error: unknown): boolean =>
      error instanceof HoldfastError &&
      error.code === 'HF_JOURNAL_FAILED' &&
      error.outcome === 'not written';
    await assert.rejects(refused, isRefusal);
    const error = await holdfast.failed;
    assert(isExpected(error), error);
  }

  /** The same; then what its end left is the disk. */
  async step(
    end: (disk: SimulatedDisk) => SimulatedDisk,
    note: (dead: SimulatedDisk, left: SimulatedDisk) => void,
  ): Promise<'died' | 'ended'> {
    const { disk: dead } = this;
    const how = await this.run();
    this.leave(end);
    if (how === 'died') note(dead, this.disk);
    return how;
  }

  /**
   * The standby stops following at one time, and takes over at a later one, whoever lives then.
   * `onRewind` hears of it if rows were lost with it.
   */
  planFailover(stopMs: number, overMs: number, onRewind: () => void): void {
    const { clock, target } = this;
    let kept = 0;
    let isOver = false;
    const takeOver = (): void => {
      isOver = true;
      const rows = this.rowCount;
      target.failover(target.store.commits - kept);
      if (this.rowCount < rows) onRewind();
    };
    this.isCalm = () => isOver;
    this.beside = async () => {
      for (;;) {
        if (!isOver && clock.monotonicMs() >= overMs) takeOver();
        if (isOver || clock.monotonicMs() < stopMs) {
          target.replicate();
          kept = target.store.commits;
        }
        await clock.sleep(3);
      }
    };
  }

  /** What the end of the process left is the disk from now on. */
  leave(end: (disk: SimulatedDisk) => SimulatedDisk): void {
    const { disk: dead } = this;
    this.disk = end(dead);
    dead.dispose();
  }

  /**
   * The last process, which first only drains: what was acknowledged before it must reach the
   * tables without its sender. Then the sender sends all of it again, and nothing may double.
   */
  async audit(after: string): Promise<void> {
    try {
      await this.#audit();
    } catch (cause) {
      throw new Error(`after ${after}`, { cause });
    } finally {
      this.disk.dispose();
    }
  }

  async #audit(): Promise<void> {
    const { sender } = this;
    const acknowledged = new Set(sender.acknowledged);
    const end = await this.live(async (holdfast) => {
      await this.settled(holdfast);
      this.#checkTables(acknowledged);
      await sender.sendAll(holdfast);
      for (const request of allRequests) {
        const { repeated, settled } = await sender.sendOne(holdfast, request);
        assert(repeated, `request ${request.key} is known`);
        assert.deepEqual(await settled, endsOf(request), `the ends of ${request.key}`);
      }
      await this.#checkKeyReuse(holdfast);
      await this.settled(holdfast);
      await this.#checkBooks(holdfast);
      const { ok, differences } = await holdfast.verify();
      assert(ok, JSON.stringify(differences));
      await holdfast.close();
    });
    assert.equal(end, 'ended');
    this.#checkTables(new Set(allRequests.map(({ key }) => key)));
    this.#checkLetters();
  }

  /** Waits until nothing breaks any more, and then until nothing is in flight (O10). */
  async settled(holdfast: Holdfast): Promise<void> {
    while (!this.isCalm()) await this.clock.sleep(5);
    for (let waits = 0; waits < 5_000; waits++) {
      const { streams } = await holdfast.status();
      const all = Object.values(streams);
      for (const [name, books] of Object.entries(streams)) checkBooks(name, books);
      if (all.every(({ inFlight, state }) => inFlight === 0 && state === 'running')) return;
      await this.clock.sleep(20);
    }
    assert.fail(`not settled: ${JSON.stringify(await holdfast.status())}`);
  }

  /** All that may be in the tables is what was sent; what was acknowledged must be. */
  #checkTables(acknowledged: ReadonlySet<string>): void {
    const all = new Set(allRequests.map(({ key }) => key));
    for (const table of streamNames) {
      checkTable({
        table,
        found: this.target.rows(table).map(({ id, note }) => ({ id: Number(id), note })),
        sent: rowsIn(table, all),
        acknowledged: rowsIn(table, acknowledged),
      });
    }
  }

  /** A known key with other rows is refused, and nothing of it is written. */
  async #checkKeyReuse(holdfast: Holdfast): Promise<void> {
    const [{ stream, key } = assert.fail('something was sent')] = allRequests;
    const rows = [{ id: 1_000_001, note: 'other rows under a known key' }];
    const isRefusal = (error: unknown): boolean =>
      error instanceof HoldfastError && error.code === 'HF_KEY_REUSED';
    await assert.rejects(holdfast.write(stream, rows, { idempotencyKey: key }), isRefusal);
  }

  async #checkBooks(holdfast: Holdfast): Promise<void> {
    const { streams } = await holdfast.status();
    for (const name of streamNames) {
      const books = streams[name];
      assert(books, `stream ${name} has books`);
      checkBooks(name, books, finalBooks(name));
    }
  }

  #checkLetters(): void {
    const letters = [...this.target.store.letters.values()];
    assert.equal(letters.length, finalBooks('orders').deadLetters);
  }
}

const expected = new Set(
  ['HF_JOURNAL_FAILED', 'HF_JOURNAL_FULL', 'HF_TARGET'].concat([
    'EIO',
    'ENOSPC',
    'EDQUOT',
    'EROFS',
    'EFBIG',
    'EMFILE',
  ]),
);

/** What errors below may make of a call: our refusal, or at open the disk's own error. */
const isExpected = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && expected.has(String(error.code));
