// The transaction of a batch: guard, rows, dead letters, ledger, watermarks, COMMIT. PROTOCOL P1,
// P5 to P8 and P10 say what it must never get wrong.
import { renderRow } from '../../accept/json-text.ts';
import { type Batch, type RowEnd, rowEnd } from '../../merge/batch.ts';
import { type MergeResult, type Rung, TargetError, verdict } from '../target.ts';
import { Refused } from './bind.ts';
import { type Letter, settle } from './books.ts';
import { codeName } from './codes.ts';
import type { Connection } from './connection.ts';
import { findOrphans } from './foreign-keys.ts';
import { type Fingerprints, guard, guardTable } from './lanes.ts';
import { makePlan } from './plan.ts';
import { BatchRows } from './rows.ts';
import { bareName } from './text.ts';

/** Rows whose end is a dead letter before the transaction begins: another try has shown it. */
type Sentences = Map<number, Refused>;

/** The transaction must be done again with one more sentence. */
class Again extends Error {}

interface Merging {
  readonly connection: Connection;
  readonly known: Fingerprints;
}

export function merge(merging: Merging, batch: Batch, rung: Rung): MergeResult {
  if (rung === 'merge') return mergeRows(merging, batch);
  merging.connection.transaction(() => {
    guard(merging.connection, batch);
    guardTable(merging.connection, merging.known, batch.table);
    rowsOf(merging.connection, batch).insertAll();
    settle(merging.connection, batch, { ends: undefined, letters: [] });
  });
  return { position: '' };
}

/** The merge rung: each row finds its own end. */
function mergeRows(merging: Merging, batch: Batch): MergeResult {
  const { connection } = merging;
  const ends = new Uint8Array(batch.count);
  const { isWhole } = withSentences((sentences) => {
    const refusals = new Map<number, Refused>();
    guard(connection, batch);
    guardTable(connection, merging.known, batch.table);
    const rows = rowsOf(connection, batch);
    for (let row = 0; row < batch.count; row++) {
      const end = endOf(connection, { rows, row, sentences });
      ends[row] = end instanceof Refused ? rowEnd.deadLetter : end;
      if (end instanceof Refused) refusals.set(row, end);
    }
    judgeOrphans(connection, batch, { rows, ends, sentences });
    settle(connection, batch, { ends, letters: lettersOf(batch, refusals) });
    return { isWhole: ends.every((end) => end === rowEnd.merged) };
  }, connection);
  return isWhole ? { position: '' } : { ends, position: '' };
}

/**
 * Runs `body` as one transaction, again while it finds rows that must be left out from its start.
 */
export function withSentences<T>(body: (sentences: Sentences) => T, connection: Connection): T {
  const sentences: Sentences = new Map();
  for (;;) {
    const before = sentences.size;
    try {
      return connection.transaction(() => body(sentences));
    } catch (error) {
      if (error instanceof Again && sentences.size > before) continue;
      if (!(error instanceof TargetError) || error.kind !== 'row') throw error;
      // Of COMMIT: a deferred foreign key, broken by a trigger or by what an update took away.
      throw new TargetError('hold', error.code, `${error.message}; no row could be found for it.`);
    }
  }
}

/** The row's end, or why it is refused. */
export function endOf(
  connection: Connection,
  { rows, row, sentences }: { rows: BatchRows; row: number; sentences: Sentences },
): RowEnd | Refused {
  const sentence = sentences.get(row);
  if (sentence) return sentence;
  try {
    return rows.place(row);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (connection.isInTransaction) return error;
    // RAISE(ROLLBACK): all rows before it are undone too.
    sentences.set(row, error);
    throw new Again();
  }
}

/** A deferred foreign key would refuse the COMMIT, and with it all rows: find whose it is (P6). */
export function judgeOrphans(
  connection: Connection,
  batch: Batch,
  { sentences, ...ended }: { rows: BatchRows; ends: Uint8Array; sentences: Sentences },
): void {
  const orphans = findOrphans(connection, batch, ended);
  for (const row of orphans) {
    const message = 'FOREIGN KEY constraint failed';
    sentences.set(row, new Refused('refused', codeName(787), message));
  }
  if (orphans.length > 0) throw new Again();
}

/** Throws 'hold' where the table cannot take the batch's column sets. */
export function rowsOf(connection: Connection, batch: Batch): BatchRows {
  const { journaled, table, rules } = batch;
  const [relation] = connection.query(
    `SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE`,
    bareName(table.name),
  );
  const isStrict = relation?.['strict'] === 1;
  const plans = batch.columnSets.map((set) => makePlan({ journaled, table, isStrict, rules }, set));
  return new BatchRows(connection, batch, plans);
}

/** Rendered as they are taken. */
function* lettersOf(batch: Batch, refusals: ReadonlyMap<number, Refused>): Generator<Letter> {
  for (const [row, refused] of refusals) yield letterOf(batch, row, refused);
}

function letterOf(batch: Batch, row: number, refused: Refused): Letter {
  const { code, sqlState, message } = refused;
  const text = rowText(batch, row);
  const lane = batch.slices[batch.sliceOf[row] ?? 0]?.lane ?? 0;
  const sequence = batch.sequences[row] ?? 0;
  return { lane, sequence, row: text, raw: Buffer.from(text), code, sqlState, message };
}

const rowText = (batch: Batch, row: number): string =>
  renderRow(batch.journaled, batch.columnSets[batch.sets[row] ?? 0] ?? [], {
    bytes: batch.bytes,
    start: batch.starts[row] ?? 0,
    end: batch.tupleEnds[row] ?? 0,
  });

/** Per row a `verdict`, from one snapshot. */
export function compare(connection: Connection, batch: Batch): Uint8Array {
  const verdicts = new Uint8Array(batch.count);
  connection.reading(() => {
    const rows = rowsOf(connection, batch);
    for (let row = 0; row < batch.count; row++) {
      const same = rows.sameAs(row);
      if (same === undefined) verdicts[row] = verdict.absent;
      else verdicts[row] = same ? verdict.equal : verdict.different;
    }
  });
  return verdicts;
}
