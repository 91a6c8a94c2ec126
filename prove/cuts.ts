// Campaign `cuts`: the power is cut under a real file system with the real product on it, at
// moments that chance chooses: while it writes, rolls, makes spares, opens and recovers. Then the
// file system replays its own journal, the product its, and at the end all that was acknowledged
// must be known by its key, and be in the table once. Two file systems, two kinds of cut:
// cut-disks.ts. Most cuts find acknowledged rows that no target has yet.
//
// Some cuts come after an error: a write fails once, the journal must take no more, and the next
// process reads from the page cache what the disk lacks. What that answers for must survive a cut.
//
// Controls are counted apart: a build that does not sync, a disk that lies about it, and a build
// that trusts the page cache after an error must be seen to lose what was acknowledged. A campaign
// whose control loses nothing fails.
//
// What this shows: that what the product asks of the kernel is enough for real file systems. What
// it does not show: what a drive's own firmware does.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from '../test/simulation/random.ts';
import { type Campaign, type CampaignOptions, Tally } from './campaign.ts';
import { CutBench, type CutJob } from './cut-bench.ts';
import { whyNoCuts } from './cut-disks.ts';
import { clearAway, mountFolder } from './mounts.ts';

/** Cuts between two audits of a journal. */
const cutsEach = 6;
const xfsShare = 2 / 9;
const errorShare = 1 / 9;
const benches = 2;

const plain = { kind: 'ext4', hasErrors: false } as const;
const control = { ...plain, cuts: 1 } as const;
const controls: readonly CutJob[] = [
  { ...control, name: 'control: trusted tail, ext4', control: 'trusted tail' },
  { ...control, name: 'control: no sync, ext4', control: 'no sync' },
  { ...control, name: 'control: no sync, ext4', control: 'no sync' },
  { ...control, name: 'control: no sync, xfs', control: 'no sync', kind: 'xfs' },
  { ...control, name: 'control: no sync, xfs', control: 'no sync', kind: 'xfs' },
  { ...control, name: 'control: lying disk, ext4', control: 'lying disk' },
  { ...control, name: 'control: lying disk, ext4', control: 'lying disk' },
];

function jobsOf(count: number, only: string): CutJob[] {
  const rounds = (job: Omit<CutJob, 'cuts'>, cuts: number): CutJob[] =>
    Array.from({ length: Math.ceil(cuts / cutsEach) }, (_, i) => {
      return { ...job, cuts: Math.min(cutsEach, cuts - i * cutsEach) };
    });
  const xfs = Math.round(count * xfsShare);
  const errors = Math.round(count * errorShare);
  const jobs = [
    ...controls,
    ...rounds({ ...plain, name: 'ext4' }, count - xfs - errors),
    ...rounds({ ...plain, name: 'ext4 after an error', hasErrors: true }, errors),
    ...rounds({ ...plain, name: 'xfs', kind: 'xfs' }, xfs),
  ];
  return jobs.filter(({ name }) => name.includes(only));
}

async function run(options: CampaignOptions) {
  const { seed, count = cutsCampaign.countShort, only = '' } = options;
  const tally = new Tally('cuts', options);
  const why = whyNoCuts();
  if (why !== undefined) {
    tally.reduce(why);
    return tally.result(() => undefined);
  }
  const jobs = [...jobsOf(count, only).entries()];
  const attack = async (): Promise<void> => {
    const folder = join(mountFolder(), `seed-${seed}`);
    mkdirSync(folder, { recursive: true });
    const work = async (lane: number): Promise<void> => {
      const bench = await CutBench.open(join(folder, `${lane}`), tally);
      for (let next = jobs.shift(); next; next = jobs.shift()) {
        const [number, job] = next;
        try {
          await bench.do(job, number, new Random(seed * 1_000 + number));
        } catch (error) {
          tally.take(error, `${job.name}, job ${number}`);
        }
        tally.progress(tally.runs, count);
      }
      try {
        await bench.close();
      } catch (error) {
        tally.take(error, 'disks that could not be let go');
      }
    };
    await Promise.all(Array.from({ length: benches }, (_, lane) => work(lane)));
    clearAway(folder);
  };
  // A part of the jobs does not see everything.
  return tally.result(attack, only === '' ? floors : {});
}

const floors = {
  'acknowledged rows in the journal alone': 0.6,
  'while opening': 0.03,
  'a spare was half made': 0.05,
  'writes were in the cache': 0.2,
  'writes were torn': 0.05,
  'errors: the journal failed': 0.05,
  'requests acknowledged': 1,
  'requests known again': 1,
  'journals audited': 0.5 / cutsEach,
};

export const cutsCampaign: Campaign = {
  name: 'cuts',
  unit: 'power cuts under real file systems',
  countShort: 90,
  countLong: 1_350,
  countPart: 135,
  run,
};
