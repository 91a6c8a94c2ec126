// Which machine this is, and who used its cores: a bench on a shared machine must say how much of
// it it had. Linux only (/proc).
import { readdirSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import process from 'node:process';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `Linux ${release()}`,
    node: process.version.slice(1),
  };
}

/** The kernel counts CPU time in hundredths of a second. */
const tickMs = 10;
const kernelThreads = 2;

interface ProcessTime {
  readonly parent: number;
  /** Its own CPU time and that of its children that have ended. */
  readonly ms: number;
}

function processTimes(): Map<number, ProcessTime> {
  const times = new Map<number, ProcessTime>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = readStat(name);
    if (stat === undefined) continue;
    // Behind the command's name, which may hold anything: state, parent, …, utime at 11 and on.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
    times.set(Number(name), { parent: Number(fields[1]), ms: ticks * tickMs });
  }
  return times;
}

/** Undefined where the process has ended meanwhile. */
function readStat(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined;
    throw error;
  }
}

/** Busy time of all cores, what the hypervisor took included. */
function busyMs(): number {
  const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n');
  const [user, nice, system, , , irq, softirq, steal] = line.trim().split(/\s+/).slice(1);
  return [user, nice, system, irq, softirq, steal].reduce((sum, n) => sum + Number(n), 0) * tickMs;
}

/** CPU time of a process and of all below it, milliseconds. */
export function treeMs(root: number, times = processTimes()): number {
  let sum = 0;
  for (const [pid, { ms }] of times) {
    let at: number | undefined = pid;
    while (at !== undefined && at !== root) at = times.get(at)?.parent;
    if (at === root) sum += ms;
  }
  return sum;
}

/** Measures from when it is made: how much of the cores others had. */
export class CpuMeter {
  readonly #begun = performance.now();
  readonly #busy = busyMs();
  readonly #own = this.#ownMs();

  /** Ours, and the kernel's own threads, which write back what we wrote. */
  #ownMs(): number {
    const times = processTimes();
    return treeMs(process.pid, times) + treeMs(kernelThreads, times);
  }

  /** Others' share of all cores' time since, 0 to 1. */
  others(): number {
    const allMs = (performance.now() - this.#begun) * cpus().length;
    const others = busyMs() - this.#busy - (this.#ownMs() - this.#own);
    return Math.min(Math.max(others / allMs, 0), 1);
  }
}
