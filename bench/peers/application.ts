// An application that writes by itself, in a process that can be killed.
import { answerCalls } from '../children.ts';
import { Application, type ApplicationStart } from './inserts.ts';
import type { Unit } from './peer.ts';

let running: Application | undefined;

function start(of: ApplicationStart): void {
  running = new Application(of);
}

async function submit(unit: Unit): Promise<void> {
  if (!running) throw new Error('start comes first');
  await running.submit(unit);
}

answerCalls({ start, submit });
