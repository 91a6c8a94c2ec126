// A part of campaign `faults`: the wall clock of a real process steps (libfaketime), while it
// writes and between two processes. Nothing may hang, no request be lost or forgotten, no receipt
// be given twice: the wall clock is for people and for expiry, never for order.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RealAttack } from './call-errors.ts';
import { ProcessFolder } from './process-folder.ts';
import { ToldLife } from './told-life.ts';

/** Where Debian's package `libfaketime` has it. */
const library = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';
export const hasFakeTime = (): boolean => existsSync(library);

const requestsBetween = 20;
const steps = ['+1h', '-1d', '+0', '-1h', '+10y'] as const;
const atStart = ['-1d', '+1h'] as const;

class Clock {
  readonly #path: string;
  readonly env: NodeJS.ProcessEnv;

  constructor(path: string) {
    this.#path = path;
    this.env = {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: path,
      FAKETIME_NO_CACHE: '1',
      // Node's timers go by the monotonic clock: a kernel never turns that back.
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  step(to: string): void {
    writeFileSync(this.#path, to);
  }
}

/** Steps while it writes, and then the next process begins at another time. */
async function stepClock({ root, tally }: RealAttack): Promise<void> {
  const folder = new ProcessFolder(mkdtempSync(join(root, 'clock-')), 'worker');
  const clock = new Clock(join(folder.path, 'clock'));
  clock.step('+0');
  const last = (steps.length + 1) * requestsBetween;
  const life = new ToldLife(folder, { last, env: clock.env });
  for (const [i, to] of steps.entries()) {
    assert(await life.untilAcknowledged((i + 1) * requestsBetween), `it writes before ${to}`);
    clock.step(to);
    tally.see('real: clock steps');
  }
  assert.equal(await life.end(), 0, 'whatever the time is, it ends well');
  for (const to of atStart) {
    clock.step(to);
    const next = new ToldLife(folder, { last: folder.first + requestsBetween, env: clock.env });
    assert.equal(await next.end(), 0, `it opens at ${to}`);
    tally.see('real: clock steps');
  }
  await folder.audit(tally);
  folder.remove();
}

export const clocks: Readonly<Record<string, (attack: RealAttack) => Promise<void>>> = {
  'the clock steps': stepClock,
};
