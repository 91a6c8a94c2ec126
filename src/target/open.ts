// From a target's URL to its dialect. Drivers are loaded only when they are needed.
import type { Clock } from '../clock.ts';
import { HoldfastError } from '../errors.ts';
import type { Target } from './target.ts';

export interface OpenTargetOptions {
  readonly clock: Clock;
  /** Report the log's position with every batch, for `confirm: 'standby'`. */
  readonly positions?: boolean;
}

/**
 * `postgres://…`, `postgresql://…`, `sqlite:PATH`. Connects to nothing. Throws HF_USAGE for others.
 */
export async function openTarget(url: string, options: OpenTargetOptions): Promise<Target> {
  if (dialectOf(url) === 'postgres') {
    const { postgresTarget } = await import('./postgres/target.ts');
    return postgresTarget(url, options);
  }
  const { sqliteTarget } = await import('./sqlite/target.ts');
  return sqliteTarget(url, options);
}

/**
 * The SQL that makes Holdfast's own tables, for an administrator to run. Throws HF_USAGE likewise.
 */
export async function schemaSqlOf(url: string): Promise<string> {
  const dialect = dialectOf(url);
  const schema =
    dialect === 'postgres' ? import('./postgres/schema.ts') : import('./sqlite/schema.ts');
  return (await schema).schemaSql();
}

function dialectOf(url: string): 'postgres' | 'sqlite' {
  const scheme = url.slice(0, url.indexOf(':') + 1);
  if (scheme === 'postgres:' || scheme === 'postgresql:') return 'postgres';
  if (scheme === 'sqlite:') return 'sqlite';
  throw new HoldfastError(
    'HF_USAGE',
    `A target of scheme "${scheme}" is not known. Use postgres://, postgresql:// or sqlite:.`,
  );
}

/** The URL without its password (to the last @, should it hold one): for logs and status. */
export const redactUrl = (url: string): string =>
  url
    .replace(/^([a-z]+:\/\/[^:@/?]*):.*@/i, '$1:***@')
    .replace(/([?&](?:password|sslpassword)=)[^&]*/gi, '$1***');
