// P3: lost records are passed over. Whoever merges a lane has its claim, so that is locked first,
// as a merge does it; then the lane rows, as a batch does it.
import { lostRows } from '../../merge/lost.ts';
import { mustEndBefore } from '../pass-over.ts';
import type { PassOver } from '../target.ts';
import type { Connection } from './connection.ts';
import { lanes, lockLanes, ofStream } from './lanes.ts';
import { bytes, integers, literal } from './text.ts';

/** See Session.passOver. */
export async function passOver(connection: Connection, order: PassOver): Promise<void> {
  const { writer, stream, ranges } = order;
  const numbers = ranges.map(({ lane }) => lane);
  await connection.transaction(async () => {
    await connection.script(`START TRANSACTION;
      SELECT lane FROM holdfast_claims FORCE INDEX (PRIMARY)
        WHERE stream = ${literal(stream)} AND lane IN ${integers([-1, ...numbers])}
        ORDER BY lane FOR UPDATE;
      ${lockLanes(order, numbers)}`);
    mustEndBefore(order, await lanes(connection, order, numbers));
    const id = `${literal(writer)}, ${literal(stream)}`;
    const booked = ranges.flatMap(lostRows).map(({ lane, first, last, rowCount, ends }) => {
      const numbers = [lane, first, last, rowCount, 0, 0, 0, 0, 0];
      const said = ends === null ? 'NULL' : bytes(ends);
      return `(${id}, ${numbers.join()}, ${said}, 'lost', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))`;
    });
    // A lane of a staged stream has its settled end in holdfast_merges; in holdfast_lanes it only
    // must not lie beyond `staged`.
    const moves = ranges.map(({ lane, last }) => {
      const which = `${ofStream(order)} AND lane = ${lane}`;
      return `UPDATE holdfast_merges SET settled = ${last} WHERE ${which};
        UPDATE holdfast_lanes SET staged = ${last}, settled = ${last} WHERE ${which}`;
    });
    await connection.script(
      `INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count,
         merged, duplicates, superseded, dead_letters, digest, ends, route, at, merged_at)
       VALUES ${booked.join()}; ${moves.join(';')}`,
    );
    await connection.commit();
  });
}
