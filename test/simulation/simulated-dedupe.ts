// Duplicates among the rows that wait in a staging table of the simulated target: rows with the key
// and the content of another one of them, from the same writer and with the same columns. Where a
// later row may take its place, only those that no other row of the key stands before.
import { rowEnd } from '../../src/merge/batch.ts';
import { isReplacing } from '../../src/target/copies.ts';
import type { DedupeStep, StagedDuplicates, StagedStream } from '../../src/target/staging.ts';
import { bookEnds, rememberCopies } from './simulated-copies.ts';
import { findSlice, slicesOf, stagedCells, stagedText, stageOf } from './simulated-stage.ts';
import { cellText, type SimulatedStore } from './simulated-store.ts';
import { type WaitingBatch, waitingIn } from './simulated-turn.ts';

interface WaitingRow {
  readonly batch: WaitingBatch;
  readonly sequence: number;
  /** Equal for rows of one lane with the same key, columns and content. */
  readonly content: string;
  /** As JSON; undefined where the row has none. */
  readonly key: string | undefined;
}

function waitingRows(
  store: SimulatedStore,
  stream: StagedStream,
  isWanted: (lane: number) => boolean,
): WaitingRow[] {
  const stage = stageOf(store, stream);
  if (!stage) return [];
  return waitingIn(store, stream.rules.stream, isWanted).flatMap((batch) => {
    const slice = findSlice(stage, batch.of.key, batch.entry.row);
    return (slice?.rows ?? []).map((row): WaitingRow => {
      const text = slice ? stagedText(slice, row) : '';
      const cells = slice ? stagedCells(slice, row) : {};
      const { key } = stream.rules;
      const hasKey = key.some((column) => (cells[column] ?? null) !== null);
      const known = JSON.stringify(
        Object.fromEntries(key.map((column) => [column, plain(cells[column] ?? null)])),
      );
      const values = key.map((column) => cellText(cells[column] ?? null));
      const content = `${batch.source} ${row.set} ${values.join()} ${text}`;
      return { batch, sequence: row.sequence, content, key: hasKey ? known : undefined };
    });
  });
}

const plain = (cell: Parameters<typeof cellText>[0]) =>
  typeof cell === 'number' || typeof cell === 'string' ? cell : cellText(cell);

/** Those that have an equal one that stays, with that. */
function copies(rows: readonly WaitingRow[], { rules }: StagedStream): Map<WaitingRow, WaitingRow> {
  const first = new Map<string, WaitingRow>();
  const last = new Map<string, WaitingRow>();
  const writers = new Map<string, Set<number>>();
  const found = new Map<WaitingRow, WaitingRow>();
  for (const { key = '', batch } of rows) {
    writers.set(key, (writers.get(key) ?? new Set()).add(batch.source));
  }
  for (const row of rows) {
    const { key, content } = row;
    if (key === undefined) continue;
    const before = last.get(key);
    const isOne = writers.get(key)?.size === 1 && before?.content === content;
    const stays = isReplacing(rules.onConflict) && !isOne ? row : (first.get(content) ?? row);
    if (stays !== row) found.set(row, stays);
    first.set(content, stays);
    last.set(key, row);
  }
  return found;
}

const minuteMs = 60_000;

export function findDuplicates(
  store: SimulatedStore,
  stream: StagedStream,
  keysMax: number,
): StagedDuplicates {
  const all = waitingRows(store, stream, () => true);
  const keyed = all.filter(({ key }) => key !== undefined);
  const gone = copies(keyed, stream);
  const group = <Group>(of: (row: WaitingRow) => Group) => {
    const found = new Map<Group, { rows: number; duplicates: number }>();
    for (const row of keyed) {
      const known = found.get(of(row)) ?? { rows: 0, duplicates: 0 };
      known.rows++;
      if (gone.has(row)) known.duplicates++;
      found.set(of(row), known);
    }
    return [...found];
  };
  return {
    rows: all.length,
    duplicates: gone.size,
    byKey: group(({ key }) => key ?? '')
      .map(([key, { duplicates }]) => ({ key, duplicates }))
      .filter(({ duplicates }) => duplicates > 0)
      .sort((a, b) => b.duplicates - a.duplicates || (a.key < b.key ? -1 : 1))
      .slice(0, keysMax),
    byTime: group(({ batch }) => batch.entry.at - (batch.entry.at % minuteMs))
      .map(([at, counts]) => ({ at, ...counts }))
      .sort((a, b) => a.at - b.at),
    byLane: group(({ batch }) => batch.of.lane)
      .map(([lane, counts]) => ({ lane, ...counts }))
      .sort((a, b) => a.lane - b.lane),
  };
}

/** One lane number; its claim is free. */
export function dedupe(store: SimulatedStore, stream: StagedStream, lane: number): DedupeStep {
  return store.transaction(() => {
    const rows = waitingRows(store, stream, (of) => of === lane);
    const gone = copies(rows, stream);
    const byBatch = new Map<WaitingBatch, Map<number, number>>();
    for (const [{ batch, sequence }, { sequence: copyOf }] of gone) {
      const own = byBatch.get(batch) ?? new Map<number, number>();
      byBatch.set(batch, own.set(sequence, copyOf));
    }
    for (const [batch, own] of byBatch) collapse(store, stream, { batch, copyOf: own });
    return { rows: rows.length, collapsed: gone.size, isWhole: true };
  });
}

function collapse(
  store: SimulatedStore,
  stream: StagedStream,
  of: { readonly batch: WaitingBatch; readonly copyOf: ReadonlyMap<number, number> },
): void {
  const { batch, copyOf } = of;
  const stage = stageOf(store, stream);
  const slice = stage && findSlice(stage, batch.of.key, batch.entry.row);
  if (!slice) return;
  const list = slicesOf(stage, batch.of.key);
  const rows = slice.rows.filter(({ sequence }) => !copyOf.has(sequence));
  store.splice(list, { start: list.indexOf(slice), count: 1 }, { ...slice, rows });
  const ended = [...copyOf.keys()].map((sequence) => ({ sequence, end: rowEnd.duplicate }));
  bookEnds(store, batch.of.key, ended);
  rememberCopies(store, batch, copyOf);
}
