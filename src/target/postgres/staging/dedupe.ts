// Duplicates among the rows that wait for their merge: rows with the key and the content of another
// one of them. Which one stays is what a merge would have decided: the first of a key's equal rows,
// or under `update` the last. The others are taken out and booked as duplicates, in the transaction
// that holds the claim on their lane.

import { rowEnd } from '../../../merge/batch.ts';
import { decodeEnds, booked as endsOf } from '../../../merge/ledger.ts';
import type { Field, Layout } from '../../staged-layout.ts';
import type { DedupeStep, StagedDuplicates, StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection } from '../connection.ts';
import { begin } from '../lanes.ts';
import { byIndexOnly } from '../temporary.ts';
import { literal, name } from '../text.ts';
import { type KnownStage, readStage } from './table.ts';

const keyNames = (layout: Layout, { rules }: StagedStream): string[] =>
  layout.fields
    .filter((field: Field) => rules.key.includes(field.column.name))
    .map((field) => name(field.name));

/** Rows that wait, each with its ledger row; `where` narrows them. */
const waitingRows = (stage: KnownStage, stream: StagedStream, where: string): string =>
  `SELECT s.*, l.at FROM holdfast_ledger l
   JOIN holdfast_merges m ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
   JOIN ${name(stage.staging)} s ON s.holdfast_source = m.source
     AND s.holdfast_sequence BETWEEN l.first_sequence AND l.last_sequence
   WHERE l.stream = ${literal(stream.rules.stream)} AND l.merged_at IS NULL ${where}`;

/** The rows with `copy`: 0 for the one of its equals that stays, 1, 2 … for the others. */
function copies(stage: KnownStage, stream: StagedStream, rows: string): string {
  const fields = stage.layout.fields.map(({ name: field, column: { type } }) =>
    // 1.0 is not 1.00 here, nor 0 -0, as a merge compares them (P7).
    type.kind === 'numeric' || type.kind === 'float' ? `${name(field)}::text` : name(field),
  );
  const keys = keyNames(stage.layout, stream);
  const direction = stream.rules.onConflict === 'update' ? 'DESC' : 'ASC';
  return `SELECT *, row_number() OVER (
      PARTITION BY ${[...keys, 'holdfast_set', ...fields].join(', ')}
      ORDER BY holdfast_source ${direction}, holdfast_sequence ${direction}) - 1 AS copy
    FROM (${rows}) w WHERE num_nulls(${keys.join(', ')}) < ${keys.length}`;
}

const nothing: StagedDuplicates = { rows: 0, duplicates: 0, byKey: [], byTime: [] };

export async function duplicates(
  connection: Connection,
  stream: StagedStream,
  keysMax: number,
): Promise<StagedDuplicates> {
  const stage = await readStage(connection, stream.rules.stream);
  const [waiting] = await connection.query(
    `SELECT coalesce(sum(row_count - duplicates - dead_letters), 0) AS rows FROM holdfast_ledger
     WHERE stream = $1 AND merged_at IS NULL`,
    [stream.rules.stream],
  );
  const rows = Number(waiting?.['rows']);
  const keys = stage ? keyNames(stage.layout, stream) : [];
  if (!stage || rows === 0 || keys.length === 0) return { ...nothing, rows };
  const found = copies(stage, stream, waitingRows(stage, stream, ''));
  const pairs = stage.layout.fields
    .filter((field) => stream.rules.key.includes(field.column.name))
    .map((field) => `${literal(field.column.name)}, ${name(field.name)}`);
  return connection.transaction(async () => {
    await connection.script(`${begin};
      CREATE TEMP TABLE holdfast_copies ON COMMIT DROP AS
        SELECT ${keys.join(', ')}, copy, date_trunc('minute', at) AS minute FROM (${found}) c`);
    const byKey = await connection.query(
      `SELECT json_build_object(${pairs.join(', ')})::text AS key, count(*) AS duplicates
       FROM holdfast_copies WHERE copy > 0 GROUP BY ${keys.join(', ')}
       ORDER BY 2 DESC, 1 LIMIT $1`,
      [keysMax],
    );
    const byTime = await connection.query(
      `SELECT extract(epoch FROM minute)::float8 * 1000 AS at, count(*) AS rows,
         count(*) FILTER (WHERE copy > 0) AS duplicates
       FROM holdfast_copies GROUP BY minute ORDER BY minute`,
    );
    await connection.commit();
    const minutes = byTime.map((row) => ({
      at: Number(row['at']),
      rows: Number(row['rows']),
      duplicates: Number(row['duplicates']),
    }));
    return {
      rows,
      duplicates: minutes.reduce((sum, minute) => sum + minute.duplicates, 0),
      byKey: byKey.map((row) => ({
        key: String(row['key']),
        duplicates: Number(row['duplicates']),
      })),
      byTime: minutes,
    };
  });
}

/**
 * One lane number, all writers. Equal rows have equal keys, so a large lane is cut by a hash of the
 * key: each step looks at about `rowsMax` rows, and none at only one of two equal ones.
 */
