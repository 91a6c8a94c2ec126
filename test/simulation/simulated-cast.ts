// Values on their way from the types under which they were journaled to those that their columns
// have in the simulated target now.
import type { Column, ColumnType } from '../../src/accept/columns.ts';
import type { Cell, SimulatedTable, StoredRow } from './simulated-store.ts';

const wholeNumber = /^-?\d+(\.0+)?$/;

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The value as that type has it; undefined where there is no cast. */
export function castCell(cell: Cell, to: ColumnType): Cell | undefined {
  if (cell === null || cell instanceof Uint8Array) return cell;
  const text = String(cell);
  switch (to.kind) {
    case 'text':
      return text;
    case 'json':
    case 'jsonb':
      return isJson(text) ? text : undefined;
    case 'int':
      return wholeNumber.test(text) ? Number(text) : undefined;
    case 'numeric':
      return wholeNumber.test(text) ? Number(text).toFixed(to.scale) : undefined;
    default:
      return cell;
  }
}

/** A row as the table has its values; a message where one of them cannot be had like that. */
export function fitRow(
  { columns: own }: SimulatedTable,
  { row, columns }: { readonly row: StoredRow; readonly columns: readonly Column[] },
): StoredRow | string {
  let fit = row;
  for (const { name, sqlType } of columns) {
    const to = own.find(({ column }) => column.name === name)?.column;
    const cell = row[name];
    if (!to || to.sqlType === sqlType || cell === undefined) continue;
    const cast = castCell(cell, to.type);
    if (cast === undefined) return `The value of ${name} is no ${to.sqlType}.`;
    fit = { ...fit, [name]: cast };
  }
  return fit;
}
