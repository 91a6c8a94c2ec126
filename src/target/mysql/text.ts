// Names and values inside SQL text, quoted. Several statements share a round trip, which the
// protocol allows only without parameters; sessions are set up so that backslashes escape.
import mysql from 'mysql2';

/** Each part of a name exactly as written. */
export const name = (identifier: string): string => `\`${identifier.replaceAll('`', '``')}\``;

export const literal = (text: string): string => mysql.escape(text);

/** Bytes that belong to no character set. */
export const bytes = (value: Uint8Array): string =>
  `X'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')}'`;

/** `payments` or `shop.payments`. */
export const tableName = (table: string): string => table.split('.').map(name).join('.');

export const list = (names: readonly string[], prefix = ''): string =>
  names.map((column) => prefix + name(column)).join(', ');

/** For IN; never empty. */
export const integers = (numbers: Iterable<number>): string => `(${[...numbers].join()})`;
