// Duplicates among the rows that wait for their merge: rows with the key and the content of another
// one of them, from the same writer: those of several are merged in the order of their times, which
// is not known here. The first of them stays; where a later row may take its place, only for those
// that no other row of the key stands before. The others are taken out and booked as duplicates, in
// the transaction that holds the claim on their lane; what they are copies of is remembered
// (target/copies.ts).

import { isReplacing } from '../../copies.ts';
import { type Field, fieldsOfKey, type Layout } from '../../staged-layout.ts';
import type { DedupeStep, StagedDuplicates, StagedStream } from '../../staging.ts';
import type { Connection, Row } from '../connection.ts';
import { begin } from '../lanes.ts';
import { byIndexOnly } from '../temporary.ts';
import { literal, name } from '../text.ts';
import { rememberCopies } from './copies.ts';
import { type KnownStage, mergedStage } from './table.ts';

/** A sort of what waits is large; the standard 4 MB would take many passes over files. */
const planning = `${byIndexOnly}; SET LOCAL work_mem = '64MB'`;

/** The fields of a copy's key; none where nothing can be told for one. */
function keyNames(layout: Layout, { rules }: StagedStream): string[] {
  const fields = isReplacing(rules.onConflict)
    ? fieldsOfKey(layout, rules.key)
    : layout.fields.filter((field: Field) => rules.key.includes(field.column.name));
  return fields.map((field) => name(field.name));
}

/**
 * A set of columns that came since the layout was read may have fields that it does not know: its
 * rows are left alone. Where one of them may lie between equal ones, all are.
 */
const isKnown = ({ layout }: KnownStage, { rules }: StagedStream): string =>
  isReplacing(rules.onConflict)
    ? `(SELECT jsonb_array_length(sets) FROM holdfast_stages
        WHERE stream = ${literal(rules.stream)}) = ${layout.sets.length}`
    : `r.holdfast_set < ${layout.sets.length}`;

/**
 * Rows that wait, each with its ledger row; `where` narrows them. OFFSET 0 holds the planner to one
 * range of the index for each batch: the other way round it would look for each row's batch.
 */
const waitingRows = (stage: KnownStage, stream: StagedStream, where: string): string =>
  `SELECT s.*, l.lane, l.at FROM holdfast_ledger l
   JOIN holdfast_merges m ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
   CROSS JOIN LATERAL (SELECT * FROM ${name(stage.staging)} r WHERE r.holdfast_source = m.source
     AND r.holdfast_sequence BETWEEN l.first_sequence AND l.last_sequence
     AND ${isKnown(stage, stream)} OFFSET 0) s
   WHERE l.stream = ${literal(stream.rules.stream)} AND l.merged_at IS NULL ${where}`;

/**
 * The rows with `copy_of`: their own sequence, or that of the one that stands for them. Where a
 * later row may take its place, that is the last one up to them that differs from the one before
 * it, among those of their key; of a key that several writers have, each row is by itself.
 */
function copies(stage: KnownStage, stream: StagedStream, rows: string): string {
  const fields = stage.layout.fields.map(({ name: field, column: { type } }) =>
    // 1.0 is not 1.00 here, nor 0 -0, as a merge compares them (P7).
    type.kind === 'numeric' || type.kind === 'float' ? `${name(field)}::text` : name(field),
  );
  const keys = keyNames(stage.layout, stream);
  const content = ['holdfast_set', ...fields].join(', ');
  const keyed = `SELECT * FROM (${rows}) w WHERE num_nulls(${keys.join(', ')}) < ${keys.length}`;
  if (!isReplacing(stream.rules.onConflict)) {
    return `SELECT *, min(holdfast_sequence) OVER (
        PARTITION BY ${[...keys, 'holdfast_source', content].join(', ')}) AS copy_of
      FROM (${keyed}) k`;
  }
  return `SELECT *, max(CASE WHEN is_other THEN holdfast_sequence END) OVER own AS copy_of
    FROM (SELECT *, ROW(${content}) IS DISTINCT FROM lag(ROW(${content})) OVER own
        OR min(holdfast_source) OVER of_key < max(holdfast_source) OVER of_key AS is_other
      FROM (${keyed}) k WINDOW ${windows(keys)}) o WINDOW ${windows(keys)}`;
}

const windows = (keys: readonly string[]): string =>
  `of_key AS (PARTITION BY ${keys.join(', ')}),
   own AS (of_key ORDER BY holdfast_source, holdfast_sequence)`;

const nothing = { duplicates: 0, byKey: [], byTime: [], byLane: [] };

