// Rows of a partition, page by page in the order of their place, as JSON text.
import { renderRow } from '../../../accept/json-text.ts';
import { columnsOfSet, type Field, type Layout } from '../../staged-layout.ts';
import type { ArchivePage } from '../../staging.ts';
import type { Connection } from '../connection.ts';
import { name } from '../text.ts';

/** Behind the head of a binary COPY; a field count of −1 ends it. */
const copyHeadBytes = 19;

interface FieldBytes {
  /** With its length before it. */
  readonly bytes: Uint8Array;
  readonly isNull: boolean;
}

export async function archivePage(
  connection: Connection,
  of: { readonly layout: Layout; readonly name: string },
  { from, rowsMax }: { readonly from: string; readonly rowsMax: number },
): Promise<ArchivePage> {
  const { fields } = of.layout;
  const [source = '0', sequence = '0'] = from.split(' ');
  const columns = fields.map((field) => `, s.${name(field.name)}`);
  const bytes = await connection.copyOut(
    `COPY (SELECT convert_to(coalesce(m.writer::text, ''), 'UTF8'), coalesce(m.lane, -1),
        s.holdfast_source, s.holdfast_sequence, s.holdfast_set${columns.join('')}
      FROM (SELECT * FROM ${name(of.name)}
        WHERE (holdfast_source, holdfast_sequence) > (${Number(source)}, ${Number(sequence)})
        ORDER BY holdfast_source, holdfast_sequence LIMIT ${rowsMax}) s
      LEFT JOIN holdfast_merges m ON m.source = s.holdfast_source
      ORDER BY s.holdfast_source, s.holdfast_sequence) TO STDOUT (FORMAT binary)`,
  );
  const lines: string[] = [];
  let next: string | undefined;
  for (let at = copyHeadBytes; bytes.readInt16BE(at) >= 0; ) {
    const row: FieldBytes[] = [];
    const count = bytes.readInt16BE(at);
    at += 2;
    for (let i = 0; i < count; i++) {
      const length = bytes.readInt32BE(at);
      const end = at + 4 + Math.max(length, 0);
      row.push({ bytes: bytes.subarray(at, end), isNull: length < 0 });
      at = end;
    }
    const [writer, lane, ofSource, ofSequence, set] = row.map((field) => Buffer.from(field.bytes));
    const place = ofSequence?.readBigInt64BE(4) ?? 0n;
    next = `${ofSource?.readInt32BE(4) ?? 0} ${place}`;
    const head = JSON.stringify({
      writer: writer?.toString('utf8', 4),
      lane: lane?.readInt32BE(4),
    });
    const json = rowText(of.layout, set?.readInt32BE(4) ?? 0, row.slice(5));
    lines.push(`${head.slice(0, -1)},"sequence":${place},"row":${json}}`);
  }
  return { lines, next: lines.length < rowsMax ? undefined : next };
}

/** Of all fields only those that the row's set provides. */
function rowText(layout: Layout, set: number, values: readonly FieldBytes[]): string {
  const places = layout.sets[set] ?? [];
  const own = places.map((place) => values[place]?.bytes ?? new Uint8Array(0));
  const head = Buffer.alloc(2);
  head.writeInt16BE(places.length);
  const bytes = Buffer.concat([head, ...own]);
  const columns = columnsOfSet(layout, set).map((field: Field) => field.column);
  const table = { name: '', columns, keys: [], fingerprint: '', warnings: [] };
  const all = columns.map((_, place) => place);
  return renderRow(table, all, { bytes, start: 0, end: bytes.length });
}
