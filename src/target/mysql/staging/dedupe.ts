// Duplicates among the rows that wait for their merge: rows with the key and the content of another
// one of them, from the same writer: those of several are merged in the order of their times, which
// is not known here. The first of them stays; where a later row may take its place, only for those
// that no other row of the key stands before. The others are taken out and booked as duplicates, in
// the transaction that holds the claim on their lane; what they are copies of is remembered
// (target/copies.ts). Needs window functions (MariaDB 10.2, MySQL 8).
import { type Copy, isReplacing } from '../../copies.ts';
import { type Field, fieldsOfKey } from '../../staged-layout.ts';
import type { DedupeStep, StagedDuplicates, StagedStream } from '../../staging.ts';
import type { Answer, Connection, Row } from '../connection.ts';
import { integers, literal, name } from '../text.ts';
import { rememberCopies } from './copies.ts';
import { rawJson, rawType } from './raw.ts';
import { type KnownStage, mergedStage } from './table.ts';

/** A stage with what its duplicates are told by. */
interface Sought {
  readonly stream: StagedStream;
  readonly stage: KnownStage;
  readonly keys: readonly Field[];
  readonly canSkip: boolean;
}

/** Undefined where nothing can be a duplicate, or nothing told for one. */
async function seek(
  connection: Connection,
  stream: StagedStream,
  canSkip: boolean,
): Promise<Sought | undefined> {
  const stage = await mergedStage(connection, stream);
  if (!stage) return undefined;
  const { key, onConflict } = stream.rules;
  const keys = isReplacing(onConflict)
    ? fieldsOfKey(stage.layout, key)
    : stage.layout.fields.filter(({ column }) => key.includes(column.name));
  return keys.length > 0 ? { stream, stage, keys, canSkip } : undefined;
}

const keyNames = ({ keys }: Sought): string[] => keys.map((field) => `s.${name(field.name)}`);

/**
 * Values one after another, each told apart from the next and from null. NULL where together they
 * are larger than max_allowed_packet.
 */
const together = (fields: readonly string[]): string =>
  `CONCAT(${fields
    .map(
      (field) =>
        `IF(${field} IS NULL, '-', CONCAT(LENGTH(${field}), ':', CAST(${field} AS BINARY)))`,
    )
    .join()})`;

/** Records of a source that wait: all behind what is settled. */
interface Source {
  readonly source: number;
  readonly settled: number;
}

async function sources(connection: Connection, stream: string, lane?: number): Promise<Source[]> {
  const rows = await connection.query(
    `SELECT source, settled FROM holdfast_merges
     WHERE stream = ${literal(stream)} ${lane === undefined ? '' : `AND lane = ${lane}`}`,
  );
  return rows.map((row) => ({ source: Number(row['source']), settled: Number(row['settled']) }));
}

async function waitingRows(connection: Connection, stream: string, lane?: number): Promise<number> {
  const [row] = await connection.query(
    `SELECT COALESCE(SUM(row_count - duplicates - superseded - dead_letters), 0) AS \`rows\`
     FROM holdfast_ledger FORCE INDEX (holdfast_ledger_waiting)
     WHERE stream = ${literal(stream)} AND merged_at IS NULL
       ${lane === undefined ? '' : `AND lane = ${lane}`}`,
  );
  return Number(row?.['rows']);
}

/**
 * A set of columns that came since the layout was read may have fields that it does not know: its
 * rows are left alone. Where one of them may lie between equal ones, all are.
 */
const isKnown = ({ stage: { layout }, stream: { rules } }: Sought): string =>
  isReplacing(rules.onConflict)
    ? `(SELECT sets FROM holdfast_stages WHERE stream = ${literal(rules.stream)})
        = ${literal(JSON.stringify(layout.sets))}`
    : `s.holdfast_set < ${layout.sets.length}`;

/** Rows that wait and that another one of them, `copy_of`, stands for, with their keys. */
function copies(of: Sought, some: readonly Source[], where = ''): string {
  const { stage, stream } = of;
  const fields = ['holdfast_set', ...stage.layout.fields.map((field) => field.name)];
  const content = `UNHEX(SHA2(${together(fields.map((field) => `s.${name(field)}`))}, 256))`;
  const keys = keyNames(of);
  const ranges = some.map(
    ({ source, settled }) => `s.holdfast_source = ${source} AND s.holdfast_sequence > ${settled}`,
  );
  const isLoose = !isReplacing(stream.rules.onConflict);
  const rows = `SELECT s.holdfast_source AS source, s.holdfast_sequence AS sequence,
      ${keys.map((key, i) => `${key} AS k${i}`).join()}, ${content} AS content,
      ${isLoose ? '0 AS run' : `CRC32(${together(keys)}) AS of_key`}
    FROM ${name(stage.staging)} s FORCE INDEX (PRIMARY)
    WHERE (${ranges.join(' OR ')}) AND COALESCE(${keys.join()}) IS NOT NULL
      AND ${isKnown(of)} ${where}`;
  return `SELECT source, copy_of, sequence, ${keys.map((_, i) => `k${i}`).join()}
    FROM (SELECT r.*, MIN(sequence) OVER (PARTITION BY source, content, run) AS copy_of
      FROM (${isLoose ? rows : inRuns(rows)}) r) c
    WHERE copy_of < sequence AND content IS NOT NULL`;
}

