// The staging table of a stream, for commands that go to the target directly, beside whoever has
// the journal: they need no journal and no owner.
import { systemClock } from '../clock.ts';
import { HoldfastError } from '../errors.ts';
import { openTarget } from '../target/open.ts';
import type { StagedStream, Staging } from '../target/staging.ts';
import type { Config } from './config.ts';
import { streamOf } from './load.ts';

export interface OpenStaging {
  /** The stream's name. */
  readonly name: string;
  readonly staging: Staging;
  readonly stream: StagedStream;
}

/** Throws HF_USAGE where the stream, or the target, has no staged route. */
export async function withStaging<T>(
  config: Config,
  given: string | undefined,
  work: (open: OpenStaging) => Promise<T>,
): Promise<T> {
  const name = streamOf(config, given);
  const rules = config.complete.streams[name];
  if (rules?.route !== 'staged') {
    const message = `Stream "${name}" has no staging table: its route is not 'staged'.`;
    throw new HoldfastError('HF_USAGE', message);
  }
  const { key, onConflict } = rules;
  const target = await openTarget(config.complete.target, { clock: systemClock });
  try {
    const session = await target.connect();
    try {
      const { staging } = session;
      if (!staging) throw new HoldfastError('HF_USAGE', 'This target has no staged route.');
      await session.prepare(false);
      const table = await session.describe(rules.table);
      const isLogged = rules.staging === 'logged';
      const stream = { rules: { stream: name, key, onConflict }, table, isLogged };
      return await work({ name, staging, stream });
    } finally {
      await session.close();
    }
  } finally {
    await target.close();
  }
}
