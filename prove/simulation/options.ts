// With which options the product is opened for a plan.
import type { OpenOptions } from '../../src/options.ts';
import type { Plan, StreamPlan } from './plan.ts';

const segmentBytes = 64 * 1024;
const directory = '/journal';

export function optionsOf({ streams, confirm, keepsAll }: Plan): OpenOptions {
  return {
    journal: directory,
    // Never connected to: the simulated target takes its place.
    target: 'postgres://simulated/shop',
    confirm,
    streams: Object.fromEntries(streams.map((stream) => [stream.name, streamOptions(stream)])),
    limits: {
      segmentBytes,
      bytesMax: (keepsAll ? 40 : 10) * segmentBytes,
      retentionMsMin: keepsAll ? 24 * 60 * 60 * 1000 : 0,
      retentionBytesMin: keepsAll ? 40 * segmentBytes : 0,
    },
  };
}

export const onConflictOf = ({ policy }: StreamPlan) =>
  policy === 'newest' ? { newest: 'version' } : policy;

function streamOptions(stream: StreamPlan): OpenOptions['streams'][string] {
  const { name, isKeyed, lanes, loaders, batchRowsMax, route, isLogged } = stream;
  const { mergers, mergeEveryMs } = stream;
  return {
    table: name,
    ...(isKeyed ? { key: ['id'] } : {}),
    onConflict: onConflictOf(stream),
    lanes,
    loaders,
    batchRowsMax,
    ...(route === 'staged'
      ? { route, staging: isLogged ? 'logged' : 'unlogged', mergers, mergeEveryMs }
      : {}),
  };
}
