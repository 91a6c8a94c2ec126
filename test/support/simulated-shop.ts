// A shop of two streams over a simulated disk, clock and target, life after life.
import assert from 'node:assert/strict';
import { open } from '../../src/holdfast.ts';
import type { OpenOptions, StreamOptions } from '../../src/options.ts';
import type { Holdfast, StreamStatus } from '../../src/types.ts';
import { SimulatedClock } from '../simulation/simulated-clock.ts';
import type { SimulatedDisk } from '../simulation/simulated-disk.ts';
import { SimulatedTarget, type SimulatedTargetOptions } from '../simulation/simulated-target.ts';
import { column } from './rows.ts';

export const shopColumns = [
  { column: column('id', { kind: 'int', bytes: 8 }) },
  { column: column('note', { kind: 'text' }) },
];
const streams = {
  a: { table: 'a', key: ['id'], lanes: 2 },
  b: { table: 'b', key: ['id'], lanes: 2 },
};
const options: OpenOptions = {
  journal: '/journal',
  target: 'postgres://simulated/shop',
  streams,
  limits: {
    segmentBytes: 64 * 1024,
    // With room for copies: what is dropped at the bound becomes a spare.
    bytesMax: 8.5 * 64 * 1024,
    retentionMsMin: 0,
    retentionBytesMin: 0,
  },
};

/** One clock and one target; each life has the disk that it is given. */
export class Shop {
  readonly clock = new SimulatedClock();
  readonly target: SimulatedTarget;
  /** Of stream `a`, beside what it has anyway. */
  rules: Omit<StreamOptions, 'table'>;
  /** Beside those of every shop. */
  limits: OpenOptions['limits'] = {};

  constructor(rules: Shop['rules'] = {}, server: Omit<SimulatedTargetOptions, 'clock'> = {}) {
    this.rules = rules;
    this.target = new SimulatedTarget({ clock: this.clock, latencyMsMax: 4, ...server });
    for (const table of ['a', 'b'])
      this.target.createTable(table, { columns: shopColumns, key: ['id'] });
  }

  /** What the process leaves behind, as often as it is asked for. */
  async live(disk: SimulatedDisk, work: (holdfast: Holdfast) => Promise<void>) {
    const { clock, target } = this;
    const life = async (): Promise<void> => {
      const a = { ...streams.a, ...this.rules };
      const limits = { ...options.limits, ...this.limits };
      const own = { ...options, limits, streams: { ...streams, a } };
      const holdfast = await open(own, { disk, clock, target });
      try {
        await work(holdfast);
      } finally {
        await holdfast.close({ drainMs: 0 });
      }
    };
    await clock.run(life());
    return () => disk.kill();
  }

  /** Rows of 2 KB: a segment holds about thirty. */
  async write(holdfast: Holdfast, stream: string, ids: readonly number[]): Promise<void> {
    for (const id of ids) {
      await holdfast.write(stream, { id, note: `note ${id} `.padEnd(2_000, 'x') });
    }
  }

  async until(
    holdfast: Holdfast,
    stream: string,
    isThere: (status: StreamStatus) => boolean,
  ): Promise<StreamStatus> {
    let last: StreamStatus | undefined;
    for (let waits = 0; waits < 500; waits++) {
      last = (await holdfast.status()).streams[stream];
      if (last && isThere(last)) return last;
      await this.clock.sleep(50);
    }
    return assert.fail(`it never comes to that: ${JSON.stringify(last)}`);
  }

  settled(holdfast: Holdfast, stream: string): Promise<StreamStatus> {
    return this.until(holdfast, stream, ({ inFlight, state }) => {
      return inFlight === 0 && state === 'running';
    });
  }

  ids(table: string): number[] {
    const ids = this.target.rows(table).map(({ id }) => Number(id));
    return ids.sort((one, other) => one - other);
  }
}

export const range = (count: number, first = 0): number[] =>
  Array.from({ length: count }, (_, i) => first + i);
export const isHeld = ({ state }: StreamStatus): boolean => state === 'held';
