// Compiles a table and a stream's rules into the reader that turns bytes or objects into tuples.
import type { Table } from './columns.ts';
import { CsvInput } from './csv.ts';
import { JsonReader } from './ndjson.ts';
import { ObjectReader } from './objects.ts';
import { RowEncoder } from './row-encoder.ts';
import type { RowReader, RowRules } from './rows.ts';

/**
 * The reader of one table under one stream's rules. It keeps scratch space between rows, so it
 * serves one thread; its calls are synchronous and never overlap. `rules.key` and the like must
 * name columns.
 */
export function compileRows(table: Table, rules: RowRules): RowReader {
  const row = new RowEncoder(table, rules);
  const json = new JsonReader(rules, row);
  const objects = new ObjectReader(row);
  return {
    table,
    rules,
    ndjson: (input, into, options = {}) => json.lines(input, into, options),
    json: (input, into, options = {}) => json.document(input, into, options),
    csv: (options) => new CsvInput(options, rules, row),
    objects: (rows, into) => objects.read(rows, into),
  };
}
