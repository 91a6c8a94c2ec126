// The bank transactions of ../shared/data, which are never copied into the project: 49,102 whole
// lines and a last one that was cut in its middle. Money is counted in whole hundredths.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const berkaPath = join(import.meta.dirname, '../../../shared/data/berka-trans.asc');

/** Why tests of it are left out, for the report; false where the file is there, or must be. */
export const berkaMissing: string | false =
  existsSync(berkaPath) || process.env['CI'] ? false : `${berkaPath} IS MISSING: NOTHING TESTED`;

export const berkaRows = 49_102;

/** Fits both dialects. */
export const transTable = (name: string, key: 'keyed' | 'loose'): string => `
  CREATE TABLE ${name} (trans_id bigint NOT NULL ${key === 'keyed' ? 'PRIMARY KEY' : ''},
    account_id integer NOT NULL, date integer NOT NULL, type varchar(10) NOT NULL, operation text,
    amount decimal(18,2) NOT NULL, balance decimal(18,2) NOT NULL, k_symbol text, bank text,
    account text)`;

/** A plain decimal of at most two places, in hundredths. */
export function hundredths(decimal: string): bigint {
  const found = /^(-?\d+)(?:\.(\d{1,2}))?$/.exec(decimal);
  assert(found, `not an amount: ${decimal}`);
  const [, whole = '', places = ''] = found;
  return BigInt(whole + places.padEnd(2, '0'));
}

/** The sum of `amount` over the file's whole lines, read without any of our own decoders. */
export function berkaAmount(): bigint {
  const lines = readFileSync(berkaPath, 'latin1').split('\r\n').slice(1, -1);
  assert.equal(lines.length, berkaRows, 'the file is the one that is meant');
  return lines.reduce((sum, line) => sum + hundredths(line.split(';')[5] ?? ''), 0n);
}

export const berkaLoad = (stream: string, file = berkaPath): string[] => [
  ...['load', file, '--stream', stream, '--format', 'csv', '--delimiter', ';'],
  ...['--invalid', 'dead-letter', '--json'],
];
