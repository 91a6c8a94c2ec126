// What a table looks like to Holdfast: read from the target at open, cached beside the journal.
// The type of a column decides how its value is checked and how its bytes stand in the row format.

/**
 * The encoding of each kind is PostgreSQL's binary format (int16 field count, then per field an
 * int32 length, -1 for null, and the bytes, all big-endian):
 * https://www.postgresql.org/docs/18/sql-copy.html
 *
 * - bool 1 byte; int 2/4/8 bytes; float 4/8 bytes IEEE 754
 * - numeric: int16 ndigits, weight, sign (0x0000, 0x4000), dscale, then base-10000 digits
 * - text, char, json, enum, cast: UTF-8 bytes without NUL; jsonb: byte 1, then JSON text; bytea:
 *   raw
 * - date int32 days, timestamp/timestamptz int64 microseconds, both since 2000-01-01; time int64
 *   microseconds since midnight; uuid 16 bytes
 */
export type ColumnType =
  | { readonly kind: 'bool' }
  /**
   * `min` and `max` in decimal digits, where the column holds less than its bytes could.
   * `booleans`: true and false stand for 1 and 0.
   */
  | {
      readonly kind: 'int';
      readonly bytes: 2 | 4 | 8;
      readonly unsigned?: boolean;
      readonly min?: string;
      readonly max?: string;
      readonly booleans?: boolean;
    }
  /** A decimal is refused as inexact unless the float gives the same digits back. */
  | { readonly kind: 'float'; readonly bytes: 4 | 8; readonly unsigned?: boolean }
  /**
   * Without precision: any. `viaDouble`: the target keeps it as a double (SQLite; MySQL's
   * DOUBLE(M,D)); `viaSingle`: as a float of four bytes (its FLOAT(M,D)).
   */
  | {
      readonly kind: 'numeric';
      readonly precision?: number;
      readonly scale?: number;
      readonly viaDouble?: boolean;
      readonly viaSingle?: boolean;
      readonly unsigned?: boolean;
    }
  /**
   * `charactersMax` counts Unicode code points, `bytesMax` bytes of UTF-8. `padded`: char(n),
   * trailing spaces do not count.
   */
  | {
      readonly kind: 'text';
      readonly charactersMax?: number;
      readonly bytesMax?: number;
      readonly padded?: boolean;
    }
  /** `fixed`: binary(n), which fills up with zeros what is shorter than `bytesMax`. */
  | { readonly kind: 'bytea'; readonly bytesMax?: number; readonly fixed?: boolean }
  | { readonly kind: 'date' }
  /** Fractional digits of a second, 0 to 6. */
  | { readonly kind: 'time'; readonly fraction: number }
  | { readonly kind: 'timestamp'; readonly fraction: number }
  /** `secondsMax`: from 1 to so many seconds since 1970 (MySQL's TIMESTAMP); else as timestamp. */
  | { readonly kind: 'timestamptz'; readonly fraction: number; readonly secondsMax?: number }
  | { readonly kind: 'uuid' }
  | { readonly kind: 'json' }
  | { readonly kind: 'jsonb' }
  | { readonly kind: 'enum'; readonly labels: readonly string[] }
  /** Any other type: passed as text; the server casts it to its own type. */
  | { readonly kind: 'cast' };

/** Whether the target keeps decimals as a float: it holds no more than some 15 or 7 digits. */
export const isViaFloat = (type: ColumnType): boolean =>
  type.kind === 'numeric' && (type.viaDouble === true || type.viaSingle === true);

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  /** The type's name as the target spells it, modifiers included: `numeric(18,2)`. */
  readonly sqlType: string;
  readonly nullable: boolean;
  /** The target fills it where it is absent (default, identity, nullable). */
  readonly hasDefault: boolean;
  /** False for generated columns: rows must not name it. */
  readonly writable: boolean;
  /** Equal values always have equal bytes, so that a hash of the bytes can choose the lane. */
  readonly bytewiseEqual: boolean;
}

export interface Table {
  /** As configured; qualified names keep their dot. */
  readonly name: string;
  /** In the order of the table. */
  readonly columns: readonly Column[];
  /**
   * Each set of columns over which a valid, immediate, unconditional unique index over NOT NULL
   * columns stands; the primary key first.
   */
  readonly keys: readonly (readonly string[])[];
  /**
   * Number, name, type and modifier of each column, what it asks of a row, and which unique indexes
   * there are, digested: what a batch compares before it writes (P5).
   */
  readonly fingerprint: string;
  /** What the owner should be told at open: unfit indexes, case-insensitive keys … */
  readonly warnings: readonly string[];
  /** How large a row's tuple may be, where the target has a bound for what it takes at once. */
  readonly rowBytesMax?: number;
}

/** The largest line that the target takes as a dead letter: no larger than a row. */
export const letterBytesMax = ({ rowBytesMax = Number.POSITIVE_INFINITY }: Table): number =>
  rowBytesMax;
