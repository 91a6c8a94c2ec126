// What the table holds under the keys of a batch's rows: for verify. Writes nothing but temporary
// tables.
import type { Batch } from '../../merge/batch.ts';
import { verdict } from '../target.ts';
import type { Connection } from './connection.ts';
import { opening } from './merge.ts';
import { judgeAll } from './place-sql.ts';
import { Savepoint } from './savepoint.ts';
import { bring, convert } from './temporary.ts';

/** Per row of the batch a `verdict`. Rows that do not provide the key are `absent`. */
export async function compare(connection: Connection, batch: Batch): Promise<Uint8Array> {
  return connection.transaction(async () => {
    const brought = await bring(connection, batch, opening({ ...batch, slices: [] }));
    const verdicts = new Uint8Array(batch.count);
    const tell = (seq: number, told: number): void => {
      verdicts[brought.bySequence[seq] ?? 0] = told;
    };
    // What the column cannot hold is not what it holds.
    const refused = (seq: number): void => tell(seq, verdict.different);
    await convert(connection, brought, { savepoint: new Savepoint(connection), refused });
    for (const part of brought.parts) {
      if (part.key.length === 0) {
        for (const seq of part.seqs) tell(seq, verdict.absent);
        continue;
      }
      for (const row of await connection.query(judgeAll(batch.table.name, part))) {
        const isAbsent = row['verdict'] === 'absent';
        tell(Number(row['seq']), isAbsent ? verdict.absent : verdict.different);
      }
    }
    await connection.commit();
    return verdicts;
  });
}
