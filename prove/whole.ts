// `npm run prove`: all campaigns at their long counts, in parts of their own seeds, each in a
// process of its own. As long as the sources are the same, parts add up (parts.ts). At the end the
// summary is written to docs/proof.md and docs/proof.json.
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describeMachine } from '../bench/machine.ts';
import type { Campaign, CampaignResult } from './campaign.ts';
import { nextSeed, Parts, proved, runsOf, sourceDigest } from './parts.ts';
import { withPromise } from './promise.ts';
import { type Proof, type Sum, summary } from './summary.ts';

const root = join(import.meta.dirname, '..');
const proofPath = join(root, 'docs/proof.json');
const partsAtOnce = 2;

export interface WholeOptions {
  readonly campaigns: readonly Campaign[];
  /** Of each campaign's long count; 1 is all of it, 0 only writes down what was done. */
  readonly share: number;
  /** Only parts of this campaign are done; all that was done before is written down. */
  readonly only?: string;
  readonly say: (text: string) => void;
}

const git = (...args: readonly string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();

function add(name: string, parts: readonly CampaignResult[]): Sum {
  const seen: Record<string, number> = {};
  for (const part of parts) {
    for (const [what, count] of Object.entries(part.seen)) seen[what] = (seen[what] ?? 0) + count;
  }
  const most: Record<string, number> = {};
  for (const [what, measured] of parts.flatMap((part) => Object.entries(part.most ?? {}))) {
    most[what] = Math.max(most[what] ?? measured, measured);
  }
  const sum = (of: (part: CampaignResult) => number): number =>
    parts.reduce((total, part) => total + of(part), 0);
  return {
    name,
    runs: sum(({ runs }) => runs),
    lost: sum(({ lost }) => lost),
    doubled: sum(({ doubled }) => doubled),
    vacuous: sum(({ vacuous }) => vacuous),
    // A kept seed is asked again by each part.
    failed: [...new Set(parts.flatMap(({ failed }) => [...failed]))],
    reduced: [...new Set(parts.flatMap(({ reduced }) => [...reduced]))],
    seen,
    ...(Object.keys(most).length > 0 && { most }),
    seconds: Math.round(sum(({ seconds }) => seconds)),
    nextSeed: nextSeed(parts),
  };
}

interface Job {
  readonly campaign: Campaign;
  readonly count: number;
  readonly seed: number;
}

/**
 * The parts of a campaign that are still to be done; their seeds are new. Each is a whole one: one
 * cut short may be too small to see what a campaign has to see.
 */
function jobsOf(campaign: Campaign, count: number, done: readonly CampaignResult[]): Job[] {
  const { countPart } = campaign;
  if (count === 0) return [];
  // Without parts it is done whole, or not at all.
  if (countPart === undefined) {
    return done.length > 0 ? [] : [{ campaign, count: campaign.countLong, seed: 1 }];
  }
  const jobs: Job[] = [];
  let seed = nextSeed(done);
  let left = count - runsOf(done);
  for (; left > 0; left -= countPart) {
    jobs.push({ campaign, count: countPart, seed });
    seed += countPart;
  }
  return jobs;
}

function runJob({ campaign, count, seed }: Job): Promise<CampaignResult> {
  const args = [
    'prove/main.ts',
    campaign.name,
    '--json',
    '--count',
    `${count}`,
    '--seed',
    `${seed}`,
  ];
  return new Promise((resolve, reject) => {
    const options = { cwd: root, maxBuffer: 64 * 1024 * 1024 };
    execFile(process.execPath, args, options, (_, stdout, stderr) => {
      const line = stdout.split('\n').find((text) => text.startsWith('{"name":'));
      if (line) resolve(JSON.parse(line) as CampaignResult);
      else reject(new Error(`${args.join(' ')} gave no result: ${stderr.slice(-2_000)}`));
    });
  });
}

/** How far it is, and how long it will take by what the parts so far took. */
function progress(jobs: readonly Job[], done: ReadonlyMap<Job, number>): string {
  const weight = ({ campaign, count }: Job): number => count / campaign.countLong;
  const sum = (some: readonly Job[]): number => some.reduce((total, job) => total + weight(job), 0);
  const finished = jobs.filter((job) => done.has(job));
  const share = sum(finished) / Math.max(sum(jobs), Number.EPSILON);
  const spentS = [...done.values()].reduce((total, seconds) => total + seconds, 0) / partsAtOnce;
  const leftMinutes = Math.ceil((spentS * (1 / Math.max(share, 0.001) - 1)) / 60);
  return `${Math.round(share * 100)} %, about ${leftMinutes} min to go`;
}

export async function proveAll({ campaigns, share, only, say }: WholeOptions): Promise<number> {
  const sources = sourceDigest();
  const parts = new Parts({ sources, campaigns, proofPath });
  const counts = new Map(campaigns.map((one) => [one, Math.ceil(one.countLong * share)] as const));
  const jobs = [...counts]
    .filter(([{ name }]) => only === undefined || name === only)
    .flatMap(([campaign, count]) => jobsOf(campaign, count, parts.of(campaign.name)));
  const done = new Map<Job, number>();
  // The longest is the first of the list: all others are done before it, wherever it is stopped.
  const waiting = jobs.toReversed();
  const work = async (): Promise<void> => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const result = await runJob(job).catch((error: unknown) => {
        // It is missing in the sum, and done again the next time.
        say(error instanceof Error ? error.message : String(error));
        return undefined;
      });
      if (!result) continue;
      parts.add(result);
      done.set(job, result.seconds);
      const { name, runs, lost, doubled, failed, seconds } = result;
      const faults = `lost ${lost}, doubled ${doubled}, failed ${failed.length}`;
      say(`${name}, seed ${job.seed}: ${runs} in ${seconds} s, ${faults}; ${progress(jobs, done)}`);
    }
  };
  await Promise.all(Array.from({ length: partsAtOnce }, work));
  const sums = campaigns.map(({ name }) => add(name, parts.of(name)));
  const proof: Proof = {
    commit: git('rev-parse', 'HEAD'),
    sources,
    isCommitted: git('status', '--porcelain', '--', ...proved) === '',
    date: new Date().toISOString().slice(0, 10),
    machine: describeMachine(),
    sums,
    short: campaigns.filter(({ name, countLong }) => runsOf(parts.of(name)) < countLong),
    units: new Map(campaigns.map(({ name, unit }) => [name, unit])),
  };
  const { json, text, isFine } = summary(proof);
  writeFileSync(proofPath, `${JSON.stringify(json, null, 2)}\n`);
  writeFileSync(join(root, 'docs/proof.md'), text);
  const readme = join(root, 'README.md');
  writeFileSync(readme, withPromise(readFileSync(readme, 'utf8'), json));
  say(text);
  return isFine ? 0 : 1;
}
