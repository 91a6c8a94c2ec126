// The key of a stream, as the table has it now.
import type { Batch } from '../merge/batch.ts';
import { TargetError } from './target.ts';

/**
 * Holds where the key that the stream goes by has lost its unique index: whatever is sent then, the
 * table would take a second time.
 */
export function checkKey({ table, rules }: Pick<Batch, 'table' | 'rules'>): void {
  const { key } = rules;
  const isThere = table.keys.some(
    (columns) => columns.length === key.length && columns.every((name) => key.includes(name)),
  );
  if (key.length === 0 || isThere) return;
  const message = `no unique index stands over (${key.join(', ')}) any more`;
  throw new TargetError('hold', '', `Table ${table.name}: ${message}.`);
}
