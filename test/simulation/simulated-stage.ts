// The staging table of a stream in the simulated target (L2): the rows of each batch as the journal
// had them, lane by lane, and the days that they lie in.
import type { Column } from '../../src/accept/columns.ts';
import { renderRow } from '../../src/accept/json-text.ts';
import { type TupleBytes, tupleBytes } from '../../src/accept/render.ts';
import type { Batch } from '../../src/merge/batch.ts';
import { columnsOfSet, extended, type Layout, setIndex } from '../../src/target/staged-layout.ts';
import type {
  ArchivePage,
  StagedStream,
  StagingDay,
  StagingPartition,
} from '../../src/target/staging.ts';
import { TargetError } from '../../src/target/target.ts';
import { cellsOf } from './simulated-place.ts';
import { laneKey, type Member, type SimulatedStore, type StoredRow } from './simulated-store.ts';

export interface StagedRow {
  readonly sequence: number;
  /** Its columns, as the layout numbers them. */
  readonly set: number;
  readonly start: number;
  readonly end: number;
}

/** A batch's rows of one lane. */
export interface StagedSlice {
  readonly last: number;
  readonly digest: number;
  readonly day: string;
  /** As it was when they came: it only grows. */
  readonly layout: Layout;
  readonly from: TupleBytes;
  /** Ascending. */
  readonly rows: readonly StagedRow[];
}

export interface SimulatedStage {
  /** What the rows that wait were promised: table, key and onConflict. */
  readonly rules: string;
  readonly isLogged: boolean;
  readonly layout: Layout;
  /** YYYY-MM-DD, ascending. */
  readonly days: readonly string[];
  /** By lane, ascending. */
  readonly slices: Map<string, StagedSlice[]>;
}

const dayMs = 24 * 60 * 60 * 1000;

const daysKnown = new Map<number, string>();

export function dayOf(ms: number): string {
  const number = Math.floor(ms / dayMs);
  const day = daysKnown.get(number) ?? new Date(ms).toISOString().slice(0, 10);
  daysKnown.set(number, day);
  return day;
}

const rulesOf = ({ table, rules: { key, onConflict } }: StagedStream): string =>
  JSON.stringify({ table: table.name, key, onConflict });

export const slicesOf = (stage: SimulatedStage, key: string): StagedSlice[] => {
  const known = stage.slices.get(key);
  if (known) return known;
  const made: StagedSlice[] = [];
  stage.slices.set(key, made);
  return made;
};

/** What a staged row provides. */
export function stagedCells(slice: StagedSlice, row: StagedRow): StoredRow {
  const columns = stagedColumns(slice, row.set);
  return cellsOf(slice.from, { start: row.start, columns, set: [...columns.keys()] });
}

/** The columns of a set, as they were when its rows were journaled. */
export const stagedColumns = ({ layout }: StagedSlice, set: number): Column[] =>
  columnsOfSet(layout, set).map(({ column }) => column);

export function stagedText(slice: StagedSlice, { set, start, end }: StagedRow): string {
  const columns = stagedColumns(slice, set);
  const table = { name: '', columns, keys: [], fingerprint: '', warnings: [] };
  return renderRow(table, [...columns.keys()], { bytes: slice.from.bytes, start, end });
}

/** Makes the staging table, today and tomorrow where they are missing; takes the rules over. */
export function openStage(
  store: SimulatedStore,
  stream: StagedStream,
  wallMs: number,
): SimulatedStage {
  const { stream: name } = stream.rules;
  const rules = rulesOf(stream);
  const { isLogged } = stream;
  const known = store.stages.get(name);
  const days = known?.days ?? [];
  const missing = [dayOf(wallMs), dayOf(wallMs + dayMs)].filter((day) => !days.includes(day));
  if (known?.rules === rules && missing.length === 0) return known;
  if (known && known.rules !== rules && isWaiting(store, name)) throw otherRules(name);
  const slices = known?.slices ?? new Map<string, StagedSlice[]>();
  const layout = known?.layout ?? { fields: [], sets: [] };
  const made = { rules, isLogged, layout, days: [...days, ...missing].sort(), slices };
  store.set(store.stages, name, made);
  return made;
}

const isWaiting = (store: SimulatedStore, stream: string): boolean =>
  [...store.members(stream)].some(({ key }) => store.entries(key).at(-1)?.isMerged === false);

const otherRules = (stream: string): TargetError =>
  new TargetError('hold', '', `Rows of stream ${stream} wait that were staged by other rules.`);

/** For who decides about its rows: throws 'hold' under other rules than ours. */
export function stageOf(store: SimulatedStore, stream: StagedStream): SimulatedStage | undefined {
  const known = store.stages.get(stream.rules.stream);
  if (known && known.rules !== rulesOf(stream)) throw otherRules(stream.rules.stream);
  return known;
}

