// How names stand in SQL.
import { TargetError } from '../target.ts';

export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The table's own name: `main.` in front of it says nothing. */
export function bareName(table: string): string {
  const [schema, ...rest] = table.split('.');
  if (rest.length === 0) return table;
  if (schema?.toLowerCase() === 'main') return rest.join('.');
  throw new TargetError('hold', '', `${table}: only tables of the main database can be written.`);
}
