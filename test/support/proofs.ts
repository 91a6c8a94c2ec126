// A campaign as a test: nothing lost, nothing doubled, nothing failed, and enough of it done.
import assert from 'node:assert/strict';
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
