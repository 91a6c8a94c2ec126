// Rows of a batch into a table, the stream's own or a temporary one: by LOAD DATA LOCAL INFILE
// where the server takes it, else by INSERTs of many rows, bounded by bytes. Neither has
// parameters, so the bound of 65,535 placeholders does not come in.
import type { Column } from '../../accept/columns.ts';
import { tupleBytes } from '../../accept/render.ts';
import { TextBuffer } from '../../accept/text-buffer.ts';
import { fieldBytesMax } from '../../accept/text-fields.ts';
import type { Batch } from '../../merge/batch.ts';
import { TargetError } from '../target.ts';
import type { Answer, Connection } from './connection.ts';
import { classify, errnoName } from './errnos.ts';
import { compileTuple, type Form } from './fields.ts';
import { list, name } from './text.ts';

/** Large enough that the calls for each chunk do not count. */
const chunkBytes = 128 * 1024;
/** The most that an INSERT takes: more gains nothing, and has to be copied whole. */
const insertBytesMax = 1024 * 1024;

/** Where rows go: a table, and its columns for the fields of a column set. */
export interface Sink {
  /** As SQL names it. */
  readonly table: string;
  /** Of the fields, in their order: as journaled, and as the table has them now. */
  readonly columns: readonly { readonly column: Column; readonly now: Column }[];
  /** The columns' names there, where they are others. */
  readonly names?: readonly string[];
  /** Columns in front, and per row of the batch what stands in them. */
  readonly lead: readonly { readonly name: string; readonly numbers: ArrayLike<number> }[];
  /** Names of columns that must be told that what they get is text, and in UTF-8. */
  readonly converted: ReadonlySet<string>;
}

const namesOf = (sink: Sink): readonly string[] =>
  sink.names ?? sink.columns.map(({ now }) => now.name);

/** The room that a row may need. */
function roomOf(batch: Batch, row: number, sink: Sink): number {
  const tuple = (batch.tupleEnds[row] ?? 0) - (batch.starts[row] ?? 0);
  return 2 * tuple + (sink.columns.length + sink.lead.length + 1) * fieldBytesMax;
}

/** Writes a row of the batch, without what stands around it. */
function rowWriter(batch: Batch, sink: Sink, form: Form): (out: TextBuffer, row: number) => void {
  const from = tupleBytes(batch.bytes);
  const write = compileTuple(sink.columns, form);
  const separator = form === 'load' ? 0x09 : 0x2c;
  return (out, row) => {
    for (const { numbers } of sink.lead) {
      out.whole(numbers[row] ?? 0);
      out.byte(separator);
    }
    write(out, from, batch.starts[row] ?? 0);
  };
}

/** The lines of a LOAD DATA. Each chunk is new, since the socket keeps it until written. */
function* lines(batch: Batch, sink: Sink, rows: Iterable<number>): Generator<Uint8Array> {
  const write = rowWriter(batch, sink, 'load');
  const out = new TextBuffer(chunkBytes);
  for (const row of rows) {
    const room = roomOf(batch, row, sink);
    if (out.at + room > out.bytes.length && out.at > 0)
      yield* pieces(out, Math.max(chunkBytes, room));
    else if (room > out.bytes.length) out.take(room);
    write(out, row);
    out.byte(0x0a);
  }
  yield* pieces(out, 0);
}

/** Each goes as a packet of its own, which the server bounds as well. */
function* pieces(out: TextBuffer, size: number): Generator<Uint8Array> {
  const taken = out.take(size);
  for (let at = 0; at < taken.length; at += chunkBytes) yield taken.subarray(at, at + chunkBytes);
}

