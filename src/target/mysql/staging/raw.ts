// How a staging table keeps a journaled value: whole numbers as such, everything else as the bytes of
// its text, as a LOAD DATA would bring them. No value can fail there, equal bytes are equal values,
// and the step to the table's own type is the one that the direct route takes: the server reads text.
import type { ColumnType } from '../../../accept/columns.ts';
import { name } from '../text.ts';

/** Beyond these a field is stored apart from its row. */
const textBytesMax = 4096;

const varbinary = (bytes: number | undefined): string =>
  bytes === undefined || bytes > textBytesMax ? 'longblob' : `varbinary(${Math.max(1, bytes)})`;

/** The type of a field of the staging table. */
export function rawType(type: ColumnType): string {
  switch (type.kind) {
    case 'bool':
      return 'bigint';
    case 'int':
      return type.bytes === 8 && type.unsigned === true ? 'bigint unsigned' : 'bigint';
    case 'numeric':
      // Digits, a sign, a point and a zero before it.
      return varbinary(type.precision === undefined ? undefined : type.precision + 3);
    case 'float':
    case 'timestamp':
    case 'timestamptz':
      return varbinary(40);
    case 'date':
    case 'time':
      return varbinary(20);
    case 'uuid':
      return varbinary(36);
    case 'enum':
      return varbinary(Math.max(...type.labels.map((label) => Buffer.byteLength(label)), 0));
    case 'text':
      return varbinary(type.charactersMax === undefined ? undefined : 4 * type.charactersMax);
    case 'bytea':
      return varbinary(type.bytesMax);
    case 'json':
    case 'jsonb':
    case 'cast':
      return 'longblob';
  }
}

const isNumber = (type: ColumnType): boolean => type.kind === 'int' || type.kind === 'bool';

/** The field as the table's column reads it. */
export function readable(type: ColumnType, field: string): string {
  const own = `s.${name(field)}`;
  return isNumber(type) || type.kind === 'bytea' ? own : `CONVERT(${own} USING utf8mb4)`;
}

/** A field that is not null as JSON text: the same as accept/render.ts makes of the tuple. */
export function rawJson(type: ColumnType, value: unknown): string {
  const text = (): string =>
    value instanceof Uint8Array ? bufferOf(value).toString() : `${value}`;
  switch (type.kind) {
    case 'bool':
      return text() === '1' ? 'true' : 'false';
    case 'int':
    case 'numeric':
    case 'float':
    case 'json':
    case 'jsonb':
      return text();
    case 'bytea':
      return `"${value instanceof Uint8Array ? bufferOf(value).toString('base64') : ''}"`;
    case 'timestamp':
      return `"${text().replace(' ', 'T')}"`;
    case 'timestamptz':
      return `"${text().replace(' ', 'T')}Z"`;
    case 'date':
    case 'time':
    case 'uuid':
    case 'text':
    case 'enum':
    case 'cast':
      return JSON.stringify(text());
  }
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
