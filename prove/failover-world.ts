// The product in front of a primary and a standby: streams of every route, with a key and without,
// into tables that count. What it was sent, and what must hold of it on one of the two.
import assert from 'node:assert/strict';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { open } from '../src/index.ts';
import { segmentNumbers } from '../src/journal/files.ts';
import type { OpenOptions, StreamOptions } from '../src/options.ts';
import type { Holdfast, Level } from '../src/types.ts';
import { temporaryFolder } from '../test/support/journals.ts';
import { type DatabaseServer, type Pair, targetUrl } from '../test/support/pairs.ts';
import { streamWhere } from '../test/support/waits.ts';
import { checkBooks, checkTable, Violation } from './oracle.ts';

const keyed = { key: ['id'], lanes: 4 } as const;
const loose = { lanes: 4 } as const;
const staged = { route: 'staged', mergeEveryMs: 50 } as const;

/** By the name of stream and table. */
function streamsOf(engine: DatabaseServer['engine']): Record<string, Partial<StreamOptions>> {
  return {
    keyed,
    loose,
    staged_keyed: { ...keyed, ...staged },
    staged_loose: { ...loose, ...staged },
    // What an unlogged table held is not on the standby at all.
    ...(engine === 'PostgreSQL' && { unlogged: { ...loose, ...staged, staging: 'unlogged' } }),
  };
}

/** So long that a few requests fill a segment. */
const note = 'n'.repeat(150);
const rowsEach = 50;

export interface FailoverOptions extends Partial<Pick<OpenOptions, 'confirm'>> {
  /** Confirmed segments go at once. */
  readonly keepsNothing?: boolean;
  readonly standbyFirst?: boolean;
}

export class FailoverWorld {
  readonly pair: Pair;
  readonly see: (what: string, count?: number) => void;
  readonly #streams: Record<string, Partial<StreamOptions>>;
  readonly #folder = temporaryFolder();
  #holdfast: Holdfast | undefined;
  /** Every stream was sent rows of the ids from 0 to this. */
  #sent = 0;

  constructor(pair: Pair, see: (what: string, count?: number) => void) {
    this.pair = pair;
    this.see = see;
    this.#streams = streamsOf(pair.primary.engine);
  }