/** INSERTs of the rows, each text at most `bytesMax` long unless a single row is longer. */
function* inserts(
  batch: Batch,
  sink: Sink,
  { rows, bytesMax }: { readonly rows: Iterable<number>; readonly bytesMax: number },
): Generator<string> {
  const write = rowWriter(batch, sink, 'insert');
  const names = [...sink.lead.map((lead) => lead.name), ...namesOf(sink)];
  const head = `INSERT INTO ${sink.table} (${list(names)}) VALUES `;
  const out = new TextBuffer(chunkBytes);
  const taken = (size: number): string => head + out.take(size).toString();
  for (const row of rows) {
    const room = roomOf(batch, row, sink);
    if (out.at > 0 && out.at + room > bytesMax) yield taken(Math.max(chunkBytes, room));
    out.reserve(room);
    out.byte(out.at === 0 ? 0x20 : 0x2c);
    out.byte(0x28);
    write(out, row);
    out.byte(0x29);
  }
  if (out.at > 0) yield taken(0);
}

const loadOf = (sink: Sink, file: string): string => {
  const isConverted = (place: number): boolean =>
    sink.converted.has(sink.columns[place]?.now.name ?? '');
  const names = namesOf(sink);
  const fields = names.map((column, i) => (isConverted(i) ? `@f${i}` : name(column)));
  const sets = names.flatMap((column, i) =>
    isConverted(i) ? [`${name(column)} = CONVERT(@f${i} USING utf8mb4)`] : [],
  );
  return `LOAD DATA LOCAL INFILE '${file}' INTO TABLE ${sink.table}
    CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n'
    (${[...sink.lead.map((lead) => name(lead.name)), ...fields].join()})
    ${sets.length > 0 ? `SET ${sets.join()}` : ''}`;
};

/**
 * All of the rows by one LOAD DATA. LOCAL turns errors into warnings, skips rows and cuts values:
 * so anything but one row stored for each row sent, and no warning, rejects with 'conflict' or
 * 'row'. What was stored by then stands in the open transaction.
 */
export async function loadRows(
  connection: Connection,
  batch: Batch,
  { sink, rows }: { readonly sink: Sink; readonly rows: Int32Array },
): Promise<void> {
  const { affected, warnings } = await connection.load(
    (file) => loadOf(sink, file),
    lines(batch, sink, rows),
  );
  if (affected === rows.length && warnings === 0) return;
  throw await changed(connection, `${rows.length} rows were sent, ${affected} stored: `);
}

/** A value was changed or a row left out: by what the first warning of the last statement says. */
async function changed(connection: Connection, what = ''): Promise<TargetError> {
  const [first] = await connection.query('SHOW WARNINGS LIMIT 1');
  const errno = Number(first?.['Code'] ?? 0);
  const isConflict = classify(connection.vendor, errno) === 'conflict';
  const reason = first === undefined ? 'no reason is told' : String(first['Message']);
  const code = errno === 0 ? '' : errnoName(connection.vendor, errno);
  return new TargetError(isConflict ? 'conflict' : 'row', code, what + reason);
}

/** Rejects as loadRows does where one of the statements warned. */
export async function checkUnchanged(
  connection: Connection,
  answers: readonly Answer[],
): Promise<undefined> {
  if (answers.some(({ warnings }) => warnings > 0)) throw await changed(connection);
  return undefined;
}

/**
 * The same by INSERTs, which say their errors; what they only warn of is a changed value as well
 * (digits or spaces cut off). `before` goes in front of the first.
 */
export async function insertRows(
  connection: Connection,
  batch: Batch,
  options: {
    readonly sink: Sink;
    readonly rows: Iterable<number>;
    readonly packetBytesMax: number;
    readonly before?: string;
  },
): Promise<void> {
  const { sink, rows, packetBytesMax } = options;
  const bytesMax = Math.min(insertBytesMax, Math.floor(packetBytesMax / 2));
  let { before = '' } = options;
  for (const text of inserts(batch, sink, { rows, bytesMax })) {
    const answers = await connection.script(`${before}${text}`);
    await checkUnchanged(connection, answers);
    before = '';
  }
  if (before !== '') await connection.script(before.replace(/;\s*$/, ''));
}
