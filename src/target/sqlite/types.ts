// What a declared type means. SQLite itself takes only an affinity from the name
// (https://www.sqlite.org/datatype3.html §3.1); people mean more by it, and Holdfast keeps to that.
import type { ColumnType } from '../../accept/columns.ts';

export type Affinity = 'integer' | 'text' | 'blob' | 'real' | 'numeric';

/** SQLite's five rules, in its order. `isStrict`: in such a table ANY keeps what it is given. */
export function affinityOf(declared: string, isStrict: boolean): Affinity {
  const name = declared.toUpperCase();
  if (name.includes('INT')) return 'integer';
  if (/CHAR|CLOB|TEXT/.test(name)) return 'text';
  if (name === '' || name.includes('BLOB') || (isStrict && name === 'ANY')) return 'blob';
  if (/REAL|FLOA|DOUB/.test(name)) return 'real';
  return 'numeric';
}

const integerName =
  /^(?:UNSIGNED )?(?:(?:BIG|MEDIUM|SMALL|TINY) ?)?(?:INT|INTEGER)\d?(?: UNSIGNED)?$/;
const fraction = 6;

/** Names of numeric affinity; texts such as 2026-01-31 stay text in such columns. */
const byName: { readonly [name: string]: ColumnType } = {
  BOOL: { kind: 'bool' },
  BOOLEAN: { kind: 'bool' },
  DATE: { kind: 'date' },
  TIME: { kind: 'time', fraction },
  DATETIME: { kind: 'timestamp', fraction },
  TIMESTAMP: { kind: 'timestamp', fraction },
  'TIMESTAMP WITHOUT TIME ZONE': { kind: 'timestamp', fraction },
  TIMESTAMPTZ: { kind: 'timestamptz', fraction },
  'TIMESTAMP WITH TIME ZONE': { kind: 'timestamptz', fraction },
  UUID: { kind: 'uuid' },
  JSON: { kind: 'json' },
  JSONB: { kind: 'json' },
};

function numericType(numbers: readonly number[]): ColumnType {
  const [precision, scale = 0] = numbers;
  if (precision === undefined || scale > precision) return { kind: 'numeric', viaDouble: true };
  return { kind: 'numeric', precision, scale, viaDouble: true };
}

export function columnType(declared: string, affinity: Affinity): ColumnType {
  const numbers = (/\(([\d\s,]*)\)/.exec(declared)?.[1] ?? '').split(',');
  const modifiers = numbers.filter((text) => text.trim() !== '').map(Number);
  const plain = declared
    .replace(/\([^)]*\)/, ' ')
    .trim()
    .replace(/\s+/g, ' ');
  const name = plain.toUpperCase();
  switch (affinity) {
    case 'integer':
      return integerName.test(name) ? { kind: 'int', bytes: 8 } : { kind: 'cast' };
    case 'real':
      return { kind: 'float', bytes: 8 };
    case 'text': {
      const [charactersMax] = modifiers;
      return charactersMax === undefined ? { kind: 'text' } : { kind: 'text', charactersMax };
    }
    case 'blob':
      return name.includes('BLOB') ? { kind: 'bytea' } : { kind: 'cast' };
    case 'numeric':
      if (/^(?:NUMERIC|DECIMAL|DEC|NUMBER)$/.test(name)) return numericType(modifiers);
      return byName[name] ?? { kind: 'cast' };
  }
}

/** Equal values of the type always have equal bytes in the row format. */
export function isBytewise(type: ColumnType): boolean {
  if (type.kind === 'numeric') return type.scale !== undefined;
  return type.kind !== 'float' && type.kind !== 'json' && type.kind !== 'cast';
}