/**
 * Equal rows with one `run` have no other row of their key between them: they are as far from the
 * first of their key as from the first of their equals. Of a key that several writers have, each is
 * by itself. A hash that two keys share parts no run that is one.
 */
const inRuns = (rows: string): string =>
  `SELECT k.*, IF(MIN(source) OVER (PARTITION BY of_key) < MAX(source) OVER (PARTITION BY of_key),
      sequence, ROW_NUMBER() OVER (PARTITION BY of_key ORDER BY source, sequence)
        - ROW_NUMBER() OVER (PARTITION BY source, content ORDER BY sequence)) AS run
    FROM (${rows}) k`;

const copiesTable = 'holdfast_found';
const batchesTable = 'holdfast_batches';

export async function duplicates(
  connection: Connection,
  stream: StagedStream,
  keysMax: number,
): Promise<StagedDuplicates> {
  const { stream: id } = stream.rules;
  const of = await seek(connection, stream, false);
  const rows = await waitingRows(connection, id);
  if (!of || rows === 0) return { rows, duplicates: 0, byKey: [], byTime: [], byLane: [] };
  await findCopies(connection, of);
  try {
    return { rows, ...(await readCopies(connection, of, keysMax)) };
  } finally {
    if (!connection.isClosed) {
      await connection.script(`DROP TEMPORARY TABLE ${copiesTable}, ${batchesTable}`);
    }
  }
}

/** Into temporary tables: the copies, and the batches that wait. */
async function findCopies(connection: Connection, of: Sought): Promise<void> {
  const { stream: id } = of.stream.rules;
  const keys = of.keys.map((field, i) => `k${i} ${rawType(field.column.type)} NULL`);
  const numbered = of.keys.map((_, i) => `k${i}`).join();
  await connection.script(`DROP TEMPORARY TABLE IF EXISTS ${copiesTable}, ${batchesTable};
    CREATE TEMPORARY TABLE ${copiesTable} (source INT NOT NULL, sequence BIGINT NOT NULL,
      ${keys.join()}, PRIMARY KEY (source, sequence)) ENGINE = InnoDB;
    CREATE TEMPORARY TABLE ${batchesTable} (source INT NOT NULL, last BIGINT NOT NULL,
      lane INT NOT NULL, minute BIGINT NOT NULL, \`rows\` BIGINT NOT NULL,
      PRIMARY KEY (source, last)) ENGINE = InnoDB;
    INSERT INTO ${copiesTable} SELECT source, sequence, ${numbered}
      FROM (${copies(of, await sources(connection, id))}) d;
    INSERT INTO ${batchesTable}
      SELECT m.source, l.last_sequence, l.lane, UNIX_TIMESTAMP(l.at) DIV 60,
        l.row_count - l.duplicates - l.superseded - l.dead_letters
      FROM holdfast_ledger l FORCE INDEX (holdfast_ledger_waiting)
      STRAIGHT_JOIN holdfast_merges m
        ON m.writer = l.writer AND m.stream = l.stream AND m.lane = l.lane
      WHERE l.stream = ${literal(id)} AND l.merged_at IS NULL`);
}

