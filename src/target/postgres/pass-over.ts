// P3: lost records are passed over. Whoever merges a lane has its claim, so that is locked first,
// as a merge does it; then the lane rows, as a batch does it.
import { lostRows } from '../../merge/lost.ts';
import { mustEndBefore } from '../pass-over.ts';
import type { PassOver } from '../target.ts';
import type { Connection } from './connection.ts';
import { begin, lanes } from './lanes.ts';
import { integers, literal } from './text.ts';

const bookSql = `
INSERT INTO holdfast_ledger (writer, stream, lane, first_sequence, last_sequence, row_count, merged,
  duplicates, superseded, dead_letters, digest, ends, route)
SELECT $1::uuid, $2, lane, first, last, last - first + 1, 0, 0, 0, 0, 0, ends, 'lost'
FROM unnest($3::int[], $4::bigint[], $5::bigint[], $6::bytea[]) AS s (lane, first, last, ends)`;

// A lane of a staged stream has its settled end in holdfast_merges; here it only must not lie
// beyond `staged`.
const moveSql = `
WITH ends AS (SELECT * FROM unnest($3::int[], $4::bigint[]) AS s (lane, last)), merges AS (
  UPDATE holdfast_merges m SET settled = e.last FROM ends e
  WHERE m.writer = $1::uuid AND m.stream = $2 AND m.lane = e.lane
)
UPDATE holdfast_lanes l SET settled = e.last, staged = e.last FROM ends e
WHERE l.writer = $1::uuid AND l.stream = $2 AND l.lane = e.lane`;

/** See Session.passOver. */
export async function passOver(connection: Connection, order: PassOver): Promise<void> {
  const { writer, stream, ranges } = order;
  const which = `stream = ${literal(stream)}
    AND lane = ANY (${integers(ranges.map(({ lane }) => lane))}::int[])`;
  await connection.transaction(async () => {
    await connection.script(`${begin};
      SELECT 1 FROM holdfast_claims WHERE ${which} ORDER BY lane FOR UPDATE;
      SELECT 1 FROM holdfast_lanes WHERE writer = ${literal(writer)} AND ${which}
        ORDER BY lane FOR UPDATE`);
    mustEndBefore(order, await lanes(connection, order));
    const rows = ranges.flatMap(lostRows);
    await connection.query(bookSql, [
      writer,
      stream,
      rows.map((row) => row.lane),
      rows.map((row) => row.first),
      rows.map((row) => row.last),
      rows.map((row) => row.ends && Buffer.from(row.ends)),
    ]);
    const ends = [ranges.map(({ lane }) => lane), ranges.map(({ last }) => last)];
    await connection.query(moveSql, [writer, stream, ...ends]);
    await connection.commit();
  });
}
