// Names and values inside SQL text, quoted. Needed where several statements share a round trip,
// which the protocol allows only without parameters.
import pg from 'pg';

export const name = (identifier: string): string => pg.escapeIdentifier(identifier);
export const literal = (text: string): string => pg.escapeLiteral(text);

/** `payments` or `shop.payments`, each part exactly as written. */
export const tableName = (table: string): string => table.split('.').map(name).join('.');

export const list = (names: readonly string[], prefix = ''): string =>
  names.map((column) => prefix + name(column)).join(', ');

/** A literal of an array of whole numbers. */
export const integers = (numbers: Iterable<number>): string => `'{${[...numbers].join()}}'`;
