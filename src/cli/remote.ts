// A journal that a running `serve` owns, reached through its HTTP address.
import { readDeadLetters } from '../dead-letter-json.ts';
import { HoldfastError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { LostRange } from '../merge/lost.ts';
import type { LoadOptions, LoadResult, LoadState, Status, VerifyResult } from '../types.ts';
import { type Address, ask, askStream, refusalOf } from './http.ts';
import type { JournalOwner, LettersWanted, ReplayEnd } from './owner.ts';

export function connectTo(address: Address): JournalOwner {
  const get = (path: string) => ask(address, { method: 'GET', path });
  const post = (path: string, json?: object) =>
    ask(address, { method: 'POST', path, ...(json && { json }) });
  const letter = (id: string) => `/v1/dead-letters/${encodeURIComponent(id)}`;
  return {
    needsSource: true,
    status: async (): Promise<Status> => JSON.parse(await get('/v1/status')),
    verify: async ({ stream }): Promise<VerifyResult> =>
      JSON.parse(await post('/v1/verify', stream === undefined ? {} : { stream })),
    passOver: async (stream, { dryRun }) => {
      const path = `/v1/streams/${encodeURIComponent(stream)}/pass-over`;
      const answer: { readonly ranges: readonly LostRange[] } = JSON.parse(
        await post(path, { dryRun }),
      );
      return answer.ranges;
    },
    beginLoad: async (stream, options): Promise<LoadState> =>
      JSON.parse(await post(`/v1/streams/${encodeURIComponent(stream)}/loads`, loadBody(options))),
    continueLoad: (state, input, options) => continueLoad(address, { state, input, options }),
    reportedLoad: async (load) => {
      await post(`/v1/loads/${encodeURIComponent(load)}/reported`);
    },
    listDeadLetters: (wanted) => listDeadLetters(address, wanted),
    showDeadLetter: (id) => get(letter(id)),
    replayDeadLetter: async (id) => {
      const answer: { readonly end: ReplayEnd } = JSON.parse(await post(`${letter(id)}/replay`));
      return answer.end;
    },
    dropDeadLetter: async (id) => {
      await ask(address, { method: 'DELETE', path: letter(id) });
    },
    close: async () => undefined,
  };
}

async function* listDeadLetters(
  address: Address,
  { stream, limit }: LettersWanted,
): AsyncGenerator<string> {
  const query = new URLSearchParams(stream === undefined ? {} : { stream });
  for (let left = limit ?? Number.POSITIVE_INFINITY; left > 0; ) {
    query.set('limit', String(Math.min(left, limits.lettersListedMax)));
    const path = `/v1/dead-letters?${query.toString()}`;
    const { letters, count, next } = readDeadLetters(await ask(address, { method: 'GET', path }));
    if (count > 0) yield letters;
    if (next === undefined) return;
    query.set('after', next);
    left -= count;
  }
}

const loadBody = ({ format, csv, invalid, source }: LoadOptions): object => ({
  format,
  ...csv,
  ...(invalid && { invalid }),
  ...source,
});

interface Sending {
  readonly state: LoadState;
  readonly input: AsyncIterable<Uint8Array>;
  readonly options: LoadOptions;
}

/** One line of the answer: how far it is, then how it ended. */
interface Line {
  readonly progress?: { readonly bytes: number; readonly accepted: number };
  readonly result?: LoadResult;
  readonly error?: Parameters<typeof refusalOf>[0];
}

async function continueLoad(address: Address, { state, input, options }: Sending) {
  const { signal, onProgress } = options;
  const path = `/v1/loads/${encodeURIComponent(state.load)}?offset=${state.offset}`;
  const answer = askStream(address, { method: 'POST', path, input, ...(signal && { signal }) });
  for await (const line of linesOf(answer)) {
    const { progress, result, error }: Line = JSON.parse(line);
    if (progress) onProgress?.(progress);
    if (error) throw refusalOf(error, 'The load was refused.');
    if (result) return result;
  }
  const message = "The journal's owner went away before the load ended. Start the load again.";
  throw new HoldfastError('HF_DRAINING', message, { outcome: 'unknown' });
}

async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    yield* lines.filter((line) => line !== '');
  }
}