  get names(): string[] {
    return Object.keys(this.#streams);
  }

  get holdfast(): Holdfast {
    assert(this.#holdfast, 'the world is open');
    return this.#holdfast;
  }

  /** The tables, on both. */
  async create(): Promise<void> {
    const { primary } = this.pair;
    for (const [name, { key }] of Object.entries(this.#streams)) {
      const id = `id bigint NOT NULL${key ? ' PRIMARY KEY' : ''}`;
      await primary.sql(`CREATE TABLE ${name} (${id}, note varchar(200) NOT NULL)`);
    }
    await this.pair.catchUp();
  }

  async open({ confirm, keepsNothing, standbyFirst }: FailoverOptions = {}): Promise<void> {
    const { primary, standby } = this.pair;
    const ports = [primary.port, standby.port];
    const streams = Object.entries(this.#streams).map(
      ([name, stream]) => [name, { table: name, ...stream }] as const,
    );
    this.#holdfast = await open({
      journal: this.#folder.path,
      target: targetUrl(primary.engine, standbyFirst ? ports.toReversed() : ports),
      streams: Object.fromEntries(streams),
      ...(confirm !== undefined && { confirm }),
      limits: {
        segmentBytes: 64 * 1024,
        ...(keepsNothing && { retentionMsMin: 0, retentionBytesMin: 0 }),
      },
    });
  }

  /** Every stream gets so many rows more; resolves when all are at `level`. */
  async write(count: number, level: Level): Promise<void> {
    const end = this.#sent + count;
    for (let first = this.#sent; first < end; first += rowsEach) {
      const rows = Array.from({ length: Math.min(rowsEach, end - first) }, (_, i) => ({
        id: first + i,
        note,
      }));
      // In the books before they are waited for: what is not acknowledged may be there as well.
      this.#sent = first + rows.length;
      const all = this.names.map((name) => this.holdfast.write(name, rows, { level }));
      await this.watched(Promise.all(all));
    }
  }

  async countOf(server: DatabaseServer, table: string): Promise<number> {
    const [row] = await server.sql(`SELECT count(*) AS count FROM ${table}`);
    return Number(row?.['count']);
  }

  /** How many rows that were sent this server lacks. */
  async lacking(server: DatabaseServer): Promise<number> {
    let lacking = 0;
    for (const name of this.names) {
      const isThere = (await server.sql(existsSql(name))).length > 0;
      lacking += this.#sent - (isThere ? await this.countOf(server, name) : 0);
    }
    return lacking;
  }

  /** Of what would be waited for in vain where the product says that it cannot go on. */
  async watched<T>(work: Promise<T>): Promise<T> {
    const done = new AbortController();
    const watch = async (): Promise<void> => {
      while (!done.signal.aborted) {
        const { streams } = await this.holdfast.status();
        for (const [name, { reason = '' }] of Object.entries(streams)) {
          if (isGone(reason)) throw new Violation('lost', `${name}: ${reason}`);
        }
        await systemClock.sleep(200, done.signal);
      }
    };
    const working = work.finally(() => done.abort());
    await Promise.all([working, watch()]);
    return working;
  }

  /** Numbers of the journal's segments, oldest first. */
  get segments(): number[] {
    return segmentNumbers(systemDisk, this.#folder.path);
  }

  /** Waits until all is settled there, then looks for each row once, and at the books. */
  async check(server: DatabaseServer): Promise<void> {
    for (const name of this.names) {
      const settled = streamWhere(
        this.holdfast,
        name,
        ({ state, watermarks, inFlight, accepted }) =>
          state === 'running' && inFlight === 0 && watermarks.settled === accepted,
      );
      await this.watched(settled);
      await this.checkRows(server, name);
      const { accepted, ...books } = await streamWhere(this.holdfast, name, () => true);
      const none = { duplicates: 0, superseded: 0, deadLetters: 0, inFlight: 0, unaccounted: 0 };
      const wanted = { accepted: this.#sent, merged: this.#sent, ...none };
      checkBooks(name, { accepted, ...books }, wanted);
    }
    const { ok, differences } = await this.holdfast.verify();
    assert.deepEqual({ ok, differences }, { ok: true, differences: [] });
  }

  /** Each row is there once; of those up to `from` it is no matter whether they are there. */
  async checkRows(server: DatabaseServer, table: string, from = 0): Promise<void> {
    const rows = await server.sql(`SELECT id, note FROM ${table}`);
    const found = rows.map((row) => ({ id: Number(row['id']), note: row['note'] }));
    const sent = Array.from({ length: this.#sent }, (_, id) => ({ id, note }));
    checkTable({ table, found, sent, acknowledged: sent.slice(from) });
    this.see('rows checked', found.length);
  }

  /** What the streams say, for a run that comes to no end. */
  async said(): Promise<string> {
    const { streams } = await this.holdfast.status();
    return Object.entries(streams)
      .map(
        ([name, { state, reason = '', inFlight }]) =>
          `${name} is ${state} ${reason}, ${inFlight} in flight`,
      )
      .join('; ');
  }

  /** Who still waits for it hears that it is closed. */
  async close(): Promise<void> {
    const holdfast = this.#holdfast;
    this.#holdfast = undefined;
    await holdfast?.close({ drainMs: 0 });
    this.#folder.remove();
  }
}

/** What a stream says whose target lacks more than the journal has. */
export const isGone = (reason: string): boolean => reason.includes('not in the journal any more');

const existsSql = (table: string): string =>
  `SELECT 1 AS found FROM information_schema.tables WHERE table_name = '${table}'`;
