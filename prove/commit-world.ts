// One process's worth of the product behind a proxy of its own: a real journal, one stream, one
// table. What it is sent, how it is struck, and what must hold once the fault is gone.
import assert from 'node:assert/strict';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import { HoldfastError } from '../src/errors.ts';
import { open } from '../src/holdfast.ts';
import { mysqlTarget } from '../src/target/mysql/target.ts';
import { postgresTarget } from '../src/target/postgres/target.ts';
import type { Holdfast, Receipt } from '../src/types.ts';
import { temporaryFolder } from '../test/support/journals.ts';
import { type DatabaseServer, type Engine, targetUrl } from '../test/support/pairs.ts';
import { type FaultProxy, startProxy } from '../test/support/proxy.ts';
import { streamWhere } from '../test/support/waits.ts';
import type { Scenario, SentRow } from './commit-scenarios.ts';
import { checkBooks, checkTable, Violation } from './oracle.ts';

export type RowEndName = 'merged' | 'duplicate' | 'deadLetter';

/** Once a fault is gone, all is settled within this; far longer than it takes. */
const settleMsMax = 60_000;

/** So that what hangs is noticed soon. */
const deadlines = { answerMsMax: 3_000, lockMsMax: 1_000, resolveLockMsMax: 200 } as const;

const targets = {
  PostgreSQL: (url: string) => postgresTarget(url, { clock: systemClock, ...deadlines }),
  MariaDB: (url: string) => mysqlTarget(url, { clock: systemClock, ...deadlines }),
} as const;

const protocols = { PostgreSQL: 'postgres', MariaDB: 'mysql' } as const;

const createTable = (table: string, hasKey: boolean): string =>
  `CREATE TABLE ${table} (id bigint NOT NULL ${hasKey ? 'PRIMARY KEY' : ''},
     note varchar(20) NOT NULL CHECK (note <> 'bad'))`;

let made = 0;

/** Where a world's table stands, and who may take over. */
export interface Ground {
  readonly engine: Engine;
  readonly primary: DatabaseServer;
  readonly standby?: DatabaseServer;
}

export class World {
  readonly scenario: Scenario;
  readonly proxy: FaultProxy;
  readonly #name: string;
  readonly #folder: ReturnType<typeof temporaryFolder>;
  readonly #holdfast: Holdfast;
  readonly #sent: SentRow[] = [];
  readonly #receipts: Receipt[] = [];

  private constructor(of: {
    readonly scenario: Scenario;
    readonly name: string;
    readonly proxy: FaultProxy;
    readonly folder: ReturnType<typeof temporaryFolder>;
    readonly holdfast: Holdfast;
  }) {
    this.scenario = of.scenario;
    this.proxy = of.proxy;
    this.#name = of.name;
    this.#folder = of.folder;
    this.#holdfast = of.holdfast;
  }

  /** With a first row settled: its session is there, and its lanes are not at their beginning. */
  static async open(scenario: Scenario, { engine, primary, standby }: Ground): Promise<World> {
    made++;
    const name = `world_${made}`;
    const { hasKey, before } = scenario;
    const rows = before.map(({ id, note }) => `(${id}, '${note}')`).join();
    const insert = rows === '' ? '' : `INSERT INTO ${name} VALUES ${rows};`;
    await primary.sql(`${createTable(name, hasKey)}; ${insert}`);
    const proxy = await startProxy(primary.port, protocols[engine]);
    const ports = [proxy.port, ...(standby ? [standby.port] : [])];
    const target = targetUrl(engine, ports);
    const folder = temporaryFolder();
    const key = hasKey ? { key: ['id'] } : {};
    const options = {
      journal: folder.path,
      target,
      streams: { [name]: { table: name, ...key, ...scenario.stream } },
      limits: { segmentBytes: 64 * 1024 },
    };
    const seams = { disk: systemDisk, clock: systemClock, target: targets[engine](target) };
    const holdfast = await open(options, seams);
    const world = new World({ scenario, name, proxy, folder, holdfast });
    await streamWhere(holdfast, name, ({ state }) => state === 'running');
    await world.write([{ id: 1, note: 'first', end: 'merged' }]);
    await world.settle();
    return world;
  }

