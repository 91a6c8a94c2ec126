// Makes a checkout ready: `npm start`, `npm test` and `npm run holdfast` run this first.
// Plain JavaScript, because the machine's own Node.js may be too old for the rest of the checkout.
// Speaks on stderr only: stdout belongs to the program that follows.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const packagesIn = (lockfile) => JSON.parse(readFileSync(lockfile, 'utf8')).packages;

/** Whether node_modules holds what package-lock.json asks for. npm writes its own record last. */
function isInstalled() {
  if (!existsSync('node_modules/.package-lock.json')) return false;
  const wanted = packagesIn('package-lock.json');
  const found = packagesIn('node_modules/.package-lock.json');
  const matches = (path) =>
    found[path].version === wanted[path]?.version &&
    found[path].integrity === wanted[path].integrity;
  const isPresent = (path) => path === '' || path in found || wanted[path].optional;
  return Object.keys(found).every(matches) && Object.keys(wanted).every(isPresent);
}

function install() {
  console.error('Installing what is missing with npm ci; about half a minute.');
  const command = 'npm ci --include=dev --include=optional --loglevel=error';
  const { status } = spawnSync(command, { shell: true, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}

/** Sources are TypeScript that Node.js runs as they are, from 22.18 on. */
function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const isOwn = existsSync('node_modules/.bin/node') || existsSync('node_modules/.bin/node.cmd');
  if (isOwn || major > 22 || (major === 22 && minor >= 18)) return;
  console.error(`A checkout needs Node.js 22.18 or later; this is ${process.version}.`);
  process.exit(1);
}

if (!isInstalled()) install();
checkNode();
