// The staging table of a stream: made, grown with its layout, cut into a partition a day. Its rows
// are the journal's tuples behind fields of ours; types that no row can fail in (rawType), no
// constraint on them, and one index, by which a merge finds the records of a batch.
import type { ColumnType } from '../../../accept/columns.ts';
import { extended, type Layout } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import { begin } from '../lanes.ts';
import { rawType } from '../temporary.ts';
import { literal, name } from '../text.ts';

const markOf = (type: ColumnType): string => rawType(type, true);

const prefix = 'holdfast_stage_';
/** A name has 63 bytes, and a partition's ends in `_p20261231`. */
const streamNameMax = 63 - prefix.length - 10;

/** What the row of holdfast_stages says. */
export interface KnownStage {
  readonly staging: string;
  readonly layout: Layout;
}

/** Streams' names are ASCII. One that is too long is cut and told apart by its hash, in SQL. */
const stagingName = `CASE WHEN length($1) <= ${streamNameMax} THEN '${prefix}' || $1
  ELSE '${prefix}' || left($1, ${streamNameMax - 9}) || '_' || left(md5($1), 8) END`;

export const rulesOf = ({ rules: { key, onConflict } }: StagedStream): string =>
  JSON.stringify({ key, onConflict });

const toStage = (row: Row): KnownStage => ({
  staging: String(row['staging']),
  layout: { fields: row['fields'], sets: row['sets'] } as Layout,
});

/** The stream's staging table as it is known; undefined where it has none. */
export async function readStage(
  connection: Connection,
  stream: string,
  lock: '' | 'FOR UPDATE' = '',
): Promise<KnownStage | undefined> {
  const [row] = await connection.query(
    `SELECT staging, fields, sets FROM holdfast_stages WHERE stream = $1 ${lock}`,
    [stream],
  );
  return row && toStage(row);
}

/**
 * Makes the staging table where it is missing and lets it grow by `sets` of the table's columns.
 * Throws 'hold' where rows that were staged under other rules still wait.
 */
export async function openStage(
  connection: Connection,
  stream: StagedStream,
  rows?: Parameters<typeof extended>[1],
): Promise<KnownStage> {
  return connection.transaction(async () => {
    const id = stream.rules.stream;
    await connection.script(begin);
    await connection.query(
      `INSERT INTO holdfast_stages (stream, staging, target, rules)
       SELECT $1, ${stagingName}, $2, $3::jsonb ON CONFLICT DO NOTHING`,
      [id, stream.table.name, rulesOf(stream)],
    );
    const [row] = await connection.query(
      `SELECT staging, fields, sets, target = $2 AND rules = $3::jsonb AS "isSame"
       FROM holdfast_stages WHERE stream = $1 FOR UPDATE`,
      [id, stream.table.name, rulesOf(stream)],
    );
    if (!row) throw new TargetError('transient', '', 'The row of the staging table is gone.');
    if (row['isSame'] !== true) await takeRules(connection, stream);
    const known = toStage(row);
    const layout = rows ? extended(known.layout, rows) : known.layout;
    await makeTable(connection, { ...known, layout }, known.layout.fields.length);
    await makePartitions(connection, known.staging, stream.isLogged);
    if (layout !== known.layout) {
      await connection.query(
        'UPDATE holdfast_stages SET fields = $2::jsonb, sets = $3::jsonb WHERE stream = $1',
        [id, JSON.stringify(layout.fields), JSON.stringify(layout.sets)],
      );
    }
    await connection.commit();
    return { ...known, layout };
  });
}

/** Rows that wait were promised an end by the rules that they came under. */
async function takeRules(connection: Connection, stream: StagedStream): Promise<void> {
  const { stream: id } = stream.rules;
  const [waiting] = await connection.query(
    `SELECT 1 FROM holdfast_ledger WHERE stream = $1 AND merged_at IS NULL LIMIT 1`,
    [id],
  );
  if (waiting) throw otherRules(id);
  await connection.query(
    'UPDATE holdfast_stages SET target = $2, rules = $3::jsonb WHERE stream = $1',
    [id, stream.table.name, rulesOf(stream)],
  );
}

