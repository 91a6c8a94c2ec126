// The staged route on one connection of PostgreSQL.
import type { Batch } from '../../../merge/batch.ts';
import type { LedgerRow } from '../../../merge/ledger.ts';
import { toLedgerRow } from '../../rows.ts';
import type * as seam from '../../staging.ts';
import { type StreamId, TargetError } from '../../target.ts';
import { ledgerColumns } from '../books.ts';
import type { Connection } from '../connection.ts';
import { begin } from '../lanes.ts';
import { archivePage } from './archive.ts';
import { dedupe, duplicates } from './dedupe.ts';
import { mergeTurn } from './merge.ts';
import { days, dropPartition, partitions } from './partitions.ts';
import { readSources, type StageKnown, stage } from './stage.ts';
import { makePartitions, openStage, readDay, readStage } from './table.ts';

export interface StagingOptions {
  readonly positions: boolean;
  readonly encoding: string;
}

export class PostgresStaging implements seam.Staging {
  readonly #connection: Connection;
  readonly #options: StagingOptions;
  /** By writer and stream. */
  readonly #known = new Map<string, StageKnown>();

  constructor(connection: Connection, options: StagingOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async open(stream: seam.StagedStream): Promise<void> {
    this.#mustBeUtf8();
    await openStage(this.#connection, stream);
  }

  async stage(batch: Batch, stream: seam.StagedStream) {
    this.#mustBeUtf8();
    const known = await this.#knownStage(batch, stream);
    return stage(this.#connection, batch, { known, stream, ...this.#options });
  }

  async #knownStage(batch: Batch, stream: seam.StagedStream): Promise<StageKnown> {
    const { writer, epoch, rules } = batch;
    const name = JSON.stringify([writer, rules.stream]);
    const before = this.#known.get(name);
    if (before?.epoch === epoch) return before;
    const sources = await readSources(this.#connection, writer, rules.stream);
    const stage = await openStage(this.#connection, stream);
    const known = { stage, day: await readDay(this.#connection), epoch, sources };
    this.#known.set(name, known);
    return known;
  }

  /** Texts stand as text in the staging table. */
  #mustBeUtf8(): void {
    if (this.#options.encoding === 'UTF8') return;
    const { encoding } = this.#options;
    const message = `The staged route needs a database in UTF8; this one is in ${encoding}.`;
    throw new TargetError('hold', '', message);
  }

  merge(turn: seam.MergeTurn): Promise<seam.MergedTurn | undefined> {
    return mergeTurn(this.#connection, turn, this.#options.positions);
  }

  async mergedAfter({ writer, stream }: StreamId, after: readonly number[]): Promise<LedgerRow[]> {
    const rows = await this.#connection.query(
      `SELECT ${ledgerColumns} FROM unnest($3::int[], $4::bigint[]) AS a (of_lane, after)
       JOIN holdfast_ledger ON writer = $1 AND stream = $2 AND lane = of_lane
         AND last_sequence > after AND merged_at IS NOT NULL
       ORDER BY lane, last_sequence`,
      [writer, stream, after.map((_, lane) => lane), after],
    );
    return rows.map(toLedgerRow);
  }

  async waiting(stream: string): Promise<seam.Waiting> {
    const [row] = await this.#connection.query(
      `SELECT coalesce(sum(row_count), 0) AS records,
         extract(epoch FROM min(at))::float8 * 1000 AS "oldestAt"
       FROM holdfast_ledger WHERE stream = $1 AND merged_at IS NULL`,
      [stream],
    );
    const oldestAt = row?.['oldestAt'];
    return {
      records: Number(row?.['records']),
      oldestAt: typeof oldestAt === 'number' ? Math.floor(oldestAt) : undefined,
    };
  }

  async confirm(
    { writer, stream }: StreamId,
    lanes: readonly { lane: number; last: number }[],
  ): Promise<void> {
    // In order, as a batch's guard locks them.
    await this.#connection.query(
      `WITH held AS (
         SELECT lane FROM holdfast_lanes WHERE writer = $1 AND stream = $2 ORDER BY lane FOR UPDATE
       )
       UPDATE holdfast_lanes l SET confirmed = c.last
       FROM unnest($3::int[], $4::bigint[]) AS c (lane, last), held h
       WHERE l.writer = $1 AND l.stream = $2 AND l.lane = c.lane AND h.lane = l.lane
         AND l.confirmed <> c.last`,
      [writer, stream, lanes.map(({ lane }) => lane), lanes.map(({ last }) => last)],
    );
  }

  async days(stream: string): Promise<seam.StagingDay[]> {
    const known = await readStage(this.#connection, stream);
    return known ? days(this.#connection, known.staging) : [];
  }

  async partitions(stream: string): Promise<seam.StagingPartition[]> {
    const known = await readStage(this.#connection, stream);
    return known ? partitions(this.#connection, known.staging) : [];
  }

  async createAhead({ rules, isLogged }: seam.StagedStream): Promise<void> {
    await this.#connection.transaction(async () => {
      await this.#connection.script(begin);
      const known = await readStage(this.#connection, rules.stream, 'FOR UPDATE');
      if (known) await makePartitions(this.#connection, known.staging, isLogged);
      await this.#connection.commit();
    });
  }

  async dropPartition(stream: string, name: string, rows?: number): Promise<boolean> {
    const known = await readStage(this.#connection, stream);
    if (!known) return false;
    return dropPartition(this.#connection, known.staging, { name, rows });
  }

  async archivePage(
    stream: string,
    name: string,
    page: { readonly from: string; readonly rowsMax: number },
  ): Promise<seam.ArchivePage> {
    const known = await readStage(this.#connection, stream);
    if (!known) return { lines: [], next: undefined };
    return archivePage(this.#connection, { layout: known.layout, name }, page);
  }

  duplicates(stream: seam.StagedStream, keysMax: number): Promise<seam.StagedDuplicates> {
    return duplicates(this.#connection, stream, keysMax);
  }

  dedupe(stream: seam.StagedStream, lane: number, rowsMax: number) {
    return dedupe(this.#connection, stream, { lane, rowsMax });
  }
}
