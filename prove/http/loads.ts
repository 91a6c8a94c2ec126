// Loads that are sent wrong: from another byte than where they stand, cut short of the size that
// they were begun with, by two senders at once. Each is refused for what it is, and then sent as it
// should be: its rows are there once, though nothing but the load keeps them from coming twice.
import { createHash } from 'node:crypto';
import { Violation } from '../oracle.ts';
import { type Asked, bearer, type Site, type StreamRow, tokens } from './site.ts';

interface Standing {
  readonly load: string;
  readonly offset: number;
}

/** One load on its way. */
interface Sending extends Standing {
  readonly bytes: Buffer;
  /** Sends bytes as beginning at `offset`; what was answered. */
  readonly send: (offset: number, bytes: Buffer) => Promise<string>;
  readonly begin: () => Promise<Standing>;
}

export interface WrongLoad {
  readonly name: string;
  /** Sends it wrong; the answers, each with the code that must be in it. */
  readonly send: (load: Sending) => Promise<readonly Refused[]>;
}

interface Refused {
  readonly answer: string;
  readonly code: string;
  /** Some of it is written, and it must not say that nothing is. */
  readonly isPart?: boolean;
}

const rowsOfLoad = 60;
/** Some rows go into one piece of a body as it arrives. */
const noteBytes = 5_000;

const halfOf = (bytes: Buffer): Buffer => bytes.subarray(0, Math.floor(bytes.length / 2) + 100);

export const wrongLoads: readonly WrongLoad[] = [
  {
    name: 'load: from beyond where it stands',
    send: async ({ bytes, send }) => {
      const from = bytes.indexOf('\n') + 1;
      return [{ answer: await send(from, bytes.subarray(from)), code: 'HF_LOAD_MOVED' }];
    },
  },
  {
    name: 'load: cut in the middle of a line, then again from its start',
    send: async ({ bytes, send, begin }) => {
      const cut = { answer: await send(0, halfOf(bytes)), code: 'HF_BODY_CUT', isPart: true };
      const { offset } = await begin();
      if (offset === 0) throw new Violation('lost', 'of half of a load nothing was written');
      const again = { answer: await send(0, bytes), code: 'HF_LOAD_MOVED', isPart: true };
      return [cut, again];
    },
  },
  {
    name: 'load: longer than it was begun with',
    send: async ({ bytes, send }) => {
      const longer = Buffer.concat([bytes, Buffer.from('{"id":1,"note":"more"}\n')]);
      return [{ answer: await send(0, longer), code: 'HF_USAGE', isPart: true }];
    },
  },
  {
    name: 'load: by two senders at once',
    send: async ({ bytes, send }) => {
      const answers = await Promise.all([send(0, bytes), send(0, bytes)]);
      const refused = answers.filter((answer) => !answer.includes('"result"'));
      if (refused.length === 2) throw new Violation('wrong', 'neither of two senders was let in');
      return refused.map((answer) => ({ answer, code: 'HF_LOAD_MOVED' }));
    },
  },
];

/** Its rows, from that number on: they are written, each once. */
export async function sendWrong(
  site: Site,
  { name, send: sendIt }: WrongLoad,
  from: number,
): Promise<StreamRow[]> {
  const rows = Array.from({ length: rowsOfLoad }, (_, i) => ({
    id: BigInt(from + i),
    note: `${name} `.padEnd(noteBytes, '.'),
  }));
  const lines = rows.map(({ id, note }) => `{"id":${id},"note":${JSON.stringify(note)}}\n`);
  const bytes = Buffer.from(lines.join(''));
  const digest = createHash('sha256').update(bytes).digest('hex');
  const ask = async (path: string, type: string, body: Asked['body']): Promise<string> => {
    const headers = { ...bearer(tokens.strangerWrites), 'content-type': type };
    return (await site.ask(path, { method: 'POST', headers, body: body ?? '' })).text;
  };
  const begin = async (): Promise<Standing> => {
    const beginning = JSON.stringify({ format: 'ndjson', size: bytes.length, digest });
    const text = await ask('/v1/streams/hostile/loads', 'application/json', beginning);
    return JSON.parse(text.slice(text.indexOf('}') + 1)) as Standing;
  };
  const { load, offset } = await begin();
  const send = (at: number, part: Buffer): Promise<string> =>
    ask(`/v1/loads/${load}?offset=${at}`, 'application/x-ndjson', part);
  for (const { answer, code, isPart } of await sendIt({ load, offset, bytes, send, begin })) {
    const isFalse = isPart && answer.includes('"outcome":"not written"');
    if (answer.includes(`"code":"${code}"`) && !isFalse) continue;
    throw new Violation('wrong', `${name}: ${answer.slice(-300)}, expected ${code}`);
  }
  const now = await begin();
  const last = await send(now.offset, bytes.subarray(now.offset));
  if (last.includes(`"accepted":${rowsOfLoad}`) && last.includes('"result"')) return rows;
  throw new Violation('wrong', `${name}, and then as it should be: ${last.slice(-300)}`);
}
