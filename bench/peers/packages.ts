// The npm packages of the peers: no dependencies of Holdfast, but fetched with `npm ci` when they
// are first asked for, once a machine and lock, into the temporary folder.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { madeOnceFolder, onlyOnce } from '../../test/support/machine.ts';

const run = promisify(execFile);

const source = join(import.meta.dirname, 'npm');
const installMsMax = 180_000;

async function home(): Promise<string> {
  const digest = createHash('sha256');
  for (const file of ['package-lock.json', 'load.js']) {
    digest.update(await readFile(join(source, file)));
  }
  const name = `holdfast-peers-npm-${digest.digest('hex').slice(0, 16)}`;
  return onlyOnce(join(madeOnceFolder, name), async (folder) => {
    await cp(source, folder, { recursive: true });
    const quietly = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    await run('npm', ['ci', ...quietly], { cwd: folder, timeout: installMsMax });
  });
}

/** Why the packages cannot be had here; undefined: they can. */
export async function lackOfPackages(): Promise<string | undefined> {
  try {
    await home();
    return undefined;
  } catch (error) {
    return `npm ci of bench/peers/npm failed. ${String(error)}`;
  }
}

/** What the package exports; the caller says what that is. */
export async function loadPackage<Exports>(name: string): Promise<Exports> {
  const { load } = (await import(pathToFileURL(join(await home(), 'load.js')).href)) as {
    load: (name: string) => Promise<Exports>;
  };
  return load(name);
}
