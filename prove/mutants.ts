// Campaign `mutants`: the harness must be able to fail. Each broken build of mutant-list.ts is made
// in a copy of the sources, and the campaign or the tests named for it must find fault with it. The
// unbroken copy is put to the same question first and must pass: so a kill is a kill.
import { execFile } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { madeOnceFolder } from '../test/support/machine.ts';
import { type Campaign, type CampaignOptions, type CampaignResult, Tally } from './campaign.ts';
import {
  type CampaignKiller,
  equivalent,
  type Killer,
  type Mutant,
  mutants,
  type TestKiller,
} from './mutant-list.ts';

const root = join(import.meta.dirname, '..');
const copied = ['src', 'test', 'prove', 'bench', 'sql', 'package.json'];
const copiesAtOnce = 2;
const killerMsMax = 300_000;

/** A copy of the sources, in which one file at a time is changed. */
class Copy {
  readonly path = mkdtempSync(join(tmpdir(), 'holdfast-mutant-'));

  constructor() {
    for (const name of copied) cpSync(join(root, name), join(this.path, name), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(this.path, 'node_modules'));
    mkdirSync(join(this.path, 'tmp'));
    // Servers of the tests may run as a user of their own.
    chmodSync(this.path, 0o755);
    chmodSync(join(this.path, 'tmp'), 0o1777);
  }

  /** Whether the killer found fault with the copy as it is, and what it said. */
  async ask(killer: Killer): Promise<Verdict> {
    const args = 'campaign' in killer ? campaignArguments(killer) : testArguments(killer);
    const { code, output } = await runNode(args, this.path);
    return 'campaign' in killer ? campaignVerdict(output) : testVerdict(code, output);
  }

  async withMutant(mutant: Mutant, work: () => Promise<Verdict>): Promise<Verdict> {
    const path = join(this.path, mutant.file);
    const source = readFileSync(path, 'utf8');
    writeFileSync(path, mutated(source, mutant));
    try {
      return await work();
    } finally {
      writeFileSync(path, source);
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

interface Verdict {
  readonly answer: 'fault found' | 'nothing found' | 'no answer';
  readonly why: string;
}

/** The source with the one change. Throws where it cannot be made, or makes no program. */
export function mutated(source: string, { name, file, search, replace }: Mutant): string {
  const places = source.split(search).length - 1;
  if (places !== 1) throw new Error(`"${name}": its text occurs ${places} times in ${file}`);
  const changed = source.split(search).join(replace);
  if (file.endsWith('.ts')) stripTypeScriptTypes(changed);
  return changed;
}

const campaignArguments = ({ campaign, count, seed, only }: CampaignKiller) => [
  'prove/main.ts',
  campaign,
  '--json',
  '--brief',
  '--count',
  String(count),
  ...(seed === undefined ? [] : ['--seed', String(seed)]),
  ...(only === undefined ? [] : ['--only', only]),
];

const testArguments = ({ test, names }: TestKiller) => [
  '--test-reporter=tap',
  `--test-name-pattern=^${names}`,
  test,
];

function runNode(args: readonly string[], cwd: string) {
  return new Promise<{ code: number; output: string }>((resolve) => {
    const options = {
      cwd,
      timeout: killerMsMax,
      maxBuffer: 64 * 1024 * 1024,
      env: {
        ...process.env,
        TMPDIR: join(cwd, 'tmp'),
        // Half of a short run is the compiling of its modules.
        NODE_COMPILE_CACHE: join(cwd, 'tmp/code'),
        HOLDFAST_MADE_ONCE: madeOnceFolder,
        NODE_TEST_CONTEXT: undefined,
      },
    };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      const code = error ? Number(error.code ?? -1) : 0;
      resolve({ code, output: stdout === '' ? stderr : stdout });
    });
  });
}

/** A campaign that broke down, or that only saw too little, has not found the fault. */
function campaignVerdict(output: string): Verdict {
  const line = output.split('\n').find((text) => text.startsWith('{"name":'));
  if (line === undefined) return { answer: 'no answer', why: output.slice(-600) };
  const { lost, doubled, failed } = JSON.parse(line) as CampaignResult;
  const faults = failed.filter((what) => !what.startsWith('vacuous'));
  const isFound = lost + doubled + faults.length > 0;
  return { answer: isFound ? 'fault found' : 'nothing found', why: faults[0] ?? '' };
}

function testVerdict(code: number, output: string): Verdict {
  const ran = Number(/^# tests (\d+)$/m.exec(output)?.[1] ?? 0);
  // What went wrong first stands first: behind it is what ends badly because of it.
  if (ran === 0) return { answer: 'no answer', why: `no test ran: ${output.slice(0, 2_000)}` };
  const failed = /^\s*not ok .*$/m.exec(output)?.[0].trim() ?? '';
  return { answer: code === 0 ? 'nothing found' : 'fault found', why: failed };
}

async function attackMutant(copy: Copy, mutant: Mutant, tally: Tally): Promise<void> {
  const verdict = await copy.withMutant(mutant, () => copy.ask(mutant.killer));
  tally.ran();
  if (verdict.answer === 'fault found') tally.see('killed');
  else tally.fail(`"${mutant.name}" lives: ${verdict.answer}. ${verdict.why}`);
}

/** The unbroken copy must pass every question that the mutants are asked. */
async function control(copy: Copy, killer: Killer, tally: Tally): Promise<void> {
  const { answer, why } = await copy.ask(killer);
  if (answer === 'nothing found') tally.see('controls that passed');
  else tally.fail(`the unbroken build fails ${JSON.stringify(killer)}: ${answer}. ${why}`);
}

const eachOnce = (killers: readonly Killer[]): Map<string, Killer> =>
  new Map(killers.map((killer) => [JSON.stringify(killer), killer]));

const kindOf = (killer: Killer): string => ('campaign' in killer ? killer.campaign : 'test');
const countOf = (killer: Killer): number => ('campaign' in killer ? killer.count : 0);

/** In `npm test` all killers run beside this; of each kind the shortest is asked of a copy too. */
const oneOfEachKind = (killers: readonly Killer[]): Map<string, Killer> =>
  new Map(
    killers
      .toSorted((a, b) => countOf(b) - countOf(a))
      .map((killer) => [kindOf(killer), killer] as const),
  );

async function run(options: CampaignOptions) {
  const { count = mutants.length, only = '', isShort = false } = options;
  const tally = new Tally('mutants', options);
  const chosen = mutants.filter(({ name }) => name.includes(only)).slice(0, count);
  const killers = chosen.map(({ killer }) => killer);
  const controls = isShort ? oneOfEachKind(killers) : eachOnce(killers);
  const jobs = [
    ...[...controls.values()].map((killer) => (copy: Copy) => control(copy, killer, tally)),
    ...chosen.map((mutant) => (copy: Copy) => attackMutant(copy, mutant, tally)),
  ];
  const total = jobs.length;
  const worker = async (): Promise<void> => {
    const copy = new Copy();
    try {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        try {
          await job(copy);
        } catch (error) {
          tally.take(error, 'a mutant');
        }
        tally.progress(total - jobs.length, total);
      }
    } finally {
      copy.remove();
    }
  };
  return tally.result(
    async () => {
      await Promise.all(Array.from({ length: copiesAtOnce }, worker));
      tally.see('argued equivalent', Object.keys(equivalent).length);
    },
    { killed: 1, 'controls that passed': isShort ? 0.02 : 0.1 },
  );
}

export const mutantsCampaign: Campaign = {
  name: 'mutants',
  unit: 'broken builds',
  countShort: mutants.length,
  countLong: mutants.length,
  run,
};
