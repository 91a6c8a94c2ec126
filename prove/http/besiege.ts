// One siege of a running server, in rounds: the client's pace while it is quiet, then under attack;
// what the server's memory came to, and whether its descriptors come back.
//
// The pace is judged by rounds: under attack the 99th of 100 writes may take twice the time of the
// quiet round before it, and `allowanceMs` more, for what one turn of the server's event loop may
// take: Node's parser makes requests of all that stands in 64 KiB before anybody can refuse them,
// and garbage of large bodies is collected. docs/proof.md has the most that was seen.
// One round beyond the bound proves nothing on a shared machine and is repeated; a siege fails
// where every round of it passes the bound.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Tally } from '../campaign.ts';
import type { Client, Pace } from './client.ts';
import type { Siege } from './sieges.ts';
import type { Site } from './site.ts';

const child = join(import.meta.dirname, 'attacker-child.ts');
const allowanceMs = 25;
/**
 * What the process may hold besides what it held before the first siege: 64 MiB of bodies, as much
 * again while they are joined and decoded, and the garbage of both: 177 to 279 MiB were measured.
 */
const moreMiBMax = 384;
const sampleMs = 50;
/** How many connections of its own the server may still keep when the attackers have left. */
const descriptorsSlack = 2;
const leavingMsMax = 60_000;

interface Strangers {
  /** Numbers of rows that were acknowledged to attackers, and of those that may be written. */
  readonly acknowledged: number[];
  readonly uncertain: number[];
}

export interface Besieging {
  readonly site: Site;
  readonly client: Client;
  readonly tally: Tally;
  /** What the process held before the first siege. */
  readonly quietMiB: number;
  readonly strangers: Strangers;
  readonly rounds: number;
  /** Writes of the client in each half of a round. */
  readonly writes: number;
  /** Whether the pace is judged; it is told in any case. */
  readonly isTimed: boolean;
}

interface Report {
  readonly counts: Readonly<Record<string, number>>;
  readonly acknowledged: readonly number[];
  readonly uncertain: readonly number[];
}

interface Round {
  readonly quiet: Pace;
  readonly attacked: Pace;
}

/** Files that this process may have open, and so the attackers' process too. */
export function descriptorsMax(): number {
  const line = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
  return Number(line?.[1] ?? 0);
}

export async function besiege(siege: Siege, by: Besieging): Promise<void> {
  const { site, client, tally, quietMiB, rounds, writes, isTimed } = by;
  const before = site.descriptors();
  let memoryMax = site.residentMiB();
  const sampling = setInterval(() => {
    memoryMax = Math.max(memoryMax, site.residentMiB());
  }, sampleMs);
  const paces: Round[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      const quiet = await client.pace(writes);
      const paced = { quiet, attacked: await underAttack(siege, by) };
      paces.push(paced);
      await hasLeft(site, before);
      if (!isBeyond(paced)) break;
    }
  } finally {
    clearInterval(sampling);
  }
  judgePace(siege, paces, { tally, isTimed });
  tally.most('MiB beyond the quiet server', Math.round(memoryMax - quietMiB));
  if (memoryMax - quietMiB > moreMiBMax) {
    tally.fail(`${siege.name}: ${Math.round(memoryMax)} MiB, before all ${Math.round(quietMiB)}`);
  }
}

/** The pace while the attackers are at it. */
async function underAttack(siege: Siege, by: Besieging): Promise<Pace> {
  const { site, client, tally, strangers, writes } = by;
  const attackers = fork(child, [siege.name, String(site.port)]);
  const ended = once(attackers, 'exit');
  try {
    await Promise.race([once(attackers, 'message'), ended]);
    if (attackers.exitCode !== null) throw new Error(`${siege.name}: the attackers broke down`);
    const pace = await client.pace(writes);
    attackers.send('stop');
    const [report] = (await once(attackers, 'message')) as [Report];
    await ended;
    for (const number of report.acknowledged) strangers.acknowledged.push(number);
    for (const number of report.uncertain) strangers.uncertain.push(number);
    judgeAnswers(siege, report, tally);
    return pace;
  } finally {
    attackers.kill('SIGKILL');
  }
}

function judgeAnswers(siege: Siege, { counts }: Report, tally: Tally): void {
  for (const [what, count] of Object.entries(counts)) {
    tally.see(`attackers: ${what}`, count);
    if (!/^\d{3}$/.test(what) || siege.allowed.includes(what)) continue;
    tally.fail(`${siege.name}: ${count} times answered with ${what}`);
  }
  const { floor } = siege;
  if ((floor === undefined ? siege.allowed : [floor]).every((what) => !counts[what])) {
    tally.vacuous();
    tally.see(`none: ${siege.name}`);
  }
}

const isBeyond = ({ quiet, attacked }: Round): boolean =>
  attacked.p99Ms > 2 * quiet.p99Ms + allowanceMs;

function judgePace(
  siege: Siege,
  paces: readonly Round[],
  { tally, isTimed }: { tally: Tally; isTimed: boolean },
): void {
  const over = paces.filter(isBeyond);
  tally.see('rounds', paces.length);
  // The rounds end with the first that is within the bound.
  const last = paces.at(-1);
  if (last) {
    const { quiet, attacked } = last;
    tally.most('ms of the 99th of 100 writes under attack', Math.round(attacked.p99Ms));
    tally.most('ms of it beyond twice the quiet one', Math.round(attacked.p99Ms - 2 * quiet.p99Ms));
  }
  tally.see('rounds beyond the bound of the pace', over.length);
  tally.see(
    'attempts of the client that it had to repeat',
    paces.reduce((sum, { quiet, attacked }) => sum + quiet.retries + attacked.retries, 0),
  );
  if (isTimed && over.length === paces.length) {
    const told = paces.map(
      ({ quiet, attacked }) => `${quiet.p99Ms.toFixed(1)} to ${attacked.p99Ms.toFixed(1)} ms`,
    );
    tally.fail(`${siege.name}: the client's 99th of 100 writes went from ${told.join(', from ')}`);
  }
}

/** Waits until the server has let go of what the attackers held. */
async function hasLeft(site: Site, before: number): Promise<void> {
  const endMs = performance.now() + leavingMsMax;
  while (site.descriptors() > before + descriptorsSlack) {
    if (performance.now() > endMs) {
      throw new Error(`${site.descriptors()} descriptors after the attack, ${before} before it`);
    }
    await pause(sampleMs);
  }
}
