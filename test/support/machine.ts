// What the servers that tests start have in common: ports, users, folders that are made once.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';

/** Where what is made once a machine is kept; processes with folders of their own share it. */
export const madeOnceFolder = process.env['HOLDFAST_MADE_ONCE'] ?? tmpdir();

const isRoot = process.getuid?.() === 0;

/** Servers refuse to run as root: the user they run as then. */
export function ownerOf(user: string): { uid?: number; gid?: number } {
  if (!isRoot) return {};
  const number = (flag: string): number =>
    Number(execFileSync('id', [flag, user], { encoding: 'utf8' }));
  return { uid: number('-u'), gid: number('-g') };
}

/** `make` fills a new folder, which gets its name when it is whole: several processes may come. */
export async function onlyOnce(
  home: string,
  make: (folder: string) => Promise<void>,
): Promise<string> {
  if (existsSync(home)) return home;
  const folder = await mkdtemp(`${home}.`);
  await make(folder);
  try {
    await rename(folder, home);
  } catch (error) {
    // Another process was first; its folder is as good.
    assert(existsSync(home), error as Error);
    await rm(folder, { recursive: true });
  }
  return home;
}

/** Linux gives connections that go out the ports from 32,768 on. */
const ports = { first: 10_000, end: 32_000 };

/** Free now, and none that a connection could take while its server is away for a moment. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(ports.first, ports.end);
    const server = createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch (error) {
      const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (isTaken) continue;
      throw error;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
