// What the table holds under the keys of a batch's rows: for verify. Writes nothing but temporary
// tables.
import type { Batch } from '../../merge/batch.ts';
import { verdict } from '../target.ts';
import type { Connection } from './connection.ts';
import { beginGuarded } from './lanes.ts';
import { judgeAll } from './place-sql.ts';
import { Savepoint } from './savepoint.ts';
import { Stage, type Ways } from './stage.ts';

/** Per row of the batch a `verdict`. Rows that do not provide the key are `absent`. */
export async function compare(
  connection: Connection,
  batch: Batch,
  ways: Ways,
): Promise<Uint8Array> {
  const stage = await Stage.make(connection, batch, ways);
  return connection.transaction(async () => {
    await beginGuarded(connection, { ...batch, slices: [] });
    const verdicts = new Uint8Array(batch.count).fill(verdict.absent);
    const tell = (ord: number, told: number): void => {
      verdicts[batch.order[ord] ?? 0] = told;
    };
    // What the column cannot hold is not what it holds.
    const refused = (ord: number): void => tell(ord, verdict.different);
    const parts = await stage.fill(new Savepoint(connection), refused);
    for (const part of parts) {
      if (part.key.length === 0) continue;
      for (const row of await connection.query(judgeAll(batch.table.name, part))) {
        const isEqual = row['verdict'] === 'equal';
        tell(Number(row['ord']), isEqual ? verdict.equal : verdict.different);
      }
    }
    await connection.commit();
    return verdicts;
  });
}
