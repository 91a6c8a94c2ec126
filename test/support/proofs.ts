// A campaign as a test: nothing lost, nothing doubled, nothing failed, and enough of it done.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import type { Campaign, CampaignOptions, CampaignResult } from '../../prove/campaign.ts';

/** Runs the short version; says what was seen where it fails. */
export async function proved(
  campaign: Campaign,
  options: Partial<CampaignOptions> = {},
): Promise<CampaignResult> {
  const result = await campaign.run({ seed: 1, isShort: true, ...options });
  const { lost, doubled, failed, runs, seen, reduced } = result;
  assert.deepEqual(failed, [], JSON.stringify(seen));
  assert.deepEqual({ lost, doubled }, { lost: 0, doubled: 0 });
  // What this machine lacks may leave nothing to be run.
  const isLeftOut = runs === 0 && reduced.length > 0;
  assert(isLeftOut || runs >= campaign.countShort, `${runs} runs of ${campaign.countShort}`);
  for (const why of reduced) process.stderr.write(`REDUCED: ${campaign.name}: ${why}\n`);
  return result;
}

/**
 * Most of what a simulated world makes is gone with it. With and without this flag,
 * `node prove/main.ts simulation --count 300 --seed 777` took 11.3 and 12.0 s of CPU (two runs).
 */
const roomForYoung = '--max-semi-space-size=32';

/** The same in a process of its own: what is left of its connections may keep it from ending. */
export const apart = (campaign: Campaign): Campaign => ({
  ...campaign,
  run: ({ seed, seed64 = BigInt(seed) }) => {
    const main = join(import.meta.dirname, '../../prove/main.ts');
    const count = ['--count', String(campaign.countShort), '--seed', String(seed64)];
    const args = [roomForYoung, main, campaign.name, '--json', '--short', ...count];
    return new Promise((resolve, reject) => {
      execFile(process.execPath, args, { maxBuffer: 64 * 1024 * 1024 }, (_, stdout, stderr) => {
        const line = stdout.split('\n').find((text) => text.startsWith('{"name":'));
        if (line) resolve(JSON.parse(line) as CampaignResult);
        else reject(new Error(`${campaign.name} gave no result: ${stderr.slice(-2_000)}`));
      });
    });
  },
});
