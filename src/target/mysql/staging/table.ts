// The staging table of a stream: made, grown with its layout, cut into a partition a day. Its rows
// are the journal's values behind fields of ours; types that no value can fail in (raw.ts), no
// constraint on them, and one index, by which a merge finds the records of a batch.
//
// DDL commits by itself here, so none of this is in a transaction. Each step may be done again, by
// anybody, from wherever a crash has left it: the table first grows, then holdfast_stages says so.
// A named lock keeps two processes from doing it at once; where it does not reach (another node of
// a cluster) the last step finds that the layout is not the one that it began with.
import { createHash } from 'node:crypto';
import { extended, type Layout } from '../../staged-layout.ts';
import type { StagedStream } from '../../staging.ts';
import { blameless, TargetError } from '../../target.ts';
import type { Connection, Row } from '../connection.ts';
import { literal, name } from '../text.ts';
import { rawType } from './raw.ts';

const prefix = 'holdfast_stage_';
const nameMax = 64;

/** What the row of holdfast_stages says. */
export interface KnownStage {
  readonly staging: string;
  readonly layout: Layout;
}

/** Told apart by a hash where the stream's name is too long, or where the server folds letters. */
function stagingName(stream: string, isFolding: boolean): string {
  const whole = prefix + stream;
  if (whole.length <= nameMax && !(isFolding && /[A-Z]/.test(stream))) return whole;
  const hash = createHash('sha256').update(stream).digest('hex').slice(0, 8);
  return `${whole.slice(0, nameMax - 9)}_${hash}`;
}

const rulesOf = ({ rules: { key, onConflict } }: StagedStream): string =>
  JSON.stringify({ key, onConflict });

const toStage = (row: Row): KnownStage => ({
  staging: String(row['staging']),
  layout: {
    fields: JSON.parse(String(row['fields'])),
    sets: JSON.parse(String(row['sets'])),
  } as Layout,
});

const stageSql = (stream: string): string =>
  `SELECT staging, target, rules, fields, sets FROM holdfast_stages
   WHERE stream = ${literal(stream)}`;

const isSame = (row: Row, stream: StagedStream): boolean =>
  row['target'] === stream.table.name && row['rules'] === rulesOf(stream);

/** The stream's staging table as it is known; undefined where it has none. */
export async function readStage(
  connection: Connection,
  stream: string,
): Promise<KnownStage | undefined> {
  const [row] = await connection.query(stageSql(stream));
  return row && toStage(row);
}

/** The stage, read in a transaction that merges: throws 'hold' under other rules than ours. */
export async function mergedStage(
  connection: Connection,
  stream: StagedStream,
): Promise<KnownStage | undefined> {
  const [row] = await connection.query(stageSql(stream.rules.stream));
  if (!row) return undefined;
  if (!isSame(row, stream)) throw otherRules(stream.rules.stream);
  return toStage(row);
}

/**
 * Holds the rules that a batch is staged under until it shows up as waiting; 'hold' under others.
 */
export async function holdRules(connection: Connection, stream: StagedStream): Promise<void> {
  const id = stream.rules.stream;
  const [row] = await connection.query(`${stageSql(id)} LOCK IN SHARE MODE`);
  if (!row || !isSame(row, stream)) throw otherRules(id);
}

/** A stream's name may have a dot, which parts nothing here. */
const ofStaging = (staging: string): string =>
  `table_schema = DATABASE() AND table_name = ${literal(staging)}`;

/** How long one process waits for another one's DDL. */
const ddlSecondsMax = 30;

/** One process at a time; names of locks are the server's, not a database's. */
async function alone<T>(
  connection: Connection,
  stream: string,
  work: () => Promise<T>,
): Promise<T> {
  const lock = `CONCAT('holdfast.', MD5(CONCAT(DATABASE(), '.', ${literal(stream)})))`;
  const [got] = await connection.query(`SELECT GET_LOCK(${lock}, ${ddlSecondsMax}) AS got`);
  if (Number(got?.['got']) !== 1) {
    throw new TargetError('transient', '', 'Somebody else is at the staging table.');
  }
  try {
    return await work();
  } catch (error) {
    // No row is to blame for what the table cannot be.
    throw blameless(error);
  } finally {
    if (!connection.isClosed) await connection.query(`SELECT RELEASE_LOCK(${lock})`);
  }
}

/**
 * Makes the staging table where it is missing and lets it grow by `rows.sets` of the table's
 * columns. Throws 'hold' where rows that were staged under other rules still wait.
 */
export function openStage(
  connection: Connection,
  stream: StagedStream,
  rows?: Parameters<typeof extended>[1],
): Promise<KnownStage> {
  const id = stream.rules.stream;
  return alone(connection, id, async () => {
    const row = await stageRow(connection, stream);
    if (!isSame(row, stream)) await takeRules(connection, stream);
    const known = toStage(row);
    const layout = rows ? extended(known.layout, rows) : known.layout;
    await makeTable(connection, { ...known, layout });
    if (layout === known.layout) return known;
    const [moved] = await connection.script(
      `UPDATE holdfast_stages SET fields = ${literal(JSON.stringify(layout.fields))},
         sets = ${literal(JSON.stringify(layout.sets))}
       WHERE stream = ${literal(id)} AND fields = ${literal(String(row['fields']))}
         AND sets = ${literal(String(row['sets']))}`,
    );
    if (moved?.affected === 1) return { ...known, layout };
    throw new TargetError('transient', '', 'Somebody else has let the staging table grow.');
  });
}

