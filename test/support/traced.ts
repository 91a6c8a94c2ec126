// A process that has strace attached to itself once its modules are loaded: under strace each call
// to the kernel costs two stops, and a start of Node makes thousands that nobody asks about.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';

/** The arguments of strace, as JSON. */
const variable = 'HOLDFAST_STRACE';

/** For the environment of a process that calls `beTraced`. */
export const tracedBy = (args: readonly string[]): NodeJS.ProcessEnv => ({
  [variable]: JSON.stringify(args),
});

const isTraced = (thread: string): boolean =>
  /^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/self/task/${thread}/status`, 'utf8'));

/**
 * Resolves once each thread of this process is traced, where its environment asks for that. strace
 * holds its output until it ends: who reads that to its end has all that was traced.
 */
export async function beTraced(): Promise<void> {
  const given = process.env[variable];
  if (given === undefined) return;
  const args = [...(JSON.parse(given) as string[]), '-p', String(process.pid)];
  const strace = spawn('strace', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  strace.unref();
  const refused = once(strace, 'exit').then(() => {
    throw new Error('strace ended before the process that it was to trace');
  });
  const attached = (async () => {
    while (!readdirSync('/proc/self/task').every(isTraced)) await pause(1);
  })();
  await Promise.race([attached, refused]);
  // Once attached, it ends with this process.
  refused.catch(() => undefined);
}
