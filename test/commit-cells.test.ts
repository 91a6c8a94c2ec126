// Which statements campaign `commits` finds in what a batch sends, and which cells it demands.
import assert from 'node:assert/strict';
import test from 'node:test';
import { type Case, cellOf, coreOf, fates, faults, inOrder } from '../prove/commit-cells.ts';
import { finder, isCommit, Listener, type Mark } from '../prove/commit-marks.ts';
import { scenarios } from '../prove/commit-scenarios.ts';
import { Random } from './simulation/random.ts';
import type { Turn } from './support/turns.ts';

const said = (connection: number, texts: readonly string[]): Turn[] =>
  texts.map((text) => ({
    connection,
    text: text.replace(/^rows: /, ''),
    isRows: text.startsWith('rows: '),
  }));

const guard = 'START TRANSACTION; SELECT 1 FROM `world_7` LIMIT 0 FOR UPDATE';
const insert = 'INSERT INTO `world_7` SELECT * FROM holdfast_rows_0 WHERE ord IN (3)';
const ledger = "INSERT INTO holdfast_ledger (writer, lane) VALUES ('a', 1), ('b', 2)";

/** A batch of MariaDB that is refused, and tried row by row; and what is no batch's. */
const refused = [
  ...said(4, ['SELECT 1', 'START TRANSACTION; SELECT 2', 'COMMIT']),
  ...said(1, [guard, 'LOAD DATA', 'rows: LOAD DATA', 'SHOW WARNINGS LIMIT 64', 'ROLLBACK']),
  ...said(1, ['SELECT staging', 'DROP TEMPORARY TABLE IF EXISTS holdfast_rows_0', guard]),
  ...said(1, [insert, insert.replace('3', '5, 6'), ledger, 'COMMIT', 'SELECT 1']),
];

function marksIn(turns: readonly Turn[]): Mark[] {
  const listener = new Listener();
  for (const turn of turns) listener.hear(turn);
  return listener.marks();
}

test('each statement of a batch is told with its route, and found again', () => {
  const marks = marksIn(refused);
  const told = marks.map(({ route, shape, nth }) => `${route}: ${shape.split(' ')[0]} ${nth}`);
  assert.deepEqual(told, [
    'direct: START 1',
    'direct: LOAD 1',
    'direct: rows 1',
    'direct: SHOW 1',
    'direct: ROLLBACK 1',
    'direct, row by row: SELECT 1',
    'direct, row by row: DROP 1',
    'direct, row by row: START 1',
    'direct, row by row: INSERT 1',
    'direct, row by row: INSERT 2',
    'direct, row by row: INSERT 1',
    'direct, row by row: COMMIT 1',
  ]);
  const places = marks.map((mark) => refused.findIndex(finder(mark)));
  assert.deepEqual(places, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
});

test('a staged batch and its merges are told apart', () => {
  const merge = ['BEGIN; SELECT FROM holdfast_claims', 'SAVEPOINT holdfast_merge; INSERT'];
  const again = ['ROLLBACK TO SAVEPOINT holdfast_merge', 'INSERT INTO holdfast_raw_1', ledger];
  const routes = marksIn([
    ...said(1, ['BEGIN; CALL holdfast_stage_guard(1)', ledger, 'COMMIT;']),
    ...said(2, [...merge, ...again, 'COMMIT;']),
  ]).map(({ route }) => route);
  const [staging, way] = ['staging', 'merge'];
  const rowByRow = 'merge, row by row';
  assert.deepEqual(routes, [
    ...[staging, staging, staging],
    ...[way, way],
    ...[rowByRow, rowByRow, rowByRow, rowByRow],
  ]);
});

const [scenario] = scenarios;
assert(scenario);

const cases: Case[] = marksIn(refused).flatMap((mark) =>
  faults
    .filter((fault) => fault !== 'hold' || isCommit(mark))
    .flatMap((fault) =>
      fates.map((fate): Case => {
        const name = `${mark.name}, ${fault}, ${fate}`;
        return { name, engine: 'MariaDB', scenario, mark, fault, fate };
      }),
    ),
);

test('the core has each statement with each fault and each fate, and a COMMIT with all', () => {
  const core = coreOf(cases);
  for (const mark of new Set(cases.map((one) => one.mark))) {
    const own = cases.filter((one) => one.mark === mark && core.has(cellOf(one)));
    const seen = new Set(own.flatMap(({ fault, fate }): string[] => [fault, fate]));
    const wanted = isCommit(mark) ? [5 * 4, 5 + 4] : [4, 4 + 4];
    assert.deepEqual([own.length, seen.size], wanted, mark.name);
  }
});

test('the core comes first, then all else of the matrix, then cells again', () => {
  const cells = inOrder(cases, new Random(3)).map(cellOf);
  const [core, all] = [coreOf(cases), new Set(cells)];
  assert.deepEqual(new Set(cells.slice(0, core.size)), core);
  assert.deepEqual(new Set(cells.slice(0, all.size)), all);
  assert(all.size < cells.length, 'a statement that is repeated');
});
