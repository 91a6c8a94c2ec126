// The lane rows: takeover, reading, the guard of a batch. SQLite has one lock for the whole file,
// so whoever decides anything from a lane row is in a transaction that began with the write lock.

import type { Table } from '../../accept/columns.ts';
import type { Batch } from '../../merge/batch.ts';
import { requireUnclaimed, toLane } from '../rows.ts';
import { type Claim, type LaneState, type StreamId, TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { describe } from './describe.ts';

const columns = `lane, epoch, staged, settled, merged, duplicates, superseded,
  dead_letters AS "deadLetters"`;

export function claim(
  connection: Connection,
  { writer, stream, lanes: count, owner, after }: Claim,
): { epoch: number; lanes: LaneState[] } {
  return connection.transaction(() => {
    for (let lane = 0; lane < count; lane++) {
      connection.write(
        `INSERT INTO holdfast_lanes (writer, stream, lane) VALUES (?, ?, ?)
         ON CONFLICT DO NOTHING`,
        writer,
        stream,
        lane,
      );
    }
    const known = connection.query(
      'SELECT lane, epoch, owner FROM holdfast_lanes WHERE writer = ? AND stream = ?',
      writer,
      stream,
    );
    requireUnclaimed(known, { owner, after });
    connection.write(
      `UPDATE holdfast_lanes SET owner = ?3, epoch =
         (SELECT max(max(epoch) + 1, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
          FROM holdfast_lanes WHERE writer = ?1 AND stream = ?2)
       WHERE writer = ?1 AND stream = ?2`,
      writer,
      stream,
      owner,
    );
    const claimed = lanes(connection, { writer, stream });
    return { epoch: claimed[0]?.epoch ?? 0, lanes: claimed };
  });
}

export function lanes(connection: Connection, { writer, stream }: StreamId): LaneState[] {
  const rows = connection.query(
    `SELECT ${columns} FROM holdfast_lanes WHERE writer = ? AND stream = ? ORDER BY lane`,
    writer,
    stream,
  );
  return rows.map(toLane);
}

/** The batch's lanes, read when no transaction that could still move them is left. */
export function resolve(connection: Connection, batch: Batch): LaneState[] {
  const own = new Set(batch.slices.map((slice) => slice.lane));
  const all = connection.transaction(() =>
    lanes(connection, { writer: batch.writer, stream: batch.rules.stream }),
  );
  return all.filter(({ lane }) => own.has(lane));
}

/** The tables as this connection last saw them; asked again when the schema's version has moved. */
export class Fingerprints {
  readonly #known = new Map<string, string>();
  #version: unknown;

  of(connection: Connection, table: string): string {
    const [row] = connection.query('PRAGMA schema_version');
    if (row?.['schema_version'] !== this.#version) this.#known.clear();
    this.#version = row?.['schema_version'];
    const known = this.#known.get(table) ?? describe(connection, table).fingerprint;
    this.#known.set(table, known);
    return known;
  }
}

/** First thing in a batch's transaction: throws unless the batch is exactly what comes next. */
export function guard(connection: Connection, batch: Batch): void {
  const sql = `SELECT epoch, settled FROM holdfast_lanes
    WHERE writer = ? AND stream = ? AND lane = ?`;
  for (const { lane, first } of batch.slices) {
    const [row] = connection.query(sql, batch.writer, batch.rules.stream, lane);
    const epoch = Number(row?.['epoch'] ?? 0);
    if (epoch > batch.epoch) {
      const message = `Lane ${lane} belongs to epoch ${epoch} now; this is ${batch.epoch}.`;
      throw new TargetError('fenced', '', message);
    }
    // An older epoch: the file was put back to an earlier state.
    if (epoch === batch.epoch && row?.['settled'] === first - 1) continue;
    throw new TargetError('moved', '', `Lane ${lane} is not where the batch begins.`);
  }
}

/** Second thing: throws unless the table is as the batch knows it (P5). */
export function guardTable(connection: Connection, known: Fingerprints, table: Table): void {
  if (known.of(connection, table.name) === table.fingerprint) return;
  throw new TargetError('altered', '', `Table ${table.name} is not what it was.`);
}
