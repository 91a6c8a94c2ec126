// The staged route on one connection of MariaDB or MySQL.
import type { Batch } from '../../../merge/batch.ts';
import type { LedgerRow } from '../../../merge/ledger.ts';
import { toLedgerRow } from '../../rows.ts';
import type * as seam from '../../staging.ts';
import type { StreamId } from '../../target.ts';
import { ledgerColumns } from '../books.ts';
import type { Connection } from '../connection.ts';
import { ofStream } from '../lanes.ts';
import { literal } from '../text.ts';
import { archivePage } from './archive.ts';
import { dedupe, duplicates } from './dedupe.ts';
import { type MergeOptions, mergeTurn } from './merge.ts';
import { days, dropPartition, partitions } from './partitions.ts';
import { readSources, type StageKnown, stage } from './stage.ts';
import { makePartitions, openStage, readStage } from './table.ts';

export class MysqlStaging implements seam.Staging {
  readonly #connection: Connection;
  readonly #options: MergeOptions;
  /** By writer and stream. */
  readonly #known = new Map<string, StageKnown>();

  constructor(connection: Connection, options: MergeOptions) {
    this.#connection = connection;
    this.#options = options;
  }

  async open(stream: seam.StagedStream): Promise<void> {
    await openStage(this.#connection, stream);
  }

  async stage(batch: Batch, stream: seam.StagedStream) {
    const known = await this.#knownStage(batch, stream);
    return stage(this.#connection, batch, { known, stream, ways: this.#options.ways });
  }

  async #knownStage(batch: Batch, stream: seam.StagedStream): Promise<StageKnown> {
    const { writer, epoch, rules } = batch;
    const name = JSON.stringify([writer, rules.stream]);
    const before = this.#known.get(name);
    if (before?.epoch === epoch) return before;
    const sources = await readSources(this.#connection, writer, rules.stream);
    const known = { stage: await openStage(this.#connection, stream), epoch, sources };
    this.#known.set(name, known);
    return known;
  }

  merge(turn: seam.MergeTurn): Promise<seam.MergedTurn | undefined> {
    return mergeTurn(this.#connection, turn, this.#options);
  }

  async mergedAfter(stream: StreamId, after: readonly number[]): Promise<LedgerRow[]> {
    if (after.length === 0) return [];
    const lanes = after.map((last, lane) => `lane = ${lane} AND last_sequence > ${last}`);
    const rows = await this.#connection.query(
      `SELECT ${ledgerColumns} FROM holdfast_ledger FORCE INDEX (PRIMARY)
       WHERE ${ofStream(stream)} AND (${lanes.join(' OR ')}) AND merged_at IS NOT NULL
       ORDER BY lane, last_sequence`,
    );
    return rows.map(toLedgerRow);
  }

  async waiting(stream: string): Promise<seam.Waiting> {
    const [row] = await this.#connection.query(
      `SELECT COALESCE(SUM(row_count), 0) AS records,
         TIMESTAMPDIFF(MICROSECOND, '1970-01-01', MIN(at)) DIV 1000 AS \`oldestAt\`
       FROM holdfast_ledger FORCE INDEX (holdfast_ledger_waiting)
       WHERE stream = ${literal(stream)} AND merged_at IS NULL`,
    );
    const oldestAt = row?.['oldestAt'] ?? null;
    return {
      records: Number(row?.['records']),
      oldestAt: oldestAt === null ? undefined : Number(oldestAt),
    };
  }

  /** The rows are locked in the order of their index, as a batch's guard locks them. */
  async confirm(stream: StreamId, lanes: readonly { lane: number; last: number }[]): Promise<void> {
    if (lanes.length === 0) return;
    const lasts = lanes.map(({ lane, last }) => `WHEN ${lane} THEN ${last}`);
    const last = `CASE lane ${lasts.join(' ')} END`;
    await this.#connection.script(
      `UPDATE holdfast_lanes SET confirmed = ${last} WHERE ${ofStream(stream)}
         AND lane IN (${lanes.map(({ lane }) => lane).join()}) AND confirmed <> ${last}`,
    );
  }

  async days(stream: string): Promise<seam.StagingDay[]> {
    const known = await readStage(this.#connection, stream);
    const all = known ? await days(this.#connection, known.staging) : [];
    return all.map(({ name, day }) => ({ name, day }));
  }

  async partitions(stream: string): Promise<seam.StagingPartition[]> {
    const known = await readStage(this.#connection, stream);
    return known ? partitions(this.#connection, known.staging) : [];
  }

  async createAhead({ rules }: seam.StagedStream): Promise<void> {
    const known = await readStage(this.#connection, rules.stream);
    if (known) await makePartitions(this.#connection, rules.stream, known.staging);
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
    return archivePage(this.#connection, { stage: known, name }, page);
  }

  duplicates(stream: seam.StagedStream, keysMax: number): Promise<seam.StagedDuplicates> {
    return duplicates(this.#connection, stream, keysMax);
  }

  dedupe(stream: seam.StagedStream, lane: number, rowsMax: number) {
    const { canSkip } = this.#options;
    return dedupe(this.#connection, stream, { lane, rowsMax, canSkip });
  }
}