async function stageRow(connection: Connection, stream: StagedStream): Promise<Row> {
  const id = stream.rules.stream;
  const [folding] = await connection.query('SELECT @@lower_case_table_names AS folding');
  const staging = stagingName(id, Number(folding?.['folding']) !== 0);
  const values = [id, staging, stream.table.name, rulesOf(stream), '[]', '[]'].map(literal);
  const [, found] = await connection.script(
    `INSERT INTO holdfast_stages (stream, staging, target, rules, fields, sets)
       VALUES (${values.join()}) ON DUPLICATE KEY UPDATE stream = holdfast_stages.stream;
     ${stageSql(id)}`,
  );
  const [row] = found?.rows ?? [];
  if (!row) throw new TargetError('transient', '', 'The row of the staging table is gone.');
  return row;
}

/** Rows that wait were promised an end by the rules that they came under. */
async function takeRules(connection: Connection, stream: StagedStream): Promise<void> {
  const id = literal(stream.rules.stream);
  await connection.transaction(async () => {
    // Whoever stages under the rules of now is waited for, and then shows up as waiting.
    await connection.script(
      `START TRANSACTION; SELECT 1 FROM holdfast_stages WHERE stream = ${id} FOR UPDATE`,
    );
    const waiting = await connection.query(
      `SELECT 1 FROM holdfast_ledger WHERE stream = ${id} AND merged_at IS NULL LIMIT 1`,
    );
    if (waiting.length > 0) throw otherRules(stream.rules.stream);
    await connection.script(
      `UPDATE holdfast_stages SET target = ${literal(stream.table.name)},
         rules = ${literal(rulesOf(stream))} WHERE stream = ${id}`,
    );
    await connection.commit();
  });
}

const otherRules = (stream: string): TargetError =>
  new TargetError(
    'hold',
    '',
    `Rows of stream ${stream} wait that were staged with another table, key or onConflict. ` +
      'Let them be merged under those first.',
  );

/** A row's declared types have 65,535 bytes together; a text that has no room is stored apart. */
const declaredBytesMax = 48_000;

/** What the fields are in the table: the same for a layout however far it has grown since. */
function fieldTypes(layout: Layout): string[] {
  let bytes = 0;
  return layout.fields.map(({ column }) => {
    const type = rawType(column.type);
    const [, kind, length] = /^var(char|binary)\((\d+)\)/.exec(type) ?? [];
    const own = 2 + (kind === 'char' ? 4 : 1) * Number(length ?? 30);
    bytes += own;
    if (kind === undefined || bytes <= declaredBytesMax) return type;
    bytes -= own;
    return kind === 'char' ? 'longtext' : 'longblob';
  });
}

async function makeTable(connection: Connection, { staging, layout }: KnownStage): Promise<void> {
  const table = name(staging);
  const days = (await nextDays(connection)).map(partitionOf);
  await connection.script(`CREATE TABLE IF NOT EXISTS ${table} (
      holdfast_source   INT          NOT NULL,
      holdfast_sequence BIGINT       NOT NULL,
      holdfast_day      DATE         NOT NULL,
      holdfast_digest   INT UNSIGNED NOT NULL,
      holdfast_set      INT          NOT NULL,
      PRIMARY KEY (holdfast_source, holdfast_sequence, holdfast_day)
    ) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    PARTITION BY RANGE COLUMNS (holdfast_day) (${days.join()})`);
  const found = await connection.query(
    `SELECT column_name AS name, column_type AS type FROM information_schema.columns
     WHERE ${ofStaging(staging)}`,
  );
  const there = new Map(
    found.map((row) => [
      String(row['name']),
      String(row['type']).replace(/^bigint\(\d+\)/, 'bigint'),
    ]),
  );
  const types = fieldTypes(layout);
  const changes = layout.fields.flatMap((field, i) => {
    const type = types[i] ?? '';
    if (there.get(field.name) === type) return [];
    // Of another type it is what a crash has left: no layout has it, and so no row.
    const how = there.has(field.name) ? 'MODIFY' : 'ADD';
    return [`${how} COLUMN ${name(field.name)} ${type} NULL`];
  });
  if (changes.length > 0) await connection.script(`ALTER TABLE ${table} ${changes.join()}`);
  await addPartitions(connection, staging);
}

/** Today and tomorrow by the server's clock, UTC: YYYYMMDD. */
async function nextDays(connection: Connection): Promise<string[]> {
  const [row] = await connection.query(
    'SELECT UTC_DATE() + 0 AS today, (UTC_DATE() + INTERVAL 1 DAY) + 0 AS tomorrow',
  );
  return [String(row?.['today']), String(row?.['tomorrow'])];
}

/** A partition has what is below the next day and in none before it. */
function partitionOf(day: string): string {
  const date = new Date(`${day.replace(/^(....)(..)(..)$/, '$1-$2-$3')}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + 1);
  return `PARTITION p${day} VALUES LESS THAN (${literal(date.toISOString().slice(0, 10))})`;
}

export const partitionNames = (staging: string): string =>
  `SELECT partition_name AS name FROM information_schema.partitions
   WHERE ${ofStaging(staging)} AND partition_name IS NOT NULL ORDER BY partition_ordinal_position`;

async function addPartitions(connection: Connection, staging: string): Promise<void> {
  const rows = await connection.query(partitionNames(staging));
  const last = rows.reduce((newest, row) => {
    const day = String(row['name']).slice(1);
    return day > newest ? day : newest;
  }, '');
  const missing = (await nextDays(connection)).filter((day) => day > last);
  if (missing.length === 0) return;
  await connection.script(
    `ALTER TABLE ${name(staging)} ADD PARTITION (${missing.map(partitionOf).join()})`,
  );
}

export const makePartitions = (
  connection: Connection,
  stream: string,
  staging: string,
): Promise<void> => alone(connection, stream, () => addPartitions(connection, staging));
