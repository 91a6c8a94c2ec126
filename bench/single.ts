// One row alone: `holdfast.write` of one row of 200 bytes through the library, with an SQLite
// target,
// idle: each waits until the one before is settled. `of`: one bare write + fdatasync of as many
// bytes. The two take turns, so that a disturbance hits both.
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setImmediate as turn } from 'node:timers/promises';
import { open } from '../src/holdfast.ts';
import type { Holdfast } from '../src/types.ts';
import type { BareFile } from './bare-file.ts';
import { median, type Run } from './figures.ts';
import { CpuMeter } from './machine.ts';

export const recordBytes = 200;

export class Singles {
  readonly #holdfast: Holdfast;
  readonly #bare: BareFile;
  readonly #bytes = new Uint8Array(recordBytes).fill(97);
  readonly #body = 'a'.repeat(recordBytes - 18);
  #id = 0;

  private constructor(holdfast: Holdfast, bare: BareFile) {
    this.#holdfast = holdfast;
    this.#bare = bare;
  }

  static async open(folder: string, bare: BareFile): Promise<Singles> {
    const path = join(folder, 'target.db');
    const database = new DatabaseSync(path);
    database.exec('PRAGMA journal_mode=WAL');
    database.exec('CREATE TABLE records (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT');
    database.close();
    const holdfast = await open({
      journal: join(folder, 'single'),
      target: `sqlite:${path}`,
      streams: { records: { table: 'records', key: ['id'] } },
    });
    return new Singles(holdfast, bare);
  }

  /** The medians of so many of each, in microseconds. */
  async take(pairs: number): Promise<Run> {
    const meter = new CpuMeter();
    const times: { bare: number[]; write: number[] } = { bare: [], write: [] };
    for (let i = 0; i < pairs; i++) {
      await turn();
      const begun = performance.now();
      this.#bare.append(this.#bytes);
      times.bare.push(performance.now() - begun);
      await turn();
      const asked = performance.now();
      const receipt = await this.#holdfast.write('records', { id: ++this.#id, body: this.#body });
      times.write.push(performance.now() - asked);
      await receipt.settled;
    }
    const value = median(times.write) * 1000;
    return { value, of: median(times.bare) * 1000, others: meter.others() };
  }

  close(): Promise<void> {
    return this.#holdfast.close();
  }
}
