// `npm run -s prove -- NAME --json [--count N] [--seed S]`: one campaign by itself. Leaves with 1
// where anything was lost, doubled or otherwise wrong, or where too little was seen.
// `npm run prove`: all of them, in parts that add up (whole.ts); with --share, a share of each;
// with --only, parts of that one alone.
import process from 'node:process';
import { parseArgs } from 'node:util';
import { type CampaignResult, isFine } from './campaign.ts';
import { campaigns } from './campaigns.ts';
import { proveAll } from './whole.ts';

function print(result: CampaignResult): void {
  const { name, runs, lost, doubled, vacuous, failed, reduced, seen, seconds } = result;
  const lines = [
    `${name}: ${runs} runs in ${seconds} s, lost ${lost}, doubled ${doubled}, vacuous ${vacuous}`,
    ...Object.entries(seen).map(([what, count]) => `  ${what}: ${count}`),
    ...reduced.map((why) => `  REDUCED: ${why}`),
    ...failed.map((what) => `  FAILED: ${what}`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function showProgress(name: string): (done: number, total: number) => void {
  const begunMs = performance.now();
  let shownMs = begunMs;
  return (done, total) => {
    const nowMs = performance.now();
    if (nowMs - shownMs < 2_000) return;
    shownMs = nowMs;
    const leftS = Math.ceil(((nowMs - begunMs) / 1000) * (total / Math.max(done, 1) - 1));
    process.stderr.write(`${name}: ${done} of ${total}, about ${leftS} s to go\n`);
  };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean' },
      count: { type: 'string' },
      seed: { type: 'string' },
      brief: { type: 'boolean' },
      short: { type: 'boolean' },
      only: { type: 'string' },
      share: { type: 'string' },
    },
  });
  const [name = values.only] = positionals;
  const campaign = campaigns.find((one) => one.name === name);
  if (positionals.length === 0 && (campaign || name === undefined)) {
    const say = (text: string): void => {
      process.stderr.write(`${text}\n`);
    };
    const only = campaign && { only: campaign.name };
    return proveAll({ campaigns, share: Number(values.share ?? 1), ...only, say });
  }
  if (!campaign || positionals.length !== 1) {
    const names = campaigns.map((one) => one.name).join(' | ');
    process.stderr.write(
      `Usage: npm run prove [-- --share 0.1] [--only NAME], or\n` +
        `npm run -s prove -- NAME [--json] [--count N] [--seed S] [--only TEXT] [--brief]\n` +
        `NAME: ${names}\n`,
    );
    return 2;
  }
  const seed64 = BigInt.asUintN(64, BigInt(values.seed ?? 1));
  const result = await campaign.run({
    seed: Number(BigInt.asUintN(32, seed64)),
    seed64,
    ...(values.count === undefined ? {} : { count: Number(values.count) }),
    ...(values.only === undefined ? {} : { only: values.only }),
    isBrief: values.brief ?? false,
    isShort: values.short ?? false,
    onProgress: showProgress(campaign.name),
  });
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else print(result);
  return isFine(result) ? 0 : 1;
}

const code = await main();
// Node 24 may not end by itself where a socket was reset in the middle of a write: it goes on
// looking whether the write has ended (Environment::CleanupHandles).
process.stdout.write('', () => process.exit(code));
