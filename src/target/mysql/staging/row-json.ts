// Staged rows as JSON, whole, as the journal had them: those that a merge refused, and those of a
// day that is archived.
import { bySize, sumOf } from '../../by-size.ts';
import { columnsOfSet, type Field } from '../../staged-layout.ts';
import type { Connection, Row } from '../connection.ts';
import { name } from '../text.ts';
import { rawJson } from './raw.ts';
import { among, placesOf, type Run, type StagedRows, staged } from './rows.ts';
import type { KnownStage } from './table.ts';

/** Runs that one statement asks for: a row is compared with all of them. */
const runsMax = 200;
/** Of what is read at once; a single row may be larger. */
const readBytesMax = 4 * 1024 * 1024;

/** The rows of some records, read as they are taken. */
export async function* readJson(
  connection: Connection,
  { stage, taken }: StagedRows,
  ords: readonly number[],
): AsyncGenerator<{ readonly ord: number; readonly json: string }> {
  const places = placesOf(taken.batches);
  const ask = (columns: string, runs: readonly Run[]): Promise<readonly Row[]> =>
    connection.query(
      `SELECT s.holdfast_source, s.holdfast_sequence, ${columns}
       FROM ${staged(stage)} WHERE ${among(runs)}`,
    );
  const sizes = stage.layout.fields.map((field) => `COALESCE(LENGTH(s.${name(field.name)}), 0)`);
  for (let at = 0; at < ords.length; at += runsMax) {
    const wanted = new Map<string, { readonly ord: number; readonly run: Run }>();
    for (const ord of ords.slice(at, at + runsMax)) {
      const place = places(ord);
      if (!place) continue;
      const { source, digest, first } = place.batch;
      const sequence = first + place.at;
      const run = { source, digest, first: sequence, last: sequence };
      wanted.set(`${source} ${sequence}`, { ord, run });
    }
    const runs = [...wanted.values()].map(({ run }) => run);
    const sized = await ask(`${sumOf(sizes)} AS size`, runs);
    for (const part of bySize(sized, (row) => Number(row['size']), readBytesMax)) {
      const some = part.flatMap((row) => wanted.get(placeKey(row))?.run ?? []);
      for (const row of await ask('s.*', some)) {
        const ord = wanted.get(placeKey(row))?.ord;
        if (ord !== undefined) yield { ord, json: rowJson(stage, row) };
      }
    }
  }
}

const placeKey = (row: Row): string =>
  [row['holdfast_source'], row['holdfast_sequence']].map(Number).join(' ');

/** Of all fields only those that the row's set provides. */
export function rowJson({ layout }: KnownStage, row: Row): string {
  const parts = columnsOfSet(layout, Number(row['holdfast_set'])).map((field: Field) => {
    const value = row[field.name];
    const text = value === null ? 'null' : rawJson(field.column.type, value);
    return `${JSON.stringify(field.column.name)}:${text}`;
  });
  return `{${parts.join(',')}}`;
}
