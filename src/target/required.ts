// What the table as it is now asks of every row.
import type { Table } from '../accept/columns.ts';
import { TargetError } from './target.ts';

/**
 * Holds where the table has got a column that rows must provide, and these do not: no row is to
 * blame, and one after another all that waits would be refused.
 */
export function checkRequired(table: Table, provided: readonly string[]): void {
  const absent = table.columns.find(
    ({ name, writable, nullable, hasDefault }) =>
      writable && !nullable && !hasDefault && !provided.includes(name),
  );
  if (!absent) return;
  const message = `column ${absent.name} is required now and the rows lack it`;
  throw new TargetError('hold', '', `Table ${table.name}: ${message}.`);
}
