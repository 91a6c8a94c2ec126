// Splits postgres://user:password@a:1,b:2/db?… into one URL per host; pg knows only single hosts.
import { HoldfastError } from '../../errors.ts';

const shape = /^(postgres(?:ql)?:\/\/)((?:[^/?]*@)?)([^/?]*)(.*)$/s;

/** One URL per host of the comma list, in its order. */
export function splitHosts(url: string): string[] {
  const found = shape.exec(url);
  if (!found) throw new HoldfastError('HF_USAGE', 'The target is not a postgres:// URL.');
  const [, scheme = '', user = '', hosts = '', rest = ''] = found;
  return hosts.split(',').map((host) => scheme + user + host + rest);
}
