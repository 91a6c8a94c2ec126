// How a staging table keeps a journaled value: by a type that holds every value that accept lets
// through for the column, so that none can fail there, and exactly. The table has utf8mb4 texts,
// compared by their bytes. The step to the table's own type is the server's.
import { type ColumnType, isViaFloat } from '../../../accept/columns.ts';
import { name } from '../text.ts';

/** Longer ones are stored apart from their row. */
const shortMax = 1024;

const text = (characters: number | undefined): string =>
  characters === undefined || characters > shortMax
    ? 'longtext'
    : `varchar(${Math.max(1, characters)})`;

/** The digits of a DECIMAL. */
const precisionMax = 65;

/** The type of a field of the staging table, as the catalog spells it. */
export function rawType(type: ColumnType): string {
  switch (type.kind) {
    case 'bool':
      return 'bigint';
    case 'int':
      return type.bytes === 8 && type.unsigned === true ? 'bigint unsigned' : 'bigint';
    case 'numeric': {
      const { precision = precisionMax + 1, scale = 0 } = type;
      const isDecimal = precision <= precisionMax && !isViaFloat(type);
      return isDecimal ? `decimal(${precision},${scale})` : 'longtext';
    }
    case 'float':
      return text(40);
    case 'timestamp':
    case 'timestamptz':
      return 'datetime(6)';
    case 'date':
      return 'date';
    case 'time':
      return 'time(6)';
    case 'uuid':
      return text(36);
    case 'enum':
      return text(Math.max(...type.labels.map((label) => label.length), 0));
    case 'text':
      return text(type.charactersMax);
    case 'bytea': {
      const { bytesMax = shortMax + 1 } = type;
      return bytesMax > shortMax ? 'longblob' : `varbinary(${Math.max(1, bytesMax)})`;
    }
    case 'json':
    case 'jsonb':
    case 'cast':
      return 'longtext';
  }
}

/** A field of the staging table, `s`, as the table's column takes it. */
export const stagedField = (field: string): string => `s.${name(field)}`;

/** A field that is not null as JSON text: the same as accept/render.ts makes of the tuple. */
export function rawJson(type: ColumnType, value: unknown): string {
  const given = value instanceof Uint8Array ? bufferOf(value).toString() : String(value);
  switch (type.kind) {
    case 'bool':
      return given === '1' ? 'true' : 'false';
    case 'int':
    case 'numeric':
    case 'float':
    case 'json':
    case 'jsonb':
      return given;
    case 'bytea':
      return `"${value instanceof Uint8Array ? bufferOf(value).toString('base64') : ''}"`;
    case 'timestamp':
      return `"${clock(given)}"`;
    case 'timestamptz':
      return `"${clock(given)}Z"`;
    case 'time':
      return `"${clock(given)}"`;
    case 'date':
    case 'uuid':
    case 'text':
    case 'enum':
    case 'cast':
      return JSON.stringify(given);
  }
}

/** The server shows six digits of a second even where all are zero. */
const clock = (given: string): string => given.replace(' ', 'T').replace(/\.000000$/, '');

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
