// Options: shapes, defaults, and every rule between them. All problems are reported at once, at
// open. The table of what each option means stands in options-table.ts; unknown names and wrong
// values are found by walking what was given against it, then the rules between options are asked.
import { HoldfastError } from './errors.ts';
import { limits } from './limits.ts';
import type { OnConflict } from './merge/batch.ts';
import { optionRules } from './options-rules.ts';
import { type OptionRow, optionTable } from './options-table.ts';
import type { Route } from './target/target.ts';

export interface StreamOptions {
  readonly table: string;
  /** Columns of a unique index over NOT NULL columns. Left out: the table has no unique key. */
  readonly key?: readonly string[];
  /** Column whose hash chooses the lane; only where order does not matter (P9). */
  readonly lane?: string;
  readonly lanes?: number;
  readonly onConflict?: OnConflict;
  readonly nonZero?: readonly string[];
  readonly inexact?: 'refuse' | 'round';
  readonly loaders?: number;
  readonly batchRowsMax?: number;
  /**
   * 'direct': a batch goes straight into the table. 'staged': it is first committed to a staging
   * table beside it, and merged from there by `mergers`, every `mergeEveryMs` or as soon as
   * `mergeRows` wait.
   */
  readonly route?: Route;
  /** 'unlogged' (PostgreSQL): a crash of the server empties it, and the journal fills it again. */
  readonly staging?: 'logged' | 'unlogged';
  readonly mergeEveryMs?: number;
  readonly mergeRows?: number;
  /** 0: this process only stages; others merge. */
  readonly mergers?: number;
  /** How long merged days of the staging table stay: '24h', '7d', or milliseconds. */
  readonly stagingRetention?: string | number;
}

export type Confirm = 'commit' | 'standby' | { readonly afterMs: number };

export interface TokenOptions {
  readonly token: string;
  /** Streams that it may write and read; absent: all. */
  readonly streams?: readonly string[];
  /** 'write', 'read', 'operate' (dead letters, verify); absent: all. */
  readonly rights?: readonly ('write' | 'read' | 'operate')[];
}

export interface ServerOptions {
  readonly host?: string;
  readonly port?: number;
  readonly tokens?: readonly TokenOptions[];
  /** Paths of PEM files. */
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly bodyBytesMax?: number;
  readonly requestMsMax?: number;
  readonly connectionsMax?: number;
  /** Threads that take requests; 0: the process's own does. */
  readonly workers?: number;
}

export interface JournalOptions {
  readonly bytesMax?: number;
  readonly memoryBytesMax?: number;
  readonly segmentBytes?: number;
  readonly retentionMsMin?: number;
  readonly retentionBytesMin?: number;
  readonly streamShareMax?: number;
}

export interface OpenOptions {
  /** Directory of the journal. */
  readonly journal: string;
  /** postgres://…, mysql://…, mariadb://…, sqlite:PATH */
  readonly target: string;
  readonly streams: { readonly [name: string]: StreamOptions };
  readonly confirm?: Confirm;
  readonly createTables?: boolean;
  readonly limits?: JournalOptions;
  readonly server?: ServerOptions;
  /** Which thread the loaders run on; 'worker' by default. */
  readonly loaderThread?: 'worker' | 'own';
}

type Filled<T, Open extends keyof T> = Required<Omit<T, Open>> & Pick<T, Open>;

/** A stream's options with every default filled in. `key` is empty where the table has none. */
export type StreamRules = Filled<StreamOptions, 'lane'>;

/** `OpenOptions`, checked, complete with defaults and frozen. */
export interface Options extends Required<Omit<OpenOptions, 'streams' | 'limits' | 'server'>> {
  readonly streams: { readonly [name: string]: StreamRules };
  /** Without `bytesMax`, the journal takes the smaller of 10 GiB and 80 % of what is free. */
  readonly limits: Filled<JournalOptions, 'bytesMax'>;
  readonly server: Filled<ServerOptions, 'tls'>;
}

export const defaults = {
  confirm: 'commit',
  createTables: true,
  loaderThread: 'worker',
  stream: {
    key: [],
    lanes: limits.lanesDefault,
    onConflict: 'dead-letter',
    nonZero: [],
    inexact: 'refuse',
    loaders: limits.loadersDefault,
    batchRowsMax: limits.batchRowsMax,
    route: 'direct',
    staging: 'logged',
    mergeEveryMs: limits.mergeEveryMs,
    mergeRows: limits.mergeRows,
    mergers: limits.mergersDefault,
    stagingRetention: '24h',
  },
  limits: {
    memoryBytesMax: limits.memoryBytesMax,
    segmentBytes: limits.segmentBytes,
    retentionMsMin: limits.retentionMsMin,
    retentionBytesMin: limits.retentionBytesMin,
    streamShareMax: limits.streamShareMax,
  },
  server: {
    host: '127.0.0.1',
    port: 8080,
    tokens: [],
    bodyBytesMax: limits.bodyBytesMax,
    requestMsMax: limits.requestMsMax,
    connectionsMax: limits.connectionsMax,
    workers: limits.workersDefault,
  },
} as const satisfies Omit<OpenOptions, 'journal' | 'target' | 'streams'> & {
  readonly stream: Partial<StreamOptions>;
};