const otherRules = (stream: string): TargetError =>
  new TargetError(
    'hold',
    '',
    `Rows of stream ${stream} wait that were staged with another table, key or onConflict. ` +
      'Let them be merged under those first.',
  );

/** The stage, for who decides about its rows: throws 'hold' under other rules than ours. */
export async function mergedStage(
  connection: Connection,
  stream: StagedStream,
): Promise<KnownStage | undefined> {
  const [row] = await connection.query(
    `SELECT staging, fields, sets, target = $2 AND rules = $3::jsonb AS "isSame"
     FROM holdfast_stages WHERE stream = $1`,
    [stream.rules.stream, stream.table.name, rulesOf(stream)],
  );
  if (!row) return undefined;
  if (row['isSame'] !== true) throw otherRules(stream.rules.stream);
  return toStage(row);
}

const today = `(now() AT TIME ZONE 'UTC')::date`;

/** The server's, as partitions are named by it. */
export async function readDay(connection: Connection): Promise<string> {
  const [row] = await connection.query(`SELECT to_char(${today}, 'YYYYMMDD') AS day`);
  return String(row?.['day']);
}

/**
 * Only what is missing: statements with IF NOT EXISTS take their locks before they look, and would
 * wait for all who write to the table, and hold up those who come after. `fieldsThere` of the
 * layout's fields are in the table, if that is there. Eight-byte fields first: no padding between
 * them.
 */
async function makeTable(
  connection: Connection,
  { staging, layout }: KnownStage,
  fieldsThere: number,
): Promise<void> {
  const table = name(staging);
  const [found] = await connection.query('SELECT to_regclass($1) AS relation', [table]);
  const isThere = Boolean(found?.['relation']);
  const own = `CREATE TABLE ${table} (
      holdfast_sequence bigint NOT NULL,
      holdfast_source   int    NOT NULL,
      holdfast_digest   int    NOT NULL,
      holdfast_set      int    NOT NULL,
      holdfast_day      date   NOT NULL DEFAULT ${today}
    ) PARTITION BY RANGE (holdfast_day);
    CREATE UNIQUE INDEX ON ${table} (holdfast_source, holdfast_sequence, holdfast_day)`;
  const fields = layout.fields
    .slice(isThere ? fieldsThere : 0)
    .map(({ name: field, column: { type } }) => `ADD COLUMN ${name(field)} ${markOf(type)}`);
  const grow = `ALTER TABLE ${table} ${fields.join(', ')}`;
  const made = [...(isThere ? [] : [own]), ...(fields.length > 0 ? [grow] : [])];
  if (made.length > 0) await connection.script(made.join(';'));
}

/**
 * Today's and tomorrow's, by the server's clock. The row of the stage is locked. A day is made by
 * itself, then attached: PARTITION OF would wait for all who use the table.
 */
export async function makePartitions(
  connection: Connection,
  staging: string,
  isLogged: boolean,
): Promise<void> {
  const missing = await connection.query(
    `SELECT to_char(day, 'YYYYMMDD') AS suffix, day::text AS "from", (day + 1)::text AS "to"
     FROM unnest(ARRAY[${today}, ${today} + 1]) AS day
     WHERE to_regclass(quote_ident($1 || '_p' || to_char(day, 'YYYYMMDD'))) IS NULL`,
    [staging],
  );
  if (missing.length === 0) return;
  const table = name(staging);
  const kind = isLogged ? '' : 'UNLOGGED';
  const made = missing.map(({ suffix, from, to }) => {
    const day = name(`${staging}_p${String(suffix)}`);
    // Rows are copied into the day's table itself: its day is a constant there.
    return `CREATE ${kind} TABLE ${day} (LIKE ${table});
      ALTER TABLE ${day} ALTER COLUMN holdfast_day SET DEFAULT ${literal(String(from))};
      ALTER TABLE ${table} ATTACH PARTITION ${day}
        FOR VALUES FROM (${literal(String(from))}) TO (${literal(String(to))})`;
  });
  await connection.script(made.join(';'));
}
