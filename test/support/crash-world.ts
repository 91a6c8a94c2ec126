// The world of the crash tests: two streams on the direct route, and a sender whose requests are
// sent again by each process until all are acknowledged.
import assert from 'node:assert/strict';
import { checkBooks, checkTable } from '../../prove/oracle.ts';
import { HoldfastError } from '../../src/errors.ts';
import type { OpenOptions } from '../../src/options.ts';
import type { Holdfast } from '../../src/types.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { allRequests, endsOf, finalBooks, rowsIn, Sender } from './crash-sender.ts';
import { directory, ProcessWorld } from './process-world.ts';
import { column } from './rows.ts';

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

export class World extends ProcessWorld {
  readonly sender: Sender;
  /** Whether all that `beside` may break is broken. */
  isCalm: () => boolean = () => true;

  constructor({ seed = 1, standby = false, latencyMsMax = 8 }: WorldOptions = {}) {
    const confirm = standby ? 'standby' : 'commit';
    super({ seed, options: { ...options, confirm }, target: { latencyMsMax, standby } });
    this.sender = new Sender(this.clock);
    this.target.createTable('orders', { columns, key: ['id'] });
    this.target.createTable('events', { columns, key: [] });
  }

  get acknowledged(): ReadonlySet<string> {
    return this.sender.acknowledged;
  }

  /** Rows in both tables together. */
  get rowCount(): number {
    return streamNames.reduce((sum, name) => sum + this.target.rows(name).length, 0);
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

  /** The same with errors below. */
  runUntilFailure(how: Run = {}): Promise<'failed' | 'died' | 'ended'> {
    return this.liveUntilFailure((holdfast) => this.#sendAndClose(holdfast, how));
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

  /**
   * The last process, which first only drains: what was acknowledged before it must reach the
   * tables without its sender. Then the sender sends all of it again, and nothing may double.
   */
  audit(after: string): Promise<void> {
    return this.judged(after, () => this.#audit());
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