/** Throws one HF_USAGE that lists every problem with its path. Nothing is opened or written. */
export function readOptions(input: unknown): Options {
  const problems: string[] = [];
  if (!isOpenOptions(input, problems)) throw usage(problems);
  const options = complete(input);
  problems.push(...optionRules(options));
  if (problems.length > 0) throw usage(problems);
  return freeze(options);
}

const usage = (problems: readonly string[]): HoldfastError =>
  new HoldfastError('HF_USAGE', problems.join('\n'));

/** Whether every option is known and has a fit value; says in `problems` which do not. */
function isOpenOptions(input: unknown, problems: string[]): input is OpenOptions {
  check({ value: input, path: '', pattern: '' }, problems);
  return problems.length === 0;
}

function complete(input: OpenOptions): Options {
  const { confirm, createTables, loaderThread } = defaults;
  const streams = Object.entries(input.streams).map(
    ([name, stream]) => [name, completeStream(stream)] as const,
  );
  return {
    confirm,
    createTables,
    loaderThread,
    ...provided(input),
    streams: Object.fromEntries(streams),
    limits: { ...defaults.limits, ...provided(input.limits ?? {}) },
    server: { ...defaults.server, ...provided(input.server ?? {}) },
  };
}

function completeStream(given: StreamOptions): StreamRules {
  const isStaged = given.route === 'staged';
  const batchRowsMax = isStaged ? limits.stageRowsMax : defaults.stream.batchRowsMax;
  const stream = { ...defaults.stream, batchRowsMax, ...provided(given) };
  // One loader a lane is the most that can work.
  const loaders = given.loaders ?? Math.min(defaults.stream.loaders, stream.lanes);
  return { ...stream, loaders };
}

/** Without the members that are undefined: those take the default. */
const provided = <T extends object>(given: T): T =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;

/** A deep copy that cannot be changed. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  const copy: object = Array.isArray(value)
    ? value.map(freeze)
    : Object.fromEntries(Object.entries(value).map(([name, own]) => [name, freeze(own)]));
  return Object.freeze(copy) as T;
}

/** A value, where it stands for the user, and where it stands in the table ('*' for any name). */
interface Place {
  readonly value: unknown;
  readonly path: string;
  readonly pattern: string;
}

const join = (...names: readonly string[]): string => names.filter((name) => name !== '').join('.');

function check(place: Place, problems: string[]): void {
  const { value, path, pattern } = place;
  const row = optionTable.find((known) => known.path === pattern);
  if (row?.fits) {
    const problem = row.fits(value);
    if (problem !== undefined) problems.push(`${path}: ${problem}`);
  } else if (row?.isList) {
    if (!Array.isArray(value)) problems.push(`${path}: must be a list`);
    else {
      for (const [i, own] of value.entries()) {
        check({ value: own, path: `${path}[${i}]`, pattern: `${pattern}.*` }, problems);
      }
    }
  } else checkNames(place, problems);
}

/**
 * Of an object: that it is one, that its names are known, that none is missing; then its members.
 */
function checkNames({ value, path, pattern }: Place, problems: string[]): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${path || 'options'}: must be an object`);
    return;
  }
  const members = new Map<string, unknown>(Object.entries(value));
  const children = childrenOf(pattern);
  const isOpen = children.has('*');
  for (const [name, own] of members) {
    const place = {
      value: own,
      path: join(path, name),
      pattern: join(pattern, isOpen ? '*' : name),
    };
    if (!isOpen && !children.has(name)) {
      problems.push(`${place.path}: unknown option${suggestion(name, [...children.keys()])}`);
    } else if (own !== undefined) check(place, problems);
  }
  for (const [name, row] of children) {
    if (row?.isRequired && members.get(name) === undefined) {
      problems.push(`${join(path, name)}: is missing; ${row.meaning}`);
    }
  }
}

type Children = ReadonlyMap<string, OptionRow | undefined>;
const childrenKnown = new Map<string, Children>();

/** What may stand directly under a pattern, by name. */
function childrenOf(pattern: string): Children {
  const children = childrenKnown.get(pattern) ?? findChildren(pattern);
  childrenKnown.set(pattern, children);
  return children;
}

function findChildren(pattern: string): Children {
  const depth = pattern === '' ? 0 : pattern.split('.').length;
  const children = new Map<string, OptionRow | undefined>();
  for (const row of optionTable) {
    const names = row.path.split('.');
    const name = names[depth];
    if (name === undefined || names.slice(0, depth).join('.') !== pattern) continue;
    children.set(name, names.length === depth + 1 ? row : children.get(name));
  }
  return children;
}

/** `; did you mean "…"?` where a known name is close to the one given, else ''. */
export function suggestion(given: string, known: readonly string[]): string {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(given.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  const isClose = best && best.distance <= Math.max(1, Math.floor(given.length / 3));
  return isClose ? `; did you mean "${best.name}"?` : '';
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      current[j] = Math.min(replaced, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1);
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}
