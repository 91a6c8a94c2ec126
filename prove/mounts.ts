// Mounts and loop devices for proofs that need a real file system, and their end: each process has
// one folder, under which all of them lie, and which is cleared when it leaves. What a process left
// that was killed is cleared away by the next one.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const prefix = 'holdfast-mounts-';
const runFile = promisify(execFile);

/** Rejects with what the command wrote to stderr where it fails. */
export async function run(command: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await runFile(command, args);
  return stdout;
}

/** Why nothing can be mounted here; undefined where it can. */
export function whyNoMounts(commands: readonly string[]): string | undefined {
  if (process.getuid?.() !== 0) return 'not root: nothing can be mounted';
  const devices = ['/dev/fuse', '/dev/loop-control'].filter((path) => !existsSync(path));
  if (devices.length > 0) return `there is no ${devices.join(', no ')}`;
  const folders = (process.env['PATH'] ?? '').split(':');
  const missing = commands.filter((name) => !folders.some((path) => existsSync(join(path, name))));
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  const folder = mountFolder();
  const tried = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', folder], { encoding: 'utf8' });
  if (tried.status !== 0) return `nothing can be mounted: ${tried.stderr.trim()}`;
  execFileSync('umount', [folder]);
  return undefined;
}

/** Where the mounts of this process lie; cleared when it leaves, however it is asked to. */
export function mountFolder(): string {
  const path = join(tmpdir(), `${prefix}${process.pid}`);
  if (existsSync(path)) return path;
  clearLeftovers();
  mkdirSync(path);
  process.once('exit', () => clearAway(path));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => process.exit(1));
  }
  return path;
}

/** Clears folders whose process is no more. */
function clearLeftovers(): void {
  for (const name of readdirSync(tmpdir())) {
    const isDead = name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`);
    if (isDead) clearAway(join(tmpdir(), name));
  }
}

/** Unmounts what lies under a folder, newest first, lets go of its loop devices, removes it. */
export function clearAway(folder: string): void {
  for (const path of mountsUnder(folder).reverse()) {
    // What stands above a dead disk may be unable to sync; it is let go of lazily.
    execFileSync('umount', ['--lazy', path], { stdio: 'ignore' });
  }
  for (const { device } of loopsUnder(folder)) {
    execFileSync('losetup', ['--detach', device], { stdio: 'ignore' });
  }
  rmSync(folder, { recursive: true, force: true });
}

function mountsUnder(folder: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  return lines.flatMap((line) => {
    const path = line.split(' ')[4] ?? '';
    return path.startsWith(`${folder}/`) ? [path] : [];
  });
}

/** The loop devices on files under a folder, or on one file. */
function loopsUnder(path: string): { readonly device: string; readonly file: string }[] {
  return readdirSync('/sys/block').flatMap((name) => {
    const file = name.startsWith('loop') ? fileOf(name) : undefined;
    const isUnder = file === path || file?.startsWith(`${path}/`);
    return file !== undefined && isUnder ? [{ device: `/dev/${name}`, file }] : [];
  });
}

/** The file of a loop device. Others let go of theirs at any time, also while this is read. */
function fileOf(loop: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${loop}/loop/backing_file`, 'utf8').trim();
  } catch (error) {
    if (error instanceof Error && /^(ENOENT|ENODEV)/.test(error.message)) return undefined;
    throw error;
  }
}

/** Mounts an image on a loop device of its own, which goes with the mount. */
export async function mountImage(image: string, path: string): Promise<void> {
  // Else mount would take the device that is still there, with what it remembers.
  while (loopsUnder(image).length > 0) await pause(5);
  await run('mount', '-o', 'loop,noatime', image, path);
}

/** Mounts a folder in memory. */
export async function mountMemory(path: string, bytes: number): Promise<void> {
  mkdirSync(path, { recursive: true });
  await run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path);
}

const unmountTries = 200;

/** Processes that were killed may hold it for a moment yet. */
export async function unmount(path: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await run('umount', path);
      return;
    } catch (error) {
      const isBusy = error instanceof Error && error.message.includes('busy');
      if (!isBusy || tries === unmountTries) throw error;
      await pause(10);
    }
  }
}