/** Puts a batch's rows in. */
export function stageRows(
  store: SimulatedStore,
  batch: Batch,
  { stage, day }: { readonly stage: SimulatedStage; readonly day: string },
): void {
  const { journaled, columnSets, starts, tupleEnds } = batch;
  const sets = columnSets.filter((_, set) => batch.sets.includes(set));
  const layout = extended(stage.layout, { journaled, sets });
  if (layout !== stage.layout) {
    store.set(store.stages, batch.rules.stream, { ...stage, layout });
  }
  const numbers = columnSets.map((set) => setIndex(layout, { journaled, set }));
  // The batch's buffer is used again.
  const from = tupleBytes(batch.bytes.slice());
  const bySlice = batch.slices.map((): StagedRow[] => []);
  for (let row = 0; row < batch.count; row++) {
    bySlice[batch.sliceOf[row] ?? 0]?.push({
      sequence: batch.sequences[row] ?? 0,
      set: numbers[batch.sets[row] ?? 0] ?? -1,
      start: starts[row] ?? 0,
      end: tupleEnds[row] ?? 0,
    });
  }
  batch.slices.forEach(({ lane, last, digest }, at) => {
    const rows = bySlice[at]?.sort((a, b) => a.sequence - b.sequence) ?? [];
    const key = laneKey({ writer: batch.writer, stream: batch.rules.stream }, lane);
    const list = slicesOf(stage, key);
    const slice = { last, digest, day, layout, from, rows };
    store.splice(list, { start: list.length, count: 0 }, slice);
  });
}

/** The slice whose rows a ledger row tells of; undefined where it is gone. */
export function findSlice(
  stage: SimulatedStage,
  key: string,
  { last, digest }: { readonly last: number; readonly digest: number },
): StagedSlice | undefined {
  const list = slicesOf(stage, key);
  const found = list[placeOf(list, last)];
  return found?.last === last && found.digest === digest ? found : undefined;
}

/** The place of the first slice that ends at `last` or later. */
export function placeOf(list: readonly StagedSlice[], last: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.last ?? 0) < last) low = middle + 1;
    else high = middle;
  }
  return low;
}

const partitionName = (stream: string, day: string): string =>
  `${stream}_p${day.replaceAll('-', '')}`;

export const daysOf = (store: SimulatedStore, stream: string): StagingDay[] =>
  (store.stages.get(stream)?.days ?? []).map((day) => ({ name: partitionName(stream, day), day }));

/** The rows of a day, lane by lane. */
function* rowsOf(store: SimulatedStore, stream: string, day: string) {
  const stage = store.stages.get(stream);
  if (!stage) return;
  for (const member of store.members(stream)) {
    for (const slice of stage.slices.get(member.key) ?? []) {
      if (slice.day !== day) continue;
      for (const row of slice.rows) yield { member, slice, row };
    }
  }
}

function isDone(store: SimulatedStore, { key }: Member, sequence: number): boolean {
  const staged = store.stagedLanes.get(key);
  // A lane that went over to the direct route has nothing that waits.
  if (!staged) return true;
  return sequence <= Math.min(staged.confirmed, store.lanes.get(key)?.settled ?? 0);
}

export function partitionsOf(
  store: SimulatedStore,
  stream: string,
  wallMs: number,
): StagingPartition[] {
  return daysOf(store, stream).map(({ name, day }) => {
    const rows = [...rowsOf(store, stream, day)];
    const isOpen = rows.some(({ member, row }) => !isDone(store, member, row.sequence));
    return { name, day, rows: rows.length, isConfirmed: day < dayOf(wallMs) && !isOpen };
  });
}

/** False where it is not confirmed, or has not just `rows`. */
export function dropDay(
  store: SimulatedStore,
  stream: string,
  of: { readonly name: string; readonly rows: number | undefined; readonly wallMs: number },
): boolean {
  const found = partitionsOf(store, stream, of.wallMs).find(({ name }) => name === of.name);
  const stage = store.stages.get(stream);
  if (!found?.isConfirmed || !stage) return false;
  if (of.rows !== undefined && of.rows !== found.rows) return false;
  for (const list of stage.slices.values()) {
    const left = list.filter(({ day }) => day !== found.day);
    if (left.length < list.length) store.splice(list, { start: 0, count: list.length }, ...left);
  }
  const days = stage.days.filter((day) => day !== found.day);
  store.set(store.stages, stream, { ...stage, days });
  return true;
}

export function archive(
  store: SimulatedStore,
  of: { readonly stream: string; readonly name: string },
  { from, rowsMax }: { readonly from: string; readonly rowsMax: number },
): ArchivePage {
  const day = daysOf(store, of.stream).find(({ name }) => name === of.name)?.day ?? '';
  const first = Number(from);
  const rows = [...rowsOf(store, of.stream, day)].slice(first, first + rowsMax);
  const lines = rows.map(({ member: { writer, lane }, slice, row }) => {
    const head = JSON.stringify({ writer, lane, sequence: row.sequence });
    return `${head.slice(0, -1)},"row":${stagedText(slice, row)}}`;
  });
  return { lines, next: lines.length < rowsMax ? undefined : String(first + lines.length) };
}
