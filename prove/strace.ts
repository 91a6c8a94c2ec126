// strace around a real process: what it asks of the kernel on files of one folder, and the k-th
// such call made to fail, to be late, or to be the last thing that the process does.
//
// Four things to know (RELIABILITY §2.1). Calls are counted per thread and per kind of call: one
// pool thread only. `--seccomp-bpf` injects nothing. Without paths, Node's own eventfd is hit. A
// call that is made to fail is not made: its bytes stay in the page cache.
import { join } from 'node:path';

/** Each call by which files, or names of files, are changed; as Node and SQLite use them. */
const changingCalls = [
  'openat',
  'pwrite64',
  'write',
  'writev',
  'pwritev',
  'fdatasync',
  'fsync',
  'ftruncate',
  'rename',
  'unlink',
  'mkdir',
] as const;

export type ChangingCall = (typeof changingCalls)[number];

export interface Injection {
  readonly call: ChangingCall;
  /** The how manieth of a thread it strikes, from 1. */
  readonly at: number;
  /** And all after it. */
  readonly isLasting?: boolean;
  /** In strace's words: signal=KILL, error=EIO, delay_enter=1000000. */
  readonly effect: string;
}

/** More numbers than the files of a campaign's journals have. */
const numbersMax = 40;

const padded = (number: number): string => String(number).padStart(10, '0');

/** The journal's directory and what may stand in it, but for SQLite's own files. */
export function journalPaths(folder: string): string[] {
  const directory = join(folder, 'journal');
  const files = ['owner.json', 'owner.json.tmp'];
  for (let number = 1; number <= numbersMax; number++) {
    const spare = `spare-${padded(number)}`;
    const segment = `${padded(number)}.segment`;
    files.push(spare, `${spare}.tmp`, segment, `${segment}.tmp`);
  }
  return [directory, ...files.map((name) => join(directory, name))];
}

/** The databases: of requests, of the lock, and the target. */
export function databasePaths(folder: string): string[] {
  const files = ['journal/requests.db', 'journal/lock', 'shop.db'];
  return files.flatMap((name) => ['', '-wal', '-journal'].map((end) => join(folder, name + end)));
}

const onPaths = (paths: readonly string[]): string[] => paths.flatMap((path) => ['-P', path]);

/** Arguments of strace: writes the calls on these paths to a file. */
export const tracing = (paths: readonly string[], into: string): string[] => [
  ...['-f', '-qq', '-s', '0', '-o', into, '-e', `trace=${changingCalls.join(',')}`],
  ...onPaths(paths),
];

/**
 * Arguments of strace: one call is struck. Writes to a file, where one is named, what it did to
 * whom: `wasStruck` reads it.
 */
export function injecting(
  paths: readonly string[],
  injection: Injection,
  into = '/dev/null',
): string[] {
  const { call, at, isLasting = false, effect } = injection;
  const inject = `inject=${call}:${effect}:when=${at}${isLasting ? '+' : ''}`;
  return [
    ...['-f', '-qq', '-s', '0', '-o', into, '-e', `trace=${call}`, '-e', inject],
    ...onPaths(paths),
  ];
}

/**
 * By call, the how manieth ones of a thread change something: of `openat`, those that may create a
 * file.
 */
export function changingPlaces(trace: string): ReadonlyMap<ChangingCall, readonly number[]> {
  const made = new Map<string, number>();
  const places = new Map<ChangingCall, Set<number>>();
  for (const line of trace.split('\n')) {
    const [, thread = '', name = ''] = /^(\d+) +([a-z]\w*)\(/.exec(line) ?? [];
    const call = changingCalls.find((own) => own === name);
    if (call === undefined) continue;
    const at = (made.get(`${thread} ${name}`) ?? 0) + 1;
    made.set(`${thread} ${name}`, at);
    if (call === 'openat' && !line.includes('O_CREAT')) continue;
    places.set(call, (places.get(call) ?? new Set()).add(at));
  }
  return new Map([...places].map(([call, at]) => [call, [...at].sort((a, b) => a - b)]));
}

/** Whether a call was met: the same life makes a few calls more or less each time. */
export const wasStruck = (trace: string): boolean => trace.includes('(INJECTED)');
