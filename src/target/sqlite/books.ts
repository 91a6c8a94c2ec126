// What a batch leaves beside its rows: ledger rows, dead letters, and the lanes' new totals; and
// the reading and pruning of the ledger.

import assert from 'node:assert/strict';
import type { Batch, RowEnd } from '../../merge/batch.ts';
import { type EndCounts, type LedgerRow, ledgerRows, noCounts } from '../../merge/ledger.ts';
import { lostRows } from '../../merge/lost.ts';
import { mustEndBefore } from '../pass-over.ts';
import { toLedgerRow } from '../rows.ts';
import type { PassOver, StreamId } from '../target.ts';
import type { Connection } from './connection.ts';
import { lanes } from './lanes.ts';

/** A dead letter to be written. */
export interface Letter {
  readonly lane: number;
  readonly sequence: number;
  /** The row as JSON; null where it never decoded. */
  readonly row: string | null;
  /** The bytes as given, or those of the JSON. */
  readonly raw: Uint8Array;
  readonly code: string;
  readonly sqlState: string | null;
  readonly message: string;
}

const bookSql = `INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence,
    row_count, merged, duplicates, superseded, dead_letters, digest, ends, route, at)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

const settleSql = `UPDATE holdfast_lanes SET settled = ?4, staged = max(staged, ?4),
    merged = merged + ?5, duplicates = duplicates + ?6, superseded = superseded + ?7,
    dead_letters = dead_letters + ?8
  WHERE writer = ?1 AND stream = ?2 AND lane = ?3`;

const letterSql = `INSERT INTO holdfast_dead_letters (writer, stream, lane, sequence, row_json, raw,
    code, sqlstate, message, first_at, last_at)
  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)`;

/** Books the batch, in the transaction that wrote its rows. `ends` absent: every row was merged. */
export function settle(
  connection: Connection,
  batch: Batch,
  ended: { readonly ends: Uint8Array | undefined; readonly letters: Iterable<Letter> },
): void {
  const id = [batch.writer, batch.rules.stream] as const;
  const keep = ({ lane, sequence, row, raw, code, sqlState, message }: Letter): void => {
    const what = [row, raw, code, sqlState, message];
    connection.write(letterSql, ...id, lane, sequence, ...what, batch.wallMs);
  };
  for (const letter of ended.letters) keep(letter);
  for (const { slice, ...record } of batch.undecoded) {
    keep({ ...record, lane: batch.slices[slice]?.lane ?? 0, row: null, sqlState: null });
  }
  for (const row of ledgerRows(batch, ended.ends)) {
    book(connection, id, { row, route: 'direct', at: batch.wallMs });
    const moved = connection.write(settleSql, ...id, row.lane, row.last, ...countsOf(row));
    assert.equal(moved, 1, 'the guard has seen the lane’s row');
  }
}

const countsOf = ({ merged, duplicates, superseded, deadLetters }: EndCounts) =>
  [merged, duplicates, superseded, deadLetters] as const;

function book(
  connection: Connection,
  id: readonly [writer: string, stream: string],
  of: { readonly row: LedgerRow; readonly route: 'direct' | 'lost'; readonly at: number },
): void {
  const { row, route, at } = of;
  const range = [row.lane, row.first, row.last, row.rowCount];
  const what = [row.digest, row.ends, route, at];
  connection.write(bookSql, ...id, ...range, ...countsOf(row), ...what);
}

/** See Session.passOver. */
export function passOver(connection: Connection, order: PassOver, wallMs: number): void {
  const id = [order.writer, order.stream] as const;
  connection.transaction(() => {
    mustEndBefore(order, lanes(connection, order));
    for (const range of order.ranges) {
      for (const row of lostRows(range)) book(connection, id, { row, route: 'lost', at: wallMs });
      const none = countsOf(noCounts);
      const moved = connection.write(settleSql, ...id, range.lane, range.last, ...none);
      assert.equal(moved, 1, 'the guard has seen the lane’s row');
    }
  });
}

const ledgerColumns = `lane, first_sequence AS first, last_sequence AS last,
  row_count AS "rowCount", merged, duplicates, superseded, dead_letters AS "deadLetters", digest,
  ends`;

/** Ledger rows that overlap [first, last] of the lane, ascending. */
export function ledger(
  connection: Connection,
  { writer, stream }: StreamId,
  range: { readonly lane: number; readonly first: number; readonly last: number },
): LedgerRow[] {
  const rows = connection.query(
    `SELECT ${ledgerColumns} FROM holdfast_ledger WHERE writer = ? AND stream = ? AND lane = ?
       AND last_sequence >= ? AND first_sequence <= ? ORDER BY last_sequence`,
    writer,
    stream,
    range.lane,
    range.first,
    range.last,
  );
  return rows.map(toLedgerRow);
}

export function prune(
  connection: Connection,
  { writer, stream }: StreamId,
  upTo: readonly { readonly lane: number; readonly last: number }[],
): number {
  const sql = `DELETE FROM holdfast_ledger
    WHERE writer = ? AND stream = ? AND lane = ? AND last_sequence <= ? AND route <> 'lost'`;
  return connection.transaction(() =>
    upTo.reduce(
      (gone, { lane, last }) => gone + connection.write(sql, writer, stream, lane, last),
      0,
    ),
  );
}

/** Moves one record's end from dead letter to `end`, in its lane's totals (replay). */
export function moveTotals(
  connection: Connection,
  of: StreamId & { readonly lane: number },
  end: RowEnd,
): void {
  const column = ['merged', 'duplicates', 'superseded'][end];
  assert(column, 'a replayed record has left the dead letters');
  connection.write(
    `UPDATE holdfast_lanes SET dead_letters = dead_letters - 1, ${column} = ${column} + 1
     WHERE writer = ? AND stream = ? AND lane = ?`,
    of.writer,
    of.stream,
    of.lane,
  );
}

/** Writes a ledger row anew after `withEnd`. */
export function correct(
  connection: Connection,
  { writer, stream }: StreamId,
  row: LedgerRow,
): void {
  connection.write(
    `UPDATE holdfast_ledger SET merged = ?, duplicates = ?, superseded = ?, dead_letters = ?,
       ends = ? WHERE writer = ? AND stream = ? AND lane = ? AND last_sequence = ?`,
    row.merged,
    row.duplicates,
    row.superseded,
    row.deadLetters,
    row.ends,
    writer,
    stream,
    row.lane,
    row.last,
  );
}
