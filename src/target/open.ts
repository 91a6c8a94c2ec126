// From a target's URL to its dialect. Drivers are loaded only when they are needed.
import type { Clock } from '../clock.ts';
import { HoldfastError } from '../errors.ts';
import type { Target } from './target.ts';

export interface OpenTargetOptions {
  readonly clock: Clock;
  /** Report the log's position with every batch, for `confirm: 'standby'`. */
  readonly positions?: boolean;
}

/** `postgres://…`, `postgresql://…`, `sqlite:PATH`. Connects to nothing. Throws HF_USAGE for others. */
export async function openTarget(url: string, options: OpenTargetOptions): Promise<Target> {
  const scheme = url.slice(0, url.indexOf(':') + 1);
  switch (scheme) {
    case 'postgres:':
    case 'postgresql:': {
      const { postgresTarget } = await import('./postgres/target.ts');
      return postgresTarget(url, options);
    }
    case 'sqlite:': {
      const { sqliteTarget } = await import('./sqlite/target.ts');
      return sqliteTarget(url, options);
    }
    default:
      throw new HoldfastError(
        'HF_USAGE',
        `A target of scheme "${scheme}" is not known. Use postgres://, postgresql:// or sqlite:.`,
      );
  }
}

/** The URL without its password: for logs, status and errors. */
export const redactUrl = (url: string): string =>
  url
    .replace(/^([a-z]+:\/\/[^:@/?]*):[^@/?]*@/i, '$1:***@')
    .replace(/([?&](?:password|sslpassword)=)[^&]*/gi, '$1***');
