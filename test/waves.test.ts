import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Column, Table } from '../src/accept/columns.ts';
import type { Row } from '../src/accept/rows.ts';
import { sequenceOrder, waves } from '../src/merge/waves.ts';
import { batchOf } from './support/batches.ts';

const column = (name: string, bytewiseEqual = true): Column => ({
  name,
  type: { kind: 'int', bytes: 8 },
  sqlType: 'bigint',
  nullable: true,
  hasDefault: true,
  writable: true,
  bytewiseEqual,
});

function wavesOf(key: Column, records: readonly Row[], keyNames: readonly string[] = ['k']) {
  const columns = [key, column('a'), column('b')];
  const table: Table = { name: 't', columns, keys: [['k']], fingerprint: '', warnings: [] };
  const rules = { stream: 's', key: keyNames, onConflict: 'update' as const };
  const batch = batchOf({ writer: '', epoch: 1, rules, journaled: table }, [
    { lane: 0, first: 1, records },
  ]);
  return [...waves(batch, sequenceOrder(batch))];
}

test('a wave begins where the columns of a key change, for that key alone', () => {
  const found = wavesOf(column('k'), [
    { k: 1n, a: 1n },
    { k: 2n, b: 1n },
    { k: 1n, b: 1n },
    { k: 2n, b: 2n },
    { k: 1n, b: 2n },
    { k: 1n, a: 2n },
  ]);
  assert.deepEqual(found, [0, 0, 1, 0, 1, 2]);
});

test('where equal keys may differ in their bytes, all rows count as one key', () => {
  const found = wavesOf(column('k', false), [
    { k: 1n, a: 1n },
    { k: 2n, b: 1n },
    { k: 3n, a: 1n },
  ]);
  assert.deepEqual(found, [0, 1, 2]);
});

test('rows of one column set, or of no key, are one wave', () => {
  assert.deepEqual(wavesOf(column('k'), [{ k: 1n }, { k: 1n }]), [0, 0]);
  assert.deepEqual(wavesOf(column('k'), [{ a: 1n }, { b: 1n }, { a: 1n }], []), [0, 0, 0]);
});

test('sequence order goes by lane, then sequence, whatever the order of the rows', () => {
  const columns = [column('k')];
  const table: Table = { name: 't', columns, keys: [['k']], fingerprint: '', warnings: [] };
  const rules = { stream: 's', key: ['k'], onConflict: 'update' as const };
  const whole = batchOf({ writer: '', epoch: 1, rules, journaled: table }, [
    { lane: 0, first: 5, records: [{ k: 9n }, { k: 8n }] },
    { lane: 2, first: 1, records: [{ k: 7n }] },
  ]);
  const turned = {
    ...whole,
    sliceOf: whole.sliceOf.toReversed(),
    sequences: whole.sequences.toReversed(),
  };
  assert.deepEqual([...sequenceOrder(whole)], [0, 1, 2]);
  assert.deepEqual([...sequenceOrder(turned)], [2, 1, 0]);
});
