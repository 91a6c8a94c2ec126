// All campaigns, in the order in which `npm run prove` goes through them.
import type { Campaign } from './campaign.ts';
import { commitsCampaign } from './commits.ts';
import { cutsCampaign } from './cuts.ts';
import { failoversCampaign } from './failovers.ts';
import { faultsCampaign } from './faults.ts';
import { flipsCampaign } from './flips.ts';
import { httpCampaign } from './http.ts';
import { killsCampaign } from './kills.ts';
import { mutantsCampaign } from './mutants.ts';
import { simulationCampaign } from './simulation.ts';
import { statesCampaign } from './states.ts';

export const campaigns: readonly Campaign[] = [
  simulationCampaign,
  statesCampaign,
  faultsCampaign,
  flipsCampaign,
  killsCampaign,
  cutsCampaign,
  commitsCampaign,
  failoversCampaign,
  httpCampaign,
  mutantsCampaign,
];
