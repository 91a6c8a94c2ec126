// What a column's type means to accept: what it holds, so that nothing is refused or changed later.
// https://mariadb.com/kb/en/data-types/ https://dev.mysql.com/doc/refman/8.4/en/data-types.html
import type { ColumnType } from '../../accept/columns.ts';

/** A column as the server's catalog tells it. */
export interface ColumnRow {
  readonly name: string;
  /** With modifiers: `decimal(18,2) unsigned`. */
  readonly sqlType: string;
  /** Without: `decimal`. */
  readonly base: string;
  readonly charset: string | null;
  readonly collation: string | null;
  readonly nullable: boolean;
  readonly isFilled: boolean;
  readonly isGenerated: boolean;
  /** Whether a CHECK says that it holds JSON: MariaDB's JSON is a LONGTEXT with one. */
  readonly isJson: boolean;
}

const widths: { readonly [base: string]: readonly [2 | 4 | 8, number] } = {
  tinyint: [2, 8],
  smallint: [2, 16],
  mediumint: [4, 24],
  int: [4, 32],
  bigint: [8, 64],
};

/** In bytes. A TEXT counts bytes, too, whatever its character set. */
const sizes: { readonly [base: string]: number } = {
  tiny: 255,
  '': 65_535,
  medium: 16_777_215,
  long: 4_294_967_295,
};

function intType(base: string, sqlType: string): ColumnType {
  const [bytes, bits] = widths[base] ?? [8, 64];
  const unsigned = sqlType.includes('unsigned');
  // BOOLEAN is spelt tinyint(1) here: it takes true and false, and every other tinyint too.
  const booleans = /^tinyint\(1\)/.test(sqlType) ? { booleans: true } : {};
  if (bits === bytes * 8) return { kind: 'int', bytes, ...(unsigned && { unsigned }), ...booleans };
  const span = 2n ** BigInt(bits);
  const [min, max] = unsigned ? [0n, span - 1n] : [-span / 2n, span / 2n - 1n];
  return { kind: 'int', bytes, min: String(min), max: String(max), ...booleans };
}

function bitType(bits: number): ColumnType {
  const max = String(2n ** BigInt(bits) - 1n);
  return { kind: 'int', bytes: 8, unsigned: true, max, ...(bits === 1 && { booleans: true }) };
}

function floatType(base: string, numbers: readonly number[], isUnsigned: boolean): ColumnType {
  const [precision, scale] = numbers;
  const unsigned = isUnsigned ? { unsigned: true } : {};
  // float(7,2) rounds like a decimal, and keeps a float.
  if (precision !== undefined && scale !== undefined) {
    const via = base === 'float' ? { viaSingle: true } : { viaDouble: true };
    return { kind: 'numeric', precision, scale, ...via, ...unsigned };
  }
  return { kind: 'float', bytes: base === 'float' ? 4 : 8, ...unsigned };
}

function textType(row: ColumnRow, numbers: readonly number[]): ColumnType {
  const [charactersMax] = numbers;
  const padded = row.base === 'char' ? { padded: true } : {};
  if (row.base === 'char' || row.base === 'varchar') {
    return { kind: 'text', ...(charactersMax !== undefined && { charactersMax }), ...padded };
  }
  const bytesMax = sizes[row.base.slice(0, -'text'.length)];
  // In a narrow character set the bytes are fewer; the server itself counts them then.
  const isUtf8 = /^utf8/.test(row.charset ?? '');
  return { kind: 'text', ...(isUtf8 && bytesMax !== undefined && { bytesMax }) };
}

/** Undefined where rows must leave the column out: nothing of it has a text form that is exact. */
export function columnType(row: ColumnRow, timestampMax: number): ColumnType | undefined {
  const { base, sqlType } = row;
  const numbers = (/^\w+\(([\d,]+)\)/.exec(sqlType)?.[1] ?? '').split(',').filter(Boolean);
  const [first, second] = numbers.map(Number);
  const given = numbers.map(Number);
  const unsigned = sqlType.includes('unsigned');
  if (base in widths) return intType(base, sqlType);
  switch (base) {
    case 'bit':
      return bitType(first ?? 1);
    case 'year':
      // 1 to 99 would become other years, and 0 is a year 0000.
      return { kind: 'int', bytes: 2, min: '1901', max: '2155' };
    case 'decimal':
      return {
        kind: 'numeric',
        precision: first ?? 10,
        scale: second ?? 0,
        ...(unsigned && { unsigned }),
      };
    case 'float':
    case 'double':
      return floatType(base, given, unsigned);
    case 'date':
      return { kind: 'date' };
    case 'time':
      return { kind: 'time', fraction: first ?? 0 };
    case 'datetime':
      return { kind: 'timestamp', fraction: first ?? 0 };
    case 'timestamp':
      return { kind: 'timestamptz', fraction: first ?? 0, secondsMax: timestampMax };
    case 'json':
      return { kind: 'json' };
    case 'uuid':
      return { kind: 'uuid' };
    case 'enum':
      return { kind: 'enum', labels: labelsOf(sqlType) };
    case 'set':
    case 'inet4':
    case 'inet6':
      return { kind: 'cast' };
    case 'binary':
    case 'varbinary':
      return { kind: 'bytea', bytesMax: first ?? 1, ...(base === 'binary' && { fixed: true }) };
  }
  if (base.endsWith('blob')) {
    const bytesMax = sizes[base.slice(0, -'blob'.length)];
    return { kind: 'bytea', ...(bytesMax !== undefined && { bytesMax }) };
  }
  if (row.isJson) return { kind: 'json' };
  if (row.charset !== null) return textType(row, given);
  return undefined;
}

/** How the catalog writes what cannot stand in a label as it is. */
const escapes: { readonly [mark: string]: string } = {
  "''": "'",
  '\\0': '\0',
  '\\n': '\n',
  '\\r': '\r',
};

/** The labels of `enum('a','it''s')`. */
function labelsOf(sqlType: string): string[] {
  const labels = sqlType.matchAll(/'((?:[^'\\]|''|\\.)*)'/gs);
  const plain = (label: string) =>
    label.replaceAll(/''|\\./gs, (mark) => escapes[mark] ?? mark.slice(1));
  return [...labels].map(([, label = '']) => plain(label));
}

/** Neither folds letters nor leaves spaces at the end out of account. */
const isExact = (collation: string): boolean =>
  collation === 'binary' || /(?:_nopad_bin|_0900_bin)$/.test(collation);

/** Equal values of the column always have equal bytes in the row format. */
export function isBytewise(row: ColumnRow, type: ColumnType): boolean {
  if (type.kind === 'text') {
    const collation = row.collation ?? 'binary';
    // Accept takes the spaces off a char(n).
    return isExact(collation) || (type.padded === true && collation.endsWith('_bin'));
  }
  return !['float', 'json', 'cast'].includes(type.kind);
}

/** Whether the column's collation takes unequal texts for equal ones. */
export const isFolding = (row: ColumnRow): boolean =>
  row.collation !== null && !row.collation.endsWith('_bin') && row.collation !== 'binary';
