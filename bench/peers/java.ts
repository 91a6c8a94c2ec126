// What of the peers runs on a JVM: their jars from Maven Central, fetched once a machine and pom.xml
// into the temporary folder. Wants Java 17 and, for the first time, Maven.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { madeOnceFolder, onlyOnce } from '../../test/support/machine.ts';

const run = promisify(execFile);

const source = join(import.meta.dirname, 'jvm');
const fetchMsMax = 600_000;

export type Jars = 'kafka' | 'flink';

/** The class path of one of jvm/: its jars and, where it has sources, what they compile to. */
export async function classPath(name: Jars): Promise<string> {
  const folder = join(source, name);
  const files = (await readdir(folder)).sort();
  const digest = createHash('sha256');
  for (const file of files) digest.update(await readFile(join(folder, file)));
  const key = digest.digest('hex').slice(0, 16);
  const home = await onlyOnce(join(madeOnceFolder, `holdfast-peers-${name}-${key}`), async (to) => {
    await cp(folder, to, { recursive: true });
    const of = { cwd: to, timeout: fetchMsMax };
    const copy = ['-DoutputDirectory=jars', '-DincludeScope=runtime'];
    await run('mvn', ['-q', '-B', 'dependency:copy-dependencies', ...copy], of);
    const sources = files.filter((file) => file.endsWith('.java'));
    if (sources.length > 0) await run('javac', ['-cp', 'jars/*', '-d', 'classes', ...sources], of);
  });
  return `${join(home, 'jars')}/*:${join(home, 'classes')}`;
}

/** Why it cannot be had here; undefined: it can. */
export async function lackOfJars(name: Jars): Promise<string | undefined> {
  try {
    await run('java', ['-version']);
    await classPath(name);
    return undefined;
  } catch (error) {
    return `It wants Java 17 and, for the first time, Maven. ${String(error)}`;
  }
}

/** Lines of a properties file. */
export const properties = (of: { readonly [name: string]: string | number | boolean }): string =>
  Object.entries(of)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');

export const jdbcUrl = (url: string): string => {
  const { hostname, port, pathname, username } = new URL(url);
  return `jdbc:postgresql://${hostname}:${port}${pathname}?user=${username}&reWriteBatchedInserts=true`;
};
