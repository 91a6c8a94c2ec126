// Splits scheme://user:password@a:1,b:2/db?… into one URL per host; drivers know only single hosts.
import { HoldfastError } from '../errors.ts';

const shape = /^([a-z]+:\/\/)((?:[^/?]*@)?)([^/?]*)(.*)$/s;

/** One URL per host of the comma list, in its order. */
export function splitHosts(url: string): string[] {
  const found = shape.exec(url);
  if (!found) throw new HoldfastError('HF_USAGE', 'The target is not a URL that names a host.');
  const [, scheme = '', user = '', hosts = '', rest = ''] = found;
  return hosts.split(',').map((host) => scheme + user + host + rest);
}
