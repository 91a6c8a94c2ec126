// The transaction of a merge in the simulated target (L2 to L3): what it takes under its claims,
// whether all of that is there, and the ends of its rows.
import { type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { booked, decodeEnds, noCounts } from '../../src/merge/ledger.ts';
import { checkKey } from '../../src/target/key.ts';
import { checkRequired } from '../../src/target/required.ts';
import type { MergedTurn, MergeTurn } from '../../src/target/staging.ts';
import { bury, count } from './simulated-books.ts';
import { endCopies } from './simulated-copies.ts';
import { mustBeAsDescribed } from './simulated-merge.ts';
import { mustHave, place, type Refusal } from './simulated-place.ts';
import {
  findSlice,
  placeOf,
  type SimulatedStage,
  type StagedRow,
  type StagedSlice,
  slicesOf,
  stagedCells,
  stagedColumns,
  stagedText,
  stageOf,
} from './simulated-stage.ts';
import {
  type LedgerEntry,
  ledgerPlace,
  letterKey,
  type Member,
  type SimulatedStore,
} from './simulated-store.ts';

export interface WaitingBatch {
  readonly of: Member;
  readonly source: number;
  readonly entry: LedgerEntry;
}

/** Lane numbers with something to merge, from the turn's `start` on, and how many one takes. */
export function lanesWaiting(store: SimulatedStore, turn: MergeTurn) {
  const byLane = new Map<number, number>();
  for (const { key, lane } of store.members(turn.stream.rules.stream)) {
    const waiting = store.waiting(key);
    if (waiting.length === 0) continue;
    const records = waiting.reduce((sum, { row }) => sum + row.rowCount, 0);
    byLane.set(lane, (byLane.get(lane) ?? 0) + records);
  }
  const all = [...byLane.keys()].sort((a, b) => a - b);
  const records = [...byLane.values()].reduce((sum, of) => sum + of, 0);
  const share = records <= turn.rowsMax ? 1 : turn.share;
  const from = Math.floor(turn.start * all.length);
  const lanes = [...all.slice(from), ...all.slice(0, from)];
  return { lanes, count: Math.ceil(all.length * share) };
}

/** All that waits in these lane numbers, by source and sequence. */
export function waitingIn(
  store: SimulatedStore,
  stream: string,
  isWanted: (lane: number) => boolean,
): WaitingBatch[] {
  const found: WaitingBatch[] = [];
  for (const of of store.members(stream)) {
    if (!isWanted(of.lane)) continue;
    const source = store.stagedLanes.get(of.key)?.source ?? 0;
    for (const entry of store.waiting(of.key)) found.push({ of, source, entry });
  }
  return found.sort((a, b) => a.source - b.source || a.entry.row.first - b.entry.row.first);
}

/** The oldest first, but none before an earlier one of its lane; up to the turn's rows. */
export function takeBatches(
  store: SimulatedStore,
  turn: MergeTurn,
  lanes: ReadonlySet<number>,
): WaitingBatch[] {
  const all = waitingIn(store, turn.stream.rules.stream, (lane) => lanes.has(lane));
  const latest = new Map<number, number>();
  const ranked = all.map((batch) => {
    const at = Math.max(latest.get(batch.source) ?? 0, batch.entry.at);
    latest.set(batch.source, at);
    return { batch, at };
  });
  // A stable sort: within a source they stay in sequence.
  ranked.sort((a, b) => a.at - b.at || a.batch.of.lane - b.batch.of.lane);
  const taken: WaitingBatch[] = [];
  let records = 0;
  for (const { batch } of ranked) {
    const { rowCount } = batch.entry.row;
    if (records > 0 && records + rowCount > turn.rowsMax) break;
    records += rowCount;
    taken.push(batch);
  }
  return taken.sort((a, b) => a.source - b.source || a.entry.row.first - b.entry.row.first);
}

interface Found {
  readonly batch: WaitingBatch;
  readonly slice: StagedSlice | undefined;
}

/** Everything but the claims, which are held meanwhile. */
export function mergeTaken(
  store: SimulatedStore,
  turn: MergeTurn,
  of: { readonly taken: readonly WaitingBatch[]; readonly wallMs: number },
): Omit<MergedTurn, 'position'> | undefined {
  return store.transaction(() => {
    const table = mustBeAsDescribed(store, turn.stream.table);
    checkKey(turn.stream);
    const stage = stageOf(store, turn.stream);
    if (!stage || of.taken.length === 0) return undefined;
    const { found, broken } = look(store, stage, of.taken);
    if (broken.length > 0) {
      sendBack(store, stage, broken);
      return { records: 0, lost: recordsOf(broken), optimistic: 'not tried' };
    }
    for (const { slice } of found) {
      for (const columns of setsOf(slice)) {
        mustHave(table, columns);
        checkRequired(turn.stream.table, columns);
      }
    }
    const before = table.rows.size;
    const rowsMerged = found.reduce((sum, one) => sum + merge(store, turn, { ...one, ...of }), 0);
    const isPlain = table.rows.size === before + rowsMerged;
    const tried = turn.isOptimistic && rowsMerged > 0;
    const optimistic = tried ? (isPlain ? 'passed' : 'failed') : 'not tried';
    return { records: recordsOf(of.taken), lost: 0, optimistic };
  });
}

const recordsOf = (batches: readonly WaitingBatch[]): number =>
  batches.reduce((sum, { entry }) => sum + entry.row.rowCount, 0);

/** The columns that rows of the slice provide, by name. */
function setsOf(slice: StagedSlice | undefined): string[][] {
  if (!slice) return [];
  const sets = new Set(slice.rows.map(({ set }) => set));
  return [...sets].map((set) => stagedColumns(slice, set).map(({ name }) => name));
}

/** P14: count and digest of what is there must be the ledger's, and no batch may be passed over. */
function look(store: SimulatedStore, stage: SimulatedStage, taken: readonly WaitingBatch[]) {
  const found: Found[] = [];
  const broken: WaitingBatch[] = [];
  const next = new Map<string, number>();
  for (const batch of taken) {
    const { key } = batch.of;
    const { row } = batch.entry;
    const expected = next.get(key) ?? (store.lanes.get(key)?.settled ?? 0) + 1;
    next.set(key, row.last + 1);
    const ends = decodeEnds(row);
    const rows = ends.reduce((sum, end) => sum + Number(end === rowEnd.merged), 0);
    const slice = findSlice(stage, key, row);
    const isWhole = (slice?.rows.length ?? 0) === rows;
    if (isWhole && row.first === expected) found.push({ batch, slice });
    else broken.push(batch);
  }
  return { found, broken };
}

/** `staged` goes back to `settled`; their owners stage them again. */
function sendBack(
  store: SimulatedStore,
  stage: SimulatedStage,
  broken: readonly WaitingBatch[],
): void {
  for (const of of new Map(broken.map((batch) => [batch.of.key, batch.of])).values()) {
    const state = store.lanes.get(of.key);
    if (!state) continue;
    const { settled } = state;
    store.set(store.lanes, of.key, { ...state, staged: settled });
    const rows = slicesOf(stage, of.key);
    const start = placeOf(rows, settled + 1);
    store.splice(rows, { start, count: rows.length - start });
    store.set(store.copies, of.key, undefined);
    const entries = store.entries(of.key);
    const from = ledgerPlace(entries, settled + 1);
    const gone = store.splice(entries, { start: from, count: entries.length - from });
    for (const { row } of gone) {
      decodeEnds(row).forEach((end, at) => {
        const id = { ...of, sequence: row.first + at };
        if (end === rowEnd.deadLetter) store.set(store.letters, letterKey(id), undefined);
      });
    }
  }
}

/** One batch; how many of its rows waited. */
function merge(
  store: SimulatedStore,
  turn: MergeTurn,
  { batch, slice, wallMs }: Found & { readonly wallMs: number },
): number {
  const { key } = batch.of;
  const table = store.table(turn.stream.table.name);
  const placed: { readonly sequence: number; readonly end: RowEnd }[] = [];
  for (const row of slice?.rows ?? []) {
    if (!slice) continue;
    const given = { row: stagedCells(slice, row), columns: stagedColumns(slice, row.set) };
    const { rules } = turn.stream;
    const found = place(store, table, { ...given, rules, rung: 'merge', route: 'staged' });
    const end = typeof found === 'number' ? found : rowEnd.deadLetter;
    if (typeof found !== 'number') {
      buryStaged(store, { ...batch, ...found, row, slice }, wallMs);
    }
    placed.push({ sequence: row.sequence, end });
    endCopies(store, batch.of, { sequence: row.sequence, end });
  }
  // As it is by now: copies may have found their ends in it.
  const all = store.entries(key);
  const entry = all[ledgerPlace(all, batch.entry.row.last)] ?? batch.entry;
  const ends = decodeEnds(entry.row);
  for (const { sequence, end } of placed) ends[sequence - entry.row.first] = end;
  const after = { ...entry.row, ...booked(ends) };
  store.book(key, { ...entry, row: after, isMerged: true });
  count(store, batch.of, { ...noCounts, ...after, settled: after.last });
  return slice?.rows.length ?? 0;
}

function buryStaged(
  store: SimulatedStore,
  of: WaitingBatch & Refusal & { readonly row: StagedRow; readonly slice: StagedSlice },
  wallMs: number,
): void {
  const { writer, stream, lane } = of.of;
  const text = stagedText(of.slice, of.row);
  const { sequence } = of.row;
  const { code, message } = of;
  const raw = Buffer.from(text);
  bury(store, { writer, stream, lane, sequence, row: text, raw, code, message }, wallMs);
}
