// What a mysql:// URL of one host says. Its query holds what TLS needs, and nothing else.
import { readFileSync } from 'node:fs';
import type { SslOptions } from 'mysql2';
import { HoldfastError } from '../../errors.ts';

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string | undefined;
  readonly ssl: SslOptions | undefined;
}

const portDefault = 3306;
const usage = (message: string): HoldfastError => new HoldfastError('HF_USAGE', message);

/** Throws HF_USAGE. The message never holds the URL: it may hold a password. */
export function placeOf(url: string): Place {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw usage('The target is not a URL; percent-encode what is special in user and password.');
  }
  const database = decodeURIComponent(parsed.pathname.slice(1));
  if (database === '')
    throw usage('The target’s URL must name the database: mysql://HOST/DATABASE.');
  return {
    host: parsed.hostname.replace(/^\[|\]$/g, '') || 'localhost',
    port: parsed.port === '' ? portDefault : Number(parsed.port),
    user: decodeURIComponent(parsed.username),
    password: decodeURIComponent(parsed.password),
    database,
    ssl: sslOf(parsed.searchParams),
  };
}

const known = ['ssl', 'ssl-ca', 'ssl-cert', 'ssl-key', 'ssl-verify'];

/**
 * `ssl=true`, or any of `ssl-ca=FILE`, `ssl-cert=FILE`, `ssl-key=FILE`: encrypted, the server's
 * certificate checked and its name too; `ssl-verify=false` leaves the check out.
 */
function sslOf(query: URLSearchParams): SslOptions | undefined {
  const unknown = [...query.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw usage(`The target’s URL says "${unknown}", which is none of: ${known.join(', ')}.`);
  }
  if (query.size === 0 || query.get('ssl') === 'false') return undefined;
  const file = (name: string) => {
    const path = query.get(`ssl-${name}`);
    return path === null ? {} : { [name]: contents(`ssl-${name}`, path) };
  };
  const isVerified = query.get('ssl-verify') !== 'false';
  return {
    ...file('ca'),
    ...file('cert'),
    ...file('key'),
    rejectUnauthorized: isVerified,
    verifyIdentity: isVerified,
  };
}

function contents(option: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : '';
    throw new HoldfastError('HF_USAGE', `${option} in the target’s URL: ${reason}`, {
      cause: error,
    });
  }
}
