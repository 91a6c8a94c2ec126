// The transaction of a batch. Its first round trip takes the table's lock and asks the guard, which
// must answer before anything else counts; its last is COMMIT alone. What it means is in PROTOCOL
// P1, P5 and P6; which rung it begins at is the ladder's affair.
import type { Table } from '../../accept/columns.ts';
import type { Batch } from '../../merge/batch.ts';
import { checkKey } from '../key.ts';
import { blameless, type MergeResult, type Rung, TargetError } from '../target.ts';
import { settle } from './books.ts';
import type { Connection } from './connection.ts';
import { plainRows } from './copy.ts';
import { begin } from './lanes.ts';
import { type Placed, placeRows, undecodedLetters } from './place.ts';
import { integers, list, literal, tableName } from './text.ts';

export interface MergeOptions {
  /** Read where the server's log stands once the batch is committed. */
  readonly positions: boolean;
  /** What the database can store as text: 'UTF8' is everything. */
  readonly encoding: string;
}

export async function merge(
  connection: Connection,
  batch: Batch,
  { rung, ...options }: MergeOptions & { readonly rung: Rung },
): Promise<MergeResult> {
  if (rung === 'optimistic' && !isCopyable(batch)) {
    throw new TargetError('row', '', 'These columns need a cast, which COPY cannot make.');
  }
  try {
    return await connection.transaction(async () => {
      const placed =
        rung === 'optimistic'
          ? await copyStraight(connection, batch, options.encoding)
          : await placeRows(connection, batch, { opening: opening(batch), ...options });
      await settle(connection, batch, placed);
      const position = await commitAt(connection, options.positions);
      return placed.ends ? { ends: placed.ends, position } : { position };
    });
  } catch (error) {
    throw rung === 'merge' ? blameless(error) : error;
  }
}

/**
 * The statements that open the transaction of a batch, ending in the guard; `of` may lack slices.
 * Throws 'hold' where its table lacks the key; that the table is still so, the guard sees to.
 */
export function opening(
  of: Pick<Batch, 'writer' | 'epoch' | 'rules' | 'slices' | 'table'>,
): string {
  checkKey(of);
  const table = tableName(of.table.name);
  const guard = [
    literal(of.writer),
    literal(of.rules.stream),
    of.epoch,
    integers(of.slices.map((slice) => slice.lane)),
    integers(of.slices.map((slice) => slice.first)),
    literal(table),
    literal(of.table.fingerprint),
  ];
  return `${begin}; SET CONSTRAINTS ALL IMMEDIATE; LOCK TABLE ONLY ${table} IN ROW EXCLUSIVE MODE;
    CALL holdfast_guard(${guard.join(', ')})`;
}

/** COMMIT, and the log's position after it; the same round trip, which must be answered whole. */
export async function commitAt(connection: Connection, positions: boolean): Promise<string> {
  if (!positions) {
    await connection.commit();
    return '';
  }
  const results = await connection.commit('SELECT pg_current_wal_insert_lsn()::text AS position');
  return String(results[1]?.rows[0]?.['position']);
}

function isCopyable(batch: Batch): boolean {
  if (batch.journaled.fingerprint !== batch.table.fingerprint) return false;
  return batch.columnSets.every((set) =>
    set.every((place) => batch.journaled.columns[place]?.type.kind !== 'cast'),
  );
}

async function copyStraight(
  connection: Connection,
  batch: Batch,
  encoding: string,
): Promise<Placed> {
  let before = `${opening(batch)};`;
  if (batch.count === 0) await connection.script(before);
  for (const [index, set] of batch.columnSets.entries()) {
    const rows = rowsOfSet(batch, index);
    if (rows.length === 0) continue;
    const stored = await connection.copyIn(
      `${before} COPY ${tableName(batch.table.name)} (${columnList(batch.journaled, set)})
       FROM STDIN (FORMAT binary)`,
      plainRows(batch, rows, connection.chunks),
    );
    before = '';
    if (stored === rows.length) continue;
    throw new TargetError('row', '', `${rows.length} rows were sent, ${stored} were stored.`);
  }
  return { ends: undefined, letters: undecodedLetters(batch, encoding) };
}

/** The rows that provide exactly these columns, in the batch's order. */
const rowsOfSet = (batch: Batch, set: number): Int32Array =>
  batch.columnSets.length === 1
    ? batch.order
    : batch.order.filter((row) => batch.sets[row] === set);

const columnList = (table: Table, set: readonly number[]): string =>
  list(set.flatMap((place) => table.columns[place]?.name ?? []));
