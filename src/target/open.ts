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
 * `postgres://…`, `postgresql://…`, `mysql://…`, `mariadb://…`, `sqlite:PATH`. Connects to nothing.
 * Throws HF_USAGE for others.
 */
export async function openTarget(url: string, options: OpenTargetOptions): Promise<Target> {
  switch (dialectOf(url)) {
    case 'postgres': {
      const { postgresTarget } = await import('./postgres/target.ts');
      return postgresTarget(url, options);
    }
    case 'mysql': {
      const { mysqlTarget } = await import('./mysql/target.ts');
      return mysqlTarget(url, options);
    }
    case 'sqlite': {
      const { sqliteTarget } = await import('./sqlite/target.ts');
      return sqliteTarget(url, options);
    }
  }
}

const schemas = {
  postgres: () => import('./postgres/schema.ts'),
  mysql: () => import('./mysql/schema.ts'),
  sqlite: () => import('./sqlite/schema.ts'),
};

/**
 * The SQL that makes Holdfast's own tables, for an administrator to run. Throws HF_USAGE likewise.
 */
export async function schemaSqlOf(url: string): Promise<string> {
  const schema = await schemas[dialectOf(url)]();
  return schema.schemaSql();
}

type DialectName = keyof typeof schemas;

const schemes: { readonly [scheme: string]: DialectName } = {
  'postgres:': 'postgres',
  'postgresql:': 'postgres',
  'mysql:': 'mysql',
  'mariadb:': 'mysql',
  'sqlite:': 'sqlite',
};

function dialectOf(url: string): DialectName {
  const scheme = url.slice(0, url.indexOf(':') + 1);
  const dialect = schemes[scheme];
  if (dialect !== undefined) return dialect;
  throw new HoldfastError(
    'HF_USAGE',
    `A target of scheme "${scheme}" is not known. Use postgres://, mysql:// or sqlite:.`,
  );
}

/** The URL without its password (to the last @, should it hold one): for logs and status. */
export const redactUrl = (url: string): string =>
  url
    .replace(/^([a-z]+:\/\/[^:@/?]*):.*@/i, '$1:***@')
    .replace(/([?&](?:password|sslpassword)=)[^&]*/gi, '$1***');
