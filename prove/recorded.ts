// The simulated disk against the real one. The same seed is lived through on both: the operations
// must be the same, byte for byte, and the kernel must have been asked for just these (strace).
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { deserialize } from 'node:v8';
import { directory } from '../test/support/process-world.ts';
import type { Logged, Operation } from './disk-log.ts';

const child = join(import.meta.dirname, 'recorded-child.ts');
const run = promisify(execFile);

export interface Recorded {
  readonly entries: readonly Logged[];
  /** What the kernel was asked for; undefined where strace cannot be had. */
  readonly calls: readonly string[] | undefined;
}

/** A shell that has strace attached to itself, and ends well once it is traced. */
const traceMe = `
  isTraced() { grep -q "^TracerPid:.[1-9]" /proc/$$/status; }
  strace -qq -o /dev/null -p $$ &
  until isTraced; do kill -0 $! || exit 1; sleep 0.01; done`;

/** Whether it is there, and a process may have it attached to itself. */
export async function hasStrace(): Promise<boolean> {
  try {
    await run('sh', ['-c', traceMe]);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return false;
    throw error;
  }
}

const traced = 'openat,pwrite64,write,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat';

/** Lives a seed through on the real disk, in a process of its own. */
export async function recordReal(seed: number, isTraced: boolean): Promise<Recorded> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-recorded-'));
  const trace = join(folder, 'calls');
  const own = [process.execPath, child, folder, String(seed)];
  const strace = ['strace', '-f', '-y', '-qq', '-s', '0', '-e', `trace=${traced}`, '-o', trace];
  const [command = '', ...args] = isTraced ? [...strace, ...own] : own;
  try {
    // io_uring would pass by strace.
    await run(command, args, { env: { ...process.env, UV_USE_IO_URING: '0' } });
    const entries = deserialize(readFileSync(join(folder, 'log'))) as Logged[];
    const calls = isTraced ? callsIn(readFileSync(trace, 'utf8'), folder) : undefined;
    return { entries, calls };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** SQLite's own files, and what is only announced. */
const isForeign = (name: string): boolean => /^(?:lock|requests\.db)/.test(name);

/** The calls on files of the journal's directory, as `lines` has operations. */
function callsIn(trace: string, folder: string): string[] {
  const root = join(folder, directory);
  const calls: string[] = [];
  const add = (path: string | undefined, line: (name: string) => string): void => {
    if (path === root) calls.push('sync directory');
    else if (path?.startsWith(`${root}/`) && !isForeign(basename(path))) {
      calls.push(line(basename(path)));
    }
  };
  // A call that another thread's interrupts is printed in two parts.
  const begun = new Map<string, string>();
  for (const text of trace.split('\n')) {
    const [, thread = '', rest = ''] = /^(\d+)\s+(.*)$/.exec(text) ?? [];
    if (rest.endsWith('<unfinished ...>')) {
      begun.set(thread, rest.replace(/\s*<unfinished \.\.\.>$/, ''));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)?.[1];
    const call = resumed === undefined ? rest : `${begun.get(thread) ?? ''}${resumed}`;
    if (/= -1 /.test(call)) continue;
    const created = /^openat\(.*?"([^"]*)".*O_CREAT.*O_EXCL/.exec(call);
    if (created) add(created[1], (name) => `create ${name}`);
    const written = /^pwrite64\(\d+<([^>]*)>, .*, (\d+), (\d+)\)/.exec(call);
    if (written) add(written[1], (name) => `write ${name} ${written[3]}+${written[2]}`);
    if (/^write\(\d+<.*\.(?:segment|tmp)>/.test(call))
      calls.push(`a write without a place: ${call}`);
    const synced = /^f(?:data)?sync\(\d+<([^>]*)>\)/.exec(call);
    if (synced) add(synced[1], (name) => `sync ${name}`);
    const renamed = /^rename\w*\(.*?"([^"]*)".*?"([^"]*)"/.exec(call);
    if (renamed) add(renamed[2], (name) => `rename ${basename(renamed[1] ?? '')} ${name}`);
    const removed = /^unlink\w*\(.*?"([^"]*)"/.exec(call);
    if (removed) add(removed[1], (name) => `remove ${name}`);
  }
  return withoutRepeats(calls);
}

/** A file of zeros is synced twice, with and without its size: for us that is one sync. */
const withoutRepeats = (lines: readonly string[]): string[] =>
  lines.filter((line, i) => !line.startsWith('sync ') || line !== lines[i - 1]);

/** The operations of a log, one line each, by the names that the files have at the time. */
function lines(entries: readonly Logged[]): string[] {
  const names = new Map<number, string>();
  const line = (one: Operation): string => {
    switch (one.kind) {
      case 'create':
        names.set(one.file, basename(one.path));
        return `create ${basename(one.path)}`;
      case 'write':
        return `write ${names.get(one.file)} ${one.position}+${one.bytes.length}`;
      case 'sync':
        return `sync ${names.get(one.file)}`;
      case 'rename': {
        const [from, to] = [basename(one.from), basename(one.to)];
        for (const [file, name] of names) if (name === from) names.set(file, to);
        return `rename ${from} ${to}`;
      }
      case 'remove':
        return `remove ${basename(one.path)}`;
      case 'syncDirectory':
        return 'sync directory';
    }
  };
  return withoutRepeats(entries.flatMap((entry) => (entry.kind === 'mark' ? [] : [line(entry)])));
}

/** Where the two logs differ first; undefined where they do the same, byte for byte. */
export function firstDifference(a: readonly Logged[], b: readonly Logged[]): string | undefined {
  // The number of an owner's process may have more digits than another's.
  const comparable = (line: string): string =>
    line.startsWith('write owner') ? line.replace(/\d+$/, 'all') : line;
  const [linesA, linesB] = [lines(a).map(comparable), lines(b).map(comparable)];
  const at = linesA.findIndex((line, i) => line !== linesB[i]);
  if (at >= 0 || linesA.length !== linesB.length) {
    return `operation ${at}: "${linesA[at]}" and "${linesB[at]}"`;
  }
  const others = contents(b);
  const different = contents(a).findIndex(
    (bytes, i) => Buffer.compare(bytes, others[i] ?? new Uint8Array(0)) !== 0,
  );
  return different < 0 ? undefined : `the bytes of write ${different}`;
}

/** What was written, in order, but for who the owner is. */
function contents(log: readonly Logged[]): Uint8Array[] {
  const owners = new Set<number>();
  return log.flatMap((entry) => {
    if (entry.kind === 'create' && entry.path.includes('owner')) owners.add(entry.file);
    return entry.kind === 'write' && !owners.has(entry.file) ? [entry.bytes] : [];
  });
}

/** Zeroing goes on beside all else, on threads of its own. */
const isZeroing = (line: string): boolean => /^(?:create|write|sync) spare-\d+\.tmp/.test(line);

/**
 * Where the kernel was asked for something else than the log says; undefined where it was not.
 * SQLite syncs the directory for its own files, too.
 */
export function firstUnasked(entries: readonly Logged[], calls: readonly string[]) {
  const logged = lines(entries);
  for (const isOurs of [isZeroing, (line: string) => !isZeroing(line)]) {
    const asked = calls.filter(isOurs);
    let at = 0;
    for (const line of logged.filter(isOurs)) {
      while (line !== asked[at] && asked[at] === 'sync directory') at++;
      if (line !== asked[at]) return `"${line}" where the kernel was asked for "${asked[at]}"`;
      at++;
    }
    const more = asked.slice(at).find((call) => call !== 'sync directory');
    if (more !== undefined) return `"${more}" beside the log`;
  }
  return undefined;
}