export async function duplicates(
  connection: Connection,
  stream: StagedStream,
  keysMax: number,
): Promise<StagedDuplicates> {
  const stage = await mergedStage(connection, stream);
  const [waiting] = await connection.query(
    `SELECT coalesce(sum(row_count - duplicates - superseded - dead_letters), 0) AS rows
     FROM holdfast_ledger WHERE stream = $1 AND merged_at IS NULL`,
    [stream.rules.stream],
  );
  const rows = Number(waiting?.['rows']);
  const keys = stage ? keyNames(stage.layout, stream) : [];
  if (!stage || rows === 0 || keys.length === 0) return { rows, ...nothing };
  const found = copies(stage, stream, waitingRows(stage, stream, ''));
  return connection.transaction(async () => {
    await connection.script(`${begin}; ${planning};
      CREATE TEMP TABLE holdfast_found ON COMMIT DROP AS
        SELECT ${keys.join(', ')}, copy_of < holdfast_sequence AS is_copy, lane,
          date_trunc('minute', at) AS minute
        FROM (${found}) c`);
    const report = await readCopies(connection, keyPairs(stage.layout, stream), keysMax);
    await connection.commit();
    return { rows, ...report };
  });
}

const keyPairs = (layout: Layout, { rules }: StagedStream): string =>
  layout.fields
    .filter((field) => rules.key.includes(field.column.name))
    .map((field) => `${literal(field.column.name)}, ${name(field.name)}`)
    .join(', ');

async function readCopies(
  connection: Connection,
  pairs: string,
  keysMax: number,
): Promise<Omit<StagedDuplicates, 'rows'>> {
  const byKey = await connection.query(
    `SELECT json_build_object(${pairs})::text AS key, count(*) AS duplicates
     FROM holdfast_found WHERE is_copy GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $1`,
    [keysMax],
  );
  const counts = `count(*) AS rows, count(*) FILTER (WHERE is_copy) AS duplicates`;
  const byTime = await connection.query(
    `SELECT extract(epoch FROM minute)::float8 * 1000 AS at, ${counts}
     FROM holdfast_found GROUP BY minute ORDER BY minute`,
  );
  const byLane = await connection.query(
    `SELECT lane, ${counts} FROM holdfast_found GROUP BY lane ORDER BY lane`,
  );
  const countsOf = (row: Row) => ({
    rows: Number(row['rows']),
    duplicates: Number(row['duplicates']),
  });
  return {
    duplicates: byLane.reduce((sum, row) => sum + Number(row['duplicates']), 0),
    byKey: byKey.map((row) => ({
      key: String(row['key']),
      duplicates: Number(row['duplicates']),
    })),
    byTime: byTime.map((row) => ({ at: Number(row['at']), ...countsOf(row) })),
    byLane: byLane.map((row) => ({ lane: Number(row['lane']), ...countsOf(row) })),
  };
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
  const stage = await mergedStage(connection, stream);
  const keys = stage ? keyNames(stage.layout, stream) : [];
  if (!stage || keys.length === 0) return { rows: 0, collapsed: 0, isWhole: true };
  const [waiting] = await connection.query(
    `SELECT coalesce(sum(row_count - duplicates - superseded - dead_letters), 0) AS rows
     FROM holdfast_ledger WHERE stream = $1 AND lane = $2 AND merged_at IS NULL`,
    [id, lane],
  );
  const rows = Number(waiting?.['rows']);
  const steps = Math.max(1, Math.ceil(rows / rowsMax));
  let collapsed = 0;
  for (let step = 0; step < steps; step++) {
    const more = await collapse(connection, stream, { stage, lane, keys, step, steps });
    if (more === undefined) return step === 0 ? undefined : { rows, collapsed, isWhole: false };
    collapsed += more;
  }
  return { rows, collapsed, isWhole: true };
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
    const claimed = await connection.script(`${begin}; ${planning};
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
       USING (SELECT holdfast_source, holdfast_sequence, copy_of
         FROM (${copies(stage, stream, rows)}) c WHERE copy_of < holdfast_sequence) d
       WHERE s.holdfast_source = d.holdfast_source AND s.holdfast_sequence = d.holdfast_sequence
       RETURNING s.holdfast_source AS source, d.copy_of, s.holdfast_sequence AS sequence`,
    );
    const found = gone.map((row) => ({
      source: Number(row['source']),
      copyOf: Number(row['copy_of']),
      sequence: Number(row['sequence']),
    }));
    if (found.length > 0) {
      await rememberCopies(connection, stream.rules.stream, { lane, copies: found });
    }
    await connection.commit();
    return found.length;
  });
}