async function readCopies(
  connection: Connection,
  of: Sought,
  keysMax: number,
): Promise<Omit<StagedDuplicates, 'rows'>> {
  const keys = of.keys.map((_, i) => `k${i}`).join();
  // A copy belongs to the first batch that ends at it or behind it.
  const place = (column: string): string => `(SELECT b.${column} FROM ${batchesTable} b
    WHERE b.source = c.source AND b.last >= c.sequence ORDER BY b.last LIMIT 1)`;
  const counted = (column: string): string => `
    SELECT ${column} AS place, SUM(\`rows\`) AS \`rows\` FROM ${batchesTable}
      GROUP BY place ORDER BY place;
    SELECT ${place(column)} AS place, COUNT(*) AS duplicates FROM ${copiesTable} c GROUP BY place`;
  const [byKey, minutes, copiesByMinute, lanes, copiesByLane] = await connection.script(
    `SELECT ${keys}, COUNT(*) AS duplicates FROM ${copiesTable} GROUP BY ${keys}
       ORDER BY duplicates DESC, ${keys} LIMIT ${keysMax};
     ${counted('minute')}; ${counted('lane')}`,
  );
  const together = (all: Answer | undefined, double: Answer | undefined) => {
    const counts = new Map(
      (double?.rows ?? []).map((row) => [Number(row['place']), Number(row['duplicates'])]),
    );
    return (all?.rows ?? []).map((row) => {
      const at = Number(row['place']);
      return { at, rows: Number(row['rows']), duplicates: counts.get(at) ?? 0 };
    });
  };
  const byLane = together(lanes, copiesByLane);
  return {
    duplicates: byLane.reduce((sum, lane) => sum + lane.duplicates, 0),
    byKey: (byKey?.rows ?? []).map((row) => ({
      key: keyJson(of, row),
      duplicates: Number(row['duplicates']),
    })),
    byTime: together(minutes, copiesByMinute).map(({ at, ...counts }) => {
      return { at: at * 60_000, ...counts };
    }),
    byLane: byLane.map(({ at: lane, ...counts }) => ({ lane, ...counts })),
  };
}

function keyJson({ keys }: Sought, row: Row): string {
  const parts = keys.flatMap(({ column }, i) => {
    const value = row[`k${i}`];
    const text = value === null ? 'null' : rawJson(column.type, value);
    return `${JSON.stringify(column.name)}:${text}`;
  });
  return `{${parts.join(',')}}`;
}

/**
 * One lane number, all writers. Equal rows have equal keys, so a large lane is cut by a hash of the
 * key: each step looks at about `rowsMax` rows, and none at only one of two equal ones.
 */
export async function dedupe(
  connection: Connection,
  stream: StagedStream,
  {
    lane,
    rowsMax,
    canSkip,
  }: { readonly lane: number; readonly rowsMax: number; readonly canSkip: boolean },
): Promise<DedupeStep | undefined> {
  const of = await seek(connection, stream, canSkip);
  if (!of) return { rows: 0, collapsed: 0, isWhole: true };
  const rows = await waitingRows(connection, stream.rules.stream, lane);
  const steps = Math.max(1, Math.ceil(rows / rowsMax));
  let collapsed = 0;
  for (let step = 0; step < steps; step++) {
    const more = await collapse(connection, of, { lane, step, steps });
    if (more === undefined) return step === 0 ? undefined : { rows, collapsed, isWhole: false };
    collapsed += more;
  }
  return { rows, collapsed, isWhole: true };
}

/** How many were taken out; undefined where a merger has the lane. */
function collapse(
  connection: Connection,
  of: Sought,
  { lane, step, steps }: { readonly lane: number; readonly step: number; readonly steps: number },
): Promise<number | undefined> {
  const { stream } = of.stream.rules;
  return connection.transaction(async () => {
    const [, claimed] = await connection.script(`START TRANSACTION;
      SELECT lane FROM holdfast_claims WHERE stream = ${literal(stream)} AND lane = ${lane}
        FOR UPDATE ${of.canSkip ? 'SKIP LOCKED' : ''}`);
    if (claimed?.rows.length === 0) {
      await connection.commit();
      return undefined;
    }
    const own = await sources(connection, stream, lane);
    const hash = `AND CRC32(${together(keyNames(of))}) % ${steps} = ${step}`;
    const gone = (await connection.query(copies(of, own, hash))).map((row) => ({
      source: Number(row['source']),
      copyOf: Number(row['copy_of']),
      sequence: Number(row['sequence']),
    }));
    await takeOut(connection, of, gone);
    await rememberCopies(connection, stream, { lane, copies: gone });
    await connection.commit();
    return gone.length;
  });
}

/** Rows of one DELETE. */
const rowsPerDelete = 1_000;

async function takeOut(
  connection: Connection,
  { stage }: Sought,
  copies: readonly Copy[],
): Promise<void> {
  for (const [source, own] of Map.groupBy(copies, (copy) => copy.source)) {
    const sequences = own.map(({ sequence }) => sequence).sort((a, b) => a - b);
    for (let at = 0; at < sequences.length; at += rowsPerDelete) {
      await connection.script(
        `DELETE FROM ${name(stage.staging)} WHERE holdfast_source = ${source}
           AND holdfast_sequence IN ${integers(sequences.slice(at, at + rowsPerDelete))}`,
      );
    }
  }
}