  async write(rows: readonly SentRow[]): Promise<void> {
    this.#sent.push(...rows);
    const lines = rows.map(({ id, note }) => JSON.stringify({ id: id ?? 'none', note }));
    const options = { format: 'ndjson', invalid: 'dead-letter' } as const;
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    this.#receipts.push(await this.#holdfast.writeBytes(this.#name, bytes, options));
  }

  /** Resolves when all that was written has its end. */
  async settle(): Promise<void> {
    const enough = new AbortController();
    const late = systemClock.sleep(settleMsMax, enough.signal).then(async () => {
      if (enough.signal.aborted) return;
      const { streams } = await this.#holdfast.status();
      const { state, reason, watermarks } = streams[this.#name] ?? {};
      const where = JSON.stringify({ state, reason, watermarks });
      throw new Violation('lost', `a batch is never settled: ${where}`);
    });
    const all = Promise.all(this.#receipts.map(({ settled }) => settled));
    await Promise.race([all, late]);
    enough.abort();
  }

  /** Each row is there once, and no other; how many of them were merged. */
  async checkRows(server: DatabaseServer): Promise<number> {
    const table = this.#name;
    const rows = await server.sql(`SELECT id, note FROM ${table}`);
    const found = rows.map(({ id, note }) => ({ id: Number(id), note }));
    const merged = this.#sent.flatMap(({ id, note, end }) =>
      end === 'merged' && id !== null ? [{ id, note }] : [],
    );
    const there = [...this.scenario.before, ...merged];
    checkTable({ table, found, sent: there, acknowledged: there });
    return merged.length;
  }

  /**
   * The same, where a server that lacks commits took over: what was called settled on the one
   * before is missing until it comes back from the journal. At no time may anything else be there.
   */
  async checkRowsAtLast(server: DatabaseServer): Promise<void> {
    const untilMs = systemClock.monotonicMs() + settleMsMax;
    for (;;) {
      try {
        await this.checkRows(server);
        return;
      } catch (error) {
        const mayCome = error instanceof Violation && error.kind === 'lost';
        if (!mayCome || systemClock.monotonicMs() > untilMs) throw error;
      }
      await systemClock.sleep(50);
    }
  }

  /** Every row is at its end, once, wherever `server` was while it was on its way. */
  async check(server: DatabaseServer): Promise<void> {
    const stream = this.#name;
    const merged = await this.checkRows(server);
    const count = (end: RowEndName): number => this.#sent.filter((row) => row.end === end).length;
    const letters = await asked(() => this.#holdfast.deadLetters.list({ stream }));
    const notes = letters.map(({ row, raw }) => noteOf(row ?? Buffer.from(raw).toString()));
    const kept = this.#sent.filter(({ end }) => end === 'deadLetter').map(({ note }) => note);
    assert.deepEqual(notes.toSorted(byText), kept.toSorted(byText), `dead letters of ${stream}`);
    const status = await streamWhere(this.#holdfast, stream, ({ inFlight }) => inFlight === 0);
    checkBooks(stream, status, {
      accepted: this.#sent.length,
      merged,
      duplicates: count('duplicate'),
      superseded: 0,
      deadLetters: kept.length,
      inFlight: 0,
      unaccounted: 0,
    });
    const { ok, differences } = await asked(() => this.#holdfast.verify());
    assert.deepEqual({ ok, differences }, { ok: true, differences: [] }, `verify ${stream}`);
  }

  async close(): Promise<void> {
    await this.#holdfast.close({ drainMs: 0 });
    await this.proxy.close();
    this.#folder.remove();
  }
}

/** Asks again where the target does not answer in time: the machine may be busy. */
async function asked<T>(ask: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      const isBusy = error instanceof HoldfastError && error.retryAfterSeconds !== undefined;
      if (!isBusy || tries === 5) throw error;
    }
  }
}

const noteOf = (row: string): string => String((JSON.parse(row) as { note?: unknown }).note);

const byText = (a: string, b: string): number => a.localeCompare(b);
