import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exitMeanings } from '../src/cli/output.ts';
import { type ErrorRow, errorTable, HoldfastError, rowCodes } from '../src/errors.ts';

const rows: readonly (readonly [string, ErrorRow])[] = Object.entries(errorTable);

// Codes of a release are promised: they stay, and keep their meaning. New ones are added here.
const released = `
  HF_USAGE HF_UNKNOWN_STREAM HF_ROWS_REFUSED HF_EMPTY HF_BODY_CUT HF_TOO_LARGE HF_MEDIA_TYPE
  HF_KEY_REUSED HF_UNAUTHORIZED HF_FORBIDDEN HF_NOT_FOUND HF_TABLE_UNFIT HF_OVERLOADED
  HF_JOURNAL_FULL HF_DRAINING HF_TIMEOUT HF_ABORTED HF_NOT_SETTLED HF_LOAD_MOVED
  HF_LOAD_CHANGED HF_JOURNAL_LOCKED HF_TARGET HF_ARCHIVE HF_JOURNAL_FAILED HF_CORRUPT HF_BUG`;

test('no code was dropped or renamed', () => {
  assert.deepEqual(Object.keys(errorTable).toSorted(), released.trim().split(/\s+/).toSorted());
});

test('a mistake of the caller is a 4xx, a fatal error a 5xx', () => {
  for (const [code, { kind, status }] of rows) {
    if (kind === 'caller') assert(status >= 400 && status < 500, code);
    if (kind === 'fatal') assert(status >= 500, code);
  }
});

test('every exit code says what it stands for in --help, and 0 and 1 are no failures', () => {
  for (const [code, { exit }] of rows) {
    assert(exit > 1, code);
    assert(exitMeanings[exit], `${code} leaves with ${exit}`);
  }
});

test('what may have been written is never called not written', () => {
  for (const code of ['HF_ABORTED', 'HF_JOURNAL_FAILED', 'HF_CORRUPT', 'HF_BUG'] as const) {
    assert.equal(errorTable[code].outcome, 'unknown', code);
  }
  assert.equal(errorTable.HF_NOT_SETTLED.outcome, 'written');
});

test('every code says what it means and what to do, each in a sentence', () => {
  for (const [code, { meaning, action }] of rows) {
    assert.match(meaning, /^[A-Z].*\.$/, code);
    assert.match(action, /^[A-Z].*\.$/, code);
  }
  for (const [code, meaning] of Object.entries(rowCodes))
    assert.match(meaning, /^[A-Z].*\.$/, code);
});

test('an error takes what its code says, unless it knows better', () => {
  const cause = new Error('deeper');
  const plain = new HoldfastError('HF_OVERLOADED', 'Full.', { retryAfterSeconds: 2, cause });
  assert.equal(plain.outcome, 'not written');
  assert.equal(plain.retryable, true);
  assert.equal(plain.retryAfterSeconds, 2);
  assert.equal(plain.cause, cause);
  const known = new HoldfastError('HF_ROWS_REFUSED', 'Stopped.', { outcome: 'written' });
  assert.equal(known.outcome, 'written');
  assert(!('cause' in known));
});

test('every error code and every row code is met by a test', () => {
  const own = import.meta.filename;
  const texts = globSync(join(import.meta.dirname, '**/*.ts'))
    .filter((path) => path !== own)
    .map((path) => readFileSync(path, 'utf8'))
    .join('\n');
  const isMet = (code: string) => new RegExp(`\\b${code}\\b`).test(texts);
  const unmet = [...Object.keys(errorTable), ...Object.keys(rowCodes)].filter((c) => !isMet(c));
  assert.deepEqual(unmet, []);
});
