// `holdfast serve`: the server around one open journal, until a signal or the journal's end.
//
// States: serving; draining (the first signal: at most 10 s, then 0), which a signal more than half
// a second later cuts short; failed (the journal or its loader is dead: told, then 70).
import type { Command } from 'commander';
import { systemDisk } from '../disk.ts';
import { errorTable } from '../errors.ts';
import { open } from '../holdfast.ts';
import { announceOwner } from '../journal/lock.ts';
import { limits } from '../limits.ts';
import type { Options } from '../options.ts';
import type { RunningServer } from '../server/server.ts';
import { startServing } from '../serving.ts';
import { redactUrl } from '../target/open.ts';
import type { Holdfast } from '../types.ts';
import { type Config, readConfig } from './config.ts';
import { print, reportFailure, say } from './output.ts';
import { onSignals } from './signals.ts';

/** For GET /v1/options: complete, and without secrets. */
const shown = ({ server, target, ...rest }: Options): object => ({
  ...rest,
  target: redactUrl(target),
  server: { ...server, tokens: server.tokens.map((own) => ({ ...own, token: '***' })) },
});

/** Opens, listens, and resolves when the server has ended in good order. */
export async function serve(
  config: Config,
  onListening: (server: RunningServer, holdfast: Holdfast) => Promise<void>,
  prepare: (holdfast: Holdfast) => Promise<void> = async () => undefined,
): Promise<void> {
  const { options, complete } = config;
  const holdfast = await open(options);
  const ending = new AbortController();
  const release = onSignals(
    () => ending.abort(),
    () => process.exit(errorTable.HF_ABORTED.exit),
  );
  try {
    void holdfast.failed.then(leave);
    await prepare(holdfast);
    const serverOptions = { ...complete.server, shownOptions: shown(complete) };
    const server = await startServing(holdfast, serverOptions);
    try {
      announceOwner(systemDisk, options.journal, { pid: process.pid, url: server.url });
      await onListening(server, holdfast);
      await aborted(ending.signal);
      say('Draining …');
    } finally {
      await endBoth(server, holdfast);
    }
  } finally {
    await holdfast.close();
    release();
  }
}

/** Requests in hand first, then the rows in flight; both within the bound on a drain. */
async function endBoth(server: RunningServer, holdfast: Holdfast): Promise<void> {
  const begun = performance.now();
  await server.close();
  const left = limits.drainMsMax - (performance.now() - begun) - lastStepsMs;
  await holdfast.close({ drainMs: Math.max(0, left) });
}

/**
 * Kept of the drain for what comes after it: the running transaction and the journal's last sync.
 */
const lastStepsMs = 1_000;

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Nothing can be promised any more: the process that follows starts from what is on disk. */
async function leave(error: Error): Promise<void> {
  await reportFailure(error, false);
  process.exit(errorTable.HF_JOURNAL_FAILED.exit);
}

interface Given {
  readonly config?: string;
  readonly json?: boolean;
  readonly workers?: number;
}

export function addServe(command: Command): void {
  command
    .command('serve')
    .description('take rows over HTTP until a signal ends it; HOST and PORT override the address')
    .option('--workers <count>', 'threads that take requests, instead of server.workers', Number)
    .action(async (given: Given) => {
      const { workers } = given;
      const config = await readConfig(given.config, process.env, {
        ...(workers !== undefined && { workers }),
      });
      await serve(config, async ({ url }) => {
        const line = `Listening on ${url}`;
        await print(given.json ? JSON.stringify({ listening: url }) : line);
        if (given.json) say(line);
      });
    });
}
