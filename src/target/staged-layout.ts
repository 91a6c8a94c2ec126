// What the columns of a staging table mean. Rows of a stream that were journaled at different times
// may provide different columns, and a column may have had another type: the staging table has a
// field for each (column, type) that was ever staged, and numbers the sets of fields that rows
// provide. A layout only grows, so that whoever knows an older one may go on using it.
import type { Column, Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';

export interface Field {
  /** Its name in the staging table. */
  readonly name: string;
  /** As it was journaled. */
  readonly column: Column;
}

export interface Layout {
  readonly fields: readonly Field[];
  /** Places in `fields`, in the order of the rows' tuples. */
  readonly sets: readonly (readonly number[])[];
}

/** All that decides how a field is read and judged, in one spelling: JSON may move its keys. */
function meaningOf({ type, sqlType, nullable }: Column): string {
  return JSON.stringify([sqlType, nullable, JSON.stringify(type, Object.keys(type).sort())]);
}

/** The fields of a column set, as places in the layout; undefined where one of them is missing. */
function placesOf(
  { fields }: Pick<Layout, 'fields'>,
  columns: readonly Column[],
): number[] | undefined {
  const places = columns.map((column) =>
    fields.findIndex(
      (field) => field.column.name === column.name && meaningOf(field.column) === meaningOf(column),
    ),
  );
  return places.includes(-1) ? undefined : places;
}

const columnsOf = (journaled: Table, set: ColumnSet): Column[] =>
  set.flatMap((place) => journaled.columns[place] ?? []);

/** The place of a column set in `sets`; −1 where the layout does not have it yet. */
export function setIndex(
  layout: Layout,
  rows: { readonly journaled: Table; readonly set: ColumnSet },
): number {
  const places = placesOf(layout, columnsOf(rows.journaled, rows.set));
  return places ? layout.sets.findIndex((known) => known.join() === places.join()) : -1;
}

/** The layout with these column sets too. The same object where it has them. */
export function extended(
  layout: Layout,
  rows: { readonly journaled: Table; readonly sets: readonly ColumnSet[] },
): Layout {
  let grown = layout;
  for (const set of rows.sets) {
    if (setIndex(grown, { journaled: rows.journaled, set }) >= 0) continue;
    const columns = columnsOf(rows.journaled, set);
    const fields = [...grown.fields];
    for (const column of columns) {
      if (placesOf({ fields }, [column])) continue;
      fields.push({ name: fieldName(column.name, fields), column });
    }
    const places = placesOf({ fields }, columns) ?? [];
    grown = { fields, sets: [...grown.sets, places] };
  }
  return grown;
}

/** Databases cut names at 63 bytes or refuse them at 65; ours begin with holdfast_. */
const nameBytesMax = 60;

function fieldName(column: string, fields: readonly Field[]): string {
  const isTaken = (name: string): boolean =>
    fields.some((field) => field.name.toLowerCase() === name.toLowerCase());
  const isFree = Buffer.byteLength(column) <= nameBytesMax && !/^holdfast_/i.test(column);
  if (isFree && !isTaken(column)) return column;
  let number = fields.length + 1;
  while (isTaken(`field_${number}`)) number++;
  return `field_${number}`;
}

/** The columns that rows of a set provide, in the order of their tuples. */
export const columnsOfSet = (layout: Layout, set: number): Field[] =>
  (layout.sets[set] ?? []).flatMap((place) => layout.fields[place] ?? []);

/**
 * The fields to tell keys by. None where equal keys may differ in their bytes, or stand in two
 * fields: then any two rows may be of one key.
 */
export function fieldsOfKey({ fields }: Layout, key: readonly string[]): Field[] {
  const found = key.map((column) => fields.filter((field) => field.column.name === column));
  const isTold = found.every(
    ([field, ...more]) => more.length === 0 && field?.column.bytewiseEqual === true,
  );
  return isTold ? found.flatMap(([field]) => field ?? []) : [];
}
