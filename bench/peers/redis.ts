// A Redis of the bench's own, behind a socket in its folder: every write is synced to its append-only
// file before it is answered (`appendfsync always`), so that an answer means disk as with the
// others. As it comes it keeps no such file; BullMQ's documents recommend one that is synced every
// second, which is faster and loses that second when the machine goes down.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ground } from '../ground.ts';
import type { Program } from '../program.ts';

const startMsMax = 10_000;
const pollMs = 20;

export interface Redis {
  readonly program: Program;
  readonly socket: string;
}

export function lackOfRedis(): string | undefined {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return undefined;
  } catch {
    return 'It wants redis-server (Debian: apt-get install redis-server).';
  }
}

/** `name`: of its folder. */
export async function startRedis(ground: Ground, name: string): Promise<Redis> {
  const folder = join(ground.folder, name);
  mkdirSync(folder);
  const socket = join(folder, 'socket');
  const settings = {
    port: '0',
    unixsocket: socket,
    dir: folder,
    save: '',
    appendonly: 'yes',
    appendfsync: 'always',
    'maxmemory-policy': 'noeviction',
  };
  const args = Object.entries(settings).flatMap(([setting, value]) => [`--${setting}`, value]);
  const log = join(folder, 'log');
  const program = ground.program({ command: 'redis-server', args, cwd: folder, log });
  const giveUpAt = performance.now() + startMsMax;
  while (!existsSync(socket)) {
    program.check();
    if (performance.now() > giveUpAt) throw new Error('Redis does not start');
    await sleep(pollMs);
  }
  return { program, socket };
}