export async function dedupe(
  connection: Connection,
  stream: StagedStream,
  { lane, rowsMax }: { readonly lane: number; readonly rowsMax: number },
): Promise<DedupeStep | undefined> {
  const { stream: id } = stream.rules;
  const stage = await readStage(connection, id);
  const keys = stage ? keyNames(stage.layout, stream) : [];
  if (!stage || keys.length === 0) return { rows: 0, duplicates: 0, collapsed: 0 };
  const [waiting] = await connection.query(
    `SELECT coalesce(sum(row_count - duplicates - dead_letters), 0) AS rows FROM holdfast_ledger
     WHERE stream = $1 AND lane = $2 AND merged_at IS NULL`,
    [id, lane],
  );
  const rows = Number(waiting?.['rows']);
  const steps = Math.max(1, Math.ceil(rows / rowsMax));
  let collapsed = 0;
  for (let step = 0; step < steps; step++) {
    const more = await collapse(connection, stream, { stage, lane, keys, step, steps });
    if (more === undefined)
      return collapsed === 0 ? undefined : { rows, duplicates: collapsed, collapsed };
    collapsed += more;
  }
  return { rows, duplicates: collapsed, collapsed };
}

interface Step {
  readonly stage: KnownStage;
  readonly lane: number;
  readonly keys: readonly string[];
  readonly step: number;
  readonly steps: number;
}

/** How many were taken out; undefined where a merger has the lane. */
function collapse(
  connection: Connection,
  stream: StagedStream,
  { stage, lane, keys, step, steps }: Step,
): Promise<number | undefined> {
  return connection.transaction(async () => {
    const id = literal(stream.rules.stream);
    const claimed = await connection.script(`${begin};
      ${byIndexOnly};
      SELECT lane FROM holdfast_claims WHERE stream = ${id} AND lane = ${lane}
      FOR UPDATE SKIP LOCKED`);
    if (claimed.at(-1)?.rows.length === 0) {
      await connection.commit();
      return undefined;
    }
    const hash = `(hashtextextended(ROW(${keys.join(', ')})::text, 0) & 1073741823) % ${steps}`;
    const mine = `AND l.lane = ${lane}`;
    const rows = `SELECT * FROM (${waitingRows(stage, stream, mine)}) a WHERE ${hash} = ${step}`;
    const gone = await connection.query(
      `DELETE FROM ${name(stage.staging)} s
       USING (SELECT holdfast_source, holdfast_sequence
         FROM (${copies(stage, stream, rows)}) c WHERE copy > 0) d
       WHERE s.holdfast_source = d.holdfast_source AND s.holdfast_sequence = d.holdfast_sequence
       RETURNING s.holdfast_source AS source, s.holdfast_sequence AS sequence`,
    );
    await bookDuplicates(connection, stream.rules.stream, { lane, gone });
    await connection.commit();
    return gone.length;
  });
}

async function bookDuplicates(
  connection: Connection,
  stream: string,
  {
    lane,
    gone,
  }: { readonly lane: number; readonly gone: readonly { [column: string]: unknown }[] },
): Promise<void> {
  if (gone.length === 0) return;
  const bySource = new Map<number, number[]>();
  for (const row of gone) {
    const sequences = bySource.get(Number(row['source'])) ?? [];
    sequences.push(Number(row['sequence']));
    bySource.set(Number(row['source']), sequences);
  }
  for (const [source, sequences] of bySource) {
    const batches = await connection.query(
      `SELECT l.writer, l.first_sequence AS first, l.last_sequence AS last,
         l.row_count AS "rowCount", l.ends
       FROM holdfast_ledger l JOIN holdfast_merges m
         ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
       WHERE l.stream = $1 AND l.lane = $2 AND m.source = $3 AND l.merged_at IS NULL
       ORDER BY l.last_sequence FOR UPDATE OF l`,
      [stream, lane, source],
    );
    const own = sequences.sort((a, b) => a - b);
    let at = 0;
    for (const row of batches) {
      const [first, last] = [Number(row['first']), Number(row['last'])];
      const from = at;
      while (at < own.length && (own[at] ?? 0) <= last) at++;
      if (at > from)
        await bookBatch(connection, stream, { lane, row, first, own: own.slice(from, at) });
    }
    if (at < own.length)
      throw new TargetError('hold', '', 'Collapsed rows are in no staged batch.');
  }
}

async function bookBatch(
  connection: Connection,
  stream: string,
  of: {
    readonly lane: number;
    readonly row: { readonly [column: string]: unknown };
    readonly first: number;
    readonly own: readonly number[];
  },
): Promise<void> {
  const { lane, row, first, own } = of;
  const given = row['ends'] instanceof Uint8Array ? row['ends'] : null;
  const ends = decodeEnds({ ends: given, rowCount: Number(row['rowCount']) });
  for (const sequence of own) ends[sequence - first] = rowEnd.duplicate;
  const after = endsOf(ends);
  await connection.query(
    `UPDATE holdfast_ledger SET duplicates = $5, ends = $6
     WHERE writer = $1 AND stream = $2 AND lane = $3 AND last_sequence = $4`,
    [
      row['writer'],
      stream,
      lane,
      row['last'],
      after.duplicates,
      after.ends && Buffer.from(after.ends),
    ],
  );
}
