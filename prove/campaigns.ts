// All campaigns, in the order in which `npm run prove` goes through them.
import type { Campaign } from './campaign.ts';
import { commitsCampaign } from './commits.ts';
import { failoversCampaign } from './failovers.ts';
import { faultsCampaign } from './faults.ts';
import { flipsCampaign } from './flips.ts';
import { killsCampaign } from './kills.ts';
import { mutantsCampaign } from './mutants.ts';
import { statesCampaign } from './states.ts';

export const campaigns: readonly Campaign[] = [
  statesCampaign,
  faultsCampaign,
  flipsCampaign,
  killsCampaign,
  commitsCampaign,
  failoversCampaign,
  mutantsCampaign,
];
