// The summary of all campaigns, as docs/proof.md for people and docs/proof.json for programs.
import type { Machine } from '../bench/machine.ts';
import { type Campaign, type CampaignResult, isFine } from './campaign.ts';
import { matrixTold } from './commit-cells.ts';

/** The parts of a campaign together. */
export type Sum = Omit<CampaignResult, 'seed'> & {
  /** The first one that no part has used. */
  readonly nextSeed: number;
};

export interface Proof {
  readonly commit: string;
  /** Their digest: parts with the same one add up. */
  readonly sources: string;
  /** The sources are those of the commit. */
  readonly isCommitted: boolean;
  readonly date: string;
  readonly machine: Machine;
  readonly sums: readonly Sum[];
  /** Campaigns that have not come to their long count. */
  readonly short: readonly Campaign[];
  readonly units: ReadonlyMap<string, string>;
}

const number = (value: number): string => value.toLocaleString('en-US');

/** Why the proof is not whole, one line each. */
function reductions({ sums, short, isCommitted }: Proof): string[] {
  const fewer = short.map(({ name, countLong }) => `${name}: fewer than ${number(countLong)}`);
  return [
    ...(isCommitted ? [] : ['the sources had changes that are not in the commit']),
    ...sums.flatMap(({ name, reduced }) => reduced.map((why) => `${name}: ${why}`)),
    ...fewer,
  ];
}

function mutantsOf({ sums }: Proof): { killed: number; total: number } {
  const mutants = sums.find(({ name }) => name === 'mutants');
  return { killed: mutants?.seen['killed'] ?? 0, total: mutants?.runs ?? 0 };
}

/** The cells that one run of `commits` struck, of all that there are. */
function matrixOf({ sums }: Proof): { struck: number; total: number } {
  const { most = {} } = sums.find(({ name }) => name === 'commits') ?? {};
  return { struck: most[matrixTold.struck] ?? 0, total: most[matrixTold.there] ?? 0 };
}

function table(proof: Proof): string {
  const rows = proof.sums.map((sum) => {
    const { name, runs, lost, doubled, vacuous, failed, seconds } = sum;
    const cells = [name, number(runs), proof.units.get(name) ?? '', lost, doubled, failed.length];
    return `| ${[...cells, number(vacuous), number(seconds)].join(' | ')} |`;
  });
  return [
    '| campaign | runs | of | lost | doubled | failed | vacuous | seconds |',
    '| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |',
    ...rows,
  ].join('\n');
}

function seenBy({ name, seen, most = {} }: Sum): string {
  const lines = [
    ...Object.entries(seen).map(([what, count]) => `- ${what}: ${number(count)}`),
    ...Object.entries(most).map(([what, measured]) => `- at most, ${what}: ${number(measured)}`),
  ];
  return `### ${name}\n\n${lines.join('\n')}`;
}

export function summary(proof: Proof) {
  const { commit, sources, date, machine, sums } = proof;
  const reduced = reductions(proof);
  const mutants = mutantsOf(proof);
  const matrix = matrixOf(proof);
  const campaigns = Object.fromEntries(
    sums.map(({ name, ...sum }) => [name, { of: proof.units.get(name) ?? '', ...sum }]),
  );
  const isReduced = reduced.length > 0;
  const json = { commit, sources, date, machine, reduced: isReduced, campaigns, mutants, matrix };
  const failures = sums.flatMap(({ name, failed }) => failed.map((what) => `- ${name}: ${what}`));
  const { cpu, cores, memoryGiB, kernel, node } = machine;
  const text = [
    '# What was proved, and how far',
    `Written by \`npm run prove\` at commit ${commit} on ${date}. ${cpu}, ${cores} cores, ` +
      `${memoryGiB} GiB, ${kernel}, Node ${node}. Its parts add up, on one machine after the ` +
      'other, as long as `src/` and `sql/` are the same.',
    table(proof),
    `Mutants killed: ${mutants.killed} of ${mutants.total}. Cells of the commit matrix struck in ` +
      `one run: ${number(matrix.struck)} of ${number(matrix.total)}. \`lost\` and \`doubled\` ` +
      'count the unbroken product only. What a run is, and what each campaign does not show, ' +
      'stands at the head of its file in `prove/`.',
    ...(isReduced ? [`**Reduced:**\n\n${reduced.map((why) => `- ${why}`).join('\n')}`] : []),
    ...(failures.length > 0 ? [`## Failed\n\n${failures.join('\n')}`] : []),
    `## What was seen\n\n${sums.map(seenBy).join('\n\n')}`,
    notCovered,
  ];
  return {
    json,
    text: `${text.join('\n\n')}\n`,
    isFine: sums.every((sum) => isFine({ ...sum, seed: 0 })),
  };
}

const notCovered = `## What this does not show

- Survival of the journal's disk before a row is in its table: there is one copy.
- A drive or a hypervisor that lies about flushing; memory without ECC; bugs of the kernel.
- Damage to the last group that was written less than a second before a crash and was not settled
  yet: on one disk it looks like a write that the power cut short. Once it is settled, the target
  tells of it (\`test/last-group.test.ts\`).
- A tail of the last segment that is gone with all that could tell of it: neither the target nor the
  database of requests had learned of its records.
- Schedules and faults that nobody has drawn yet: more states and more seeds are not more kinds.`;
