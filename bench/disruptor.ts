// The LMAX Disruptor's own rate, beside which bench ring stands: its jar from Maven Central, fetched
// once for a machine into the temporary folder, and disruptor/Records.java. Wants Java 11 or later
// and, for the first time, Maven.
import { execFile, execFileSync, type StdioOptions } from 'node:child_process';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const version = '4.0.0';
const jar = join(tmpdir(), `holdfast-disruptor-${version}.jar`);
const program = join(import.meta.dirname, 'disruptor/Records.java');
const runMsMax = 120_000;

/** Slots of its ring, where it was fastest (65,536 was as fast, and less even). */
const slots = 4096;

/** Why it cannot be had here; undefined: it can. */
export function lackOfDisruptor(): string | undefined {
  try {
    execFileSync('java', ['-version'], { stdio: 'ignore' });
    if (!existsSync(jar)) fetchJar();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function fetchJar(): void {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-fetch-'));
  try {
    const artifact = `-Dartifact=com.lmax:disruptor:${version}`;
    const output = `-DoutputDirectory=${folder}`;
    const stdio: StdioOptions = ['ignore', 2, 2];
    execFileSync('mvn', ['-q', '-B', 'dependency:copy', artifact, output], { cwd: folder, stdio });
    renameSync(join(folder, `disruptor-${version}.jar`), jar);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Records a second, one producer and one consumer, published one by one. */
export async function runDisruptor(records: number): Promise<number> {
  const args = ['-cp', jar, program, String(records), String(slots)];
  const { stdout } = await run('java', args, { timeout: runMsMax });
  return Number(stdout);
}
