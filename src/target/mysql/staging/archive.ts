// Rows of a partition, page by page in the order of their place, as JSON text.
import type { ArchivePage } from '../../staging.ts';
import type { Connection } from '../connection.ts';
import { name } from '../text.ts';
import { rowJson } from './row-json.ts';
import type { KnownStage } from './table.ts';

export async function archivePage(
  connection: Connection,
  of: { readonly stage: KnownStage; readonly name: string },
  { from, rowsMax }: { readonly from: string; readonly rowsMax: number },
): Promise<ArchivePage> {
  const [source = 0, sequence = 0] = from.split(' ').map(Number);
  // Two ranges of the index: a row constructor's comparison would go through all of it.
  const rows = await connection.query(
    `SELECT s.*, m.writer AS holdfast_writer, m.lane AS holdfast_lane
     FROM ${name(of.stage.staging)} PARTITION (${name(of.name)}) s FORCE INDEX (PRIMARY)
     LEFT JOIN holdfast_merges m ON m.source = s.holdfast_source
     WHERE s.holdfast_source = ${source} AND s.holdfast_sequence > ${sequence}
       OR s.holdfast_source > ${source}
     ORDER BY s.holdfast_source, s.holdfast_sequence LIMIT ${rowsMax}`,
  );
  const lines = rows.map((row) => {
    const lane = row['holdfast_lane'];
    const head = JSON.stringify({
      writer: lane === null ? '' : String(row['holdfast_writer']),
      lane: lane === null ? -1 : Number(lane),
    });
    const place = String(row['holdfast_sequence']);
    return `${head.slice(0, -1)},"sequence":${place},"row":${rowJson(of.stage, row)}}`;
  });
  const last = rows.at(-1);
  if (!last || rows.length < rowsMax) return { lines, next: undefined };
  const place = [last['holdfast_source'], last['holdfast_sequence']];
  return { lines, next: place.map(Number).join(' ') };
}
