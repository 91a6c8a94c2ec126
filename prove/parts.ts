// What was done of a proof so far. It is kept in a file outside the repository, named by a digest
// of the sources, so that a proof can be stopped at any time. Where docs/proof.json tells of more
// for the same sources, that counts: parts of one proof may be done on several machines, one after
// the other.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Campaign, CampaignResult } from './campaign.ts';

const root = join(import.meta.dirname, '..');

/** What a proof is about: the sources, and the statements that the databases run. */
export const proved = ['src', 'sql'];

export function sourceDigest(): string {
  const sum = createHash('sha256');
  const names = proved
    .flatMap((name) => readdirSync(join(root, name), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const name of names) sum.update(name.slice(root.length)).update(readFileSync(name));
  return sum.digest('hex').slice(0, 16);
}

/** A campaign may take one seed after another: those of the parts before are used up. */
export const nextSeed = (parts: readonly CampaignResult[]): number =>
  Math.max(1, ...parts.map(({ seed, runs }) => seed + runs));

/** What docs/proof.json says of earlier parts. */
interface Told {
  readonly sources?: string;
  readonly campaigns: Readonly<
    Record<string, Omit<CampaignResult, 'name' | 'seed'> & { readonly nextSeed: number }>
  >;
}

/**
 * A campaign that was proved elsewhere counts as one part. One that has no parts is short enough to
 * be done anew.
 */
function partsTold({ sources, campaigns, proofPath }: PartsOf): CampaignResult[] {
  if (!existsSync(proofPath)) return [];
  const told = JSON.parse(readFileSync(proofPath, 'utf8')) as Told;
  if (told.sources !== sources) return [];
  return campaigns.flatMap(({ name, countPart }) => {
    const one = countPart === undefined ? undefined : told.campaigns[name];
    if (!one || one.runs === 0) return [];
    const { nextSeed: next, ...part } = one;
    return [{ ...part, name, seed: next - part.runs }];
  });
}

export const runsOf = (parts: readonly CampaignResult[]): number =>
  parts.reduce((sum, { runs }) => sum + runs, 0);

export interface PartsOf {
  /** Their digest. */
  readonly sources: string;
  readonly campaigns: readonly Campaign[];
  readonly proofPath: string;
  /** By default one of this machine. */
  readonly folder?: string;
}

export class Parts {
  readonly #path: string;
  #results: CampaignResult[];

  constructor(of: PartsOf) {
    const { sources, folder = join(tmpdir(), 'holdfast-prove') } = of;
    mkdirSync(folder, { recursive: true });
    this.#path = join(folder, `${sources}.json`);
    this.#results = existsSync(this.#path)
      ? (JSON.parse(readFileSync(this.#path, 'utf8')) as CampaignResult[])
      : [];
    for (const told of partsTold(of)) {
      if (told.runs <= runsOf(this.of(told.name))) continue;
      this.#results = [...this.#results.filter(({ name }) => name !== told.name), told];
    }
  }

  of(name: string): CampaignResult[] {
    return this.#results.filter((result) => result.name === name);
  }

  add(result: CampaignResult): void {
    this.#results.push(result);
    writeFileSync(this.#path, JSON.stringify(this.#results));
  }
}
