// The transaction of a batch. Its first round trip locks the table's metadata and the lanes, and is
// judged before anything else is sent; its last is COMMIT alone. What it means is in PROTOCOL P1
// and P5; which rung it begins at is the ladder's affair.
import type { Batch } from '../../merge/batch.ts';
import { blameless, type MergeResult, type Rung } from '../target.ts';
import { settle } from './books.ts';
import type { Connection } from './connection.ts';
import { beginGuarded } from './lanes.ts';
import { type Placed, placeRows, undecodedLetters } from './place.ts';
import { sinkOf } from './relation.ts';
import { insertRows, loadRows } from './rows.ts';
import { Stage, type Ways } from './stage.ts';

export async function merge(
  connection: Connection,
  batch: Batch,
  { rung, ways }: { readonly rung: Rung; readonly ways: Ways },
): Promise<MergeResult> {
  try {
    const stage = rung === 'merge' ? await Stage.make(connection, batch, ways) : undefined;
    return await connection.transaction(async () => {
      await beginGuarded(connection, batch);
      const placed = stage
        ? await placeRows(connection, batch, { stage })
        : await writeStraight(connection, batch, ways);
      await settle(connection, batch, { ...placed, packetBytesMax: ways.packetBytesMax });
      await connection.commit();
      return placed.ends ? { ends: placed.ends, position: '' } : { position: '' };
    });
  } catch (error) {
    throw rung === 'merge' ? blameless(error) : error;
  }
}

async function writeStraight(connection: Connection, batch: Batch, ways: Ways): Promise<Placed> {
  const relation = await ways.relations.of(connection, batch.table);
  for (const [index, set] of batch.columnSets.entries()) {
    const rows = rowsOfSet(batch, index);
    if (rows.length === 0) continue;
    const sink = sinkOf(batch, set, relation);
    const { packetBytesMax } = ways;
    if (ways.canLoad) await loadRows(connection, batch, { sink, rows });
    else await insertRows(connection, batch, { sink, rows, packetBytesMax });
  }
  return { ends: undefined, letters: undecodedLetters(batch) };
}

/** The rows that provide exactly these columns, in the batch's order. */
const rowsOfSet = (batch: Batch, set: number): Int32Array =>
  batch.columnSets.length === 1
    ? batch.order
    : batch.order.filter((row) => batch.sets[row] === set);
