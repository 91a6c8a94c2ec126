// The sieges: attacks that go on while a client that behaves writes on. Each says how strong it is
// and how the server may answer it; `begin` is called in the attackers' process.
import { gzipSync } from 'node:zlib';
import { tokens } from './site.ts';
import { type Attack, fire, hold, ignore, type Volley } from './strikes.ts';

export interface Siege {
  readonly name: string;
  /** Statuses with which the server may answer, besides ending the connection. */
  readonly allowed: readonly string[];
  /** What must have been seen of it, or it was none; without it, any answer. */
  readonly floor?: string;
  /** Files that the attackers hold open. */
  readonly descriptors?: number;
  begin(port: number): Attack;
}

const KiB = 1024;
const MiB = 1024 * KiB;

const head = (token: string | undefined, ...headers: readonly string[]): string =>
  [
    'POST /v1/streams/hostile/records HTTP/1.1',
    'host: 127.0.0.1',
    'content-type: application/x-ndjson',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    ...headers,
    '',
    '',
  ].join('\r\n');

const get = (path: string, token?: string): string => {
  const authorization = token === undefined ? '' : `authorization: Bearer ${token}\r\n`;
  return `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${authorization}\r\n`;
};

const stranger = tokens.strangerWrites;

const whole = (token: string | undefined, body: Buffer, ...more: readonly string[]): Buffer => {
  const length = `content-length: ${body.length}`;
  return Buffer.concat([Buffer.from(head(token, length, ...more)), body]);
};

/** The same bytes each time, made once and only where they are used. */
const shooting = (
  volley: Omit<Volley, 'port' | 'request'>,
  make: () => string | Buffer,
): Siege['begin'] => {
  return (port) => {
    const bytes = make();
    return fire({ ...volley, port, request: () => bytes });
  };
};

const heldSieges: readonly Siege[] = [
  {
    name: 'headers that do not end, on 1,000 sockets',
    allowed: ['408'],
    floor: 'opened',
    begin: (port) => hold({ port, sockets: 1_000, opening: 'GET / HTTP/1.1\r\nx-a: ', drip: 'a' }),
  },
  {
    name: 'bodies of one byte a second, on 500 sockets with a token',
    allowed: ['408', '429'],
    floor: 'opened',
    begin: (port) => {
      const opening = head(stranger, 'content-length: 100000');
      return hold({ port, sockets: 500, opening, drip: ' ' });
    },
  },
  {
    name: 'bodies that stop at 64 KiB, on 900 sockets with a token',
    allowed: ['408', '429'],
    floor: 'opened',
    begin: (port) => {
      const opening = head(stranger, 'content-length: 100000') + ' '.repeat(64 * KiB);
      return hold({ port, sockets: 900, opening, drip: '' });
    },
  },
  {
    name: 'bodies that stop at 15 MiB, on 6 sockets with a token',
    allowed: ['408', '429'],
    floor: 'opened',
    begin: (port) => {
      const opening = head(stranger, `content-length: ${16 * MiB}`) + ' '.repeat(15 * MiB);
      return hold({ port, sockets: 6, againPerSecond: 1, opening, drip: '' });
    },
  },
  {
    name: 'answers that nobody reads, on 20 sockets without a token',
    allowed: [],
    floor: 'asked',
    begin: (port) => ignore({ port, sockets: 20, opening: get('/') }),
  },
  {
    name: 'answers that nobody reads, on 20 sockets with a token',
    allowed: [],
    floor: 'asked',
    begin: (port) =>
      ignore({ port, sockets: 20, opening: get('/openapi.json', tokens.strangerReads) }),
  },
  {
    name: 'silence, on 1,500 sockets',
    allowed: ['408'],
    floor: 'opened',
    begin: (port) => hold({ port, sockets: 1_500, opening: '', drip: '' }),
  },
  {
    name: 'idle connections after one request, 10,000 of them',
    allowed: ['200'],
    descriptors: 10_000,
    begin: (port) => hold({ port, sockets: 10_000, opening: get('/healthz'), drip: '' }),
  },
];

const deep = (): Buffer =>
  Buffer.from(`{"id":1,"note":${'['.repeat(200_000)}${']'.repeat(200_000)}}\n`);

/** Rows that fit, but for the last of them. */
const almost = (): Buffer => {
  const row = '{"id":1,"note":"a row of a body that is refused for its last"}\n';
  const count = Math.floor((15 * MiB) / row.length);
  return Buffer.from(`${row.repeat(count)}{"id":"x"}\n`);
};

const firedSieges: readonly Siege[] = [
  {
    name: 'requests with a wrong token, 300 a second',
    allowed: ['401', '429'],
    begin: shooting({ perSecond: 300, inFlightMax: 20, isKept: true }, () =>
      whole('wrong-guess', Buffer.from('{"id":1}\n')),
    ),
  },
  {
    name: 'rows with a token, 200 requests a second',
    allowed: ['202', '429'],
    begin: (port) =>
      fire({
        port,
        perSecond: 200,
        inFlightMax: 20,
        isKept: true,
        numbersFrom: Date.now() * 1_000,
        request: (number) => whole(stranger, Buffer.from(`{"id":${number},"note":"flood"}\n`)),
      }),
  },
  {
    name: 'connections, 300 a second',
    allowed: ['200'],
    begin: shooting({ perSecond: 300, inFlightMax: 50, isKept: false }, () => get('/healthz')),
  },
  {
    name: 'requests, 1,400 at once on a connection, 4 of these a second',
    allowed: ['200'],
    begin: shooting({ perSecond: 4, inFlightMax: 4, isKept: false }, () => get('/').repeat(1_400)),
  },
  {
    name: 'bombs of gzip with a token, 3 a second',
    allowed: ['413', '429'],
    begin: shooting({ perSecond: 3, inFlightMax: 3, isKept: false }, () =>
      whole(stranger, gzipSync(Buffer.alloc(64 * MiB, ' ')), 'content-encoding: gzip'),
    ),
  },
  {
    name: 'bodies of 15 MiB with a wrong last row, with a token, one a second',
    allowed: ['422', '429'],
    begin: shooting({ perSecond: 1, inFlightMax: 1, isKept: false }, () =>
      whole(stranger, almost()),
    ),
  },
  {
    name: 'values 200,000 deep with a token, 10 a second',
    allowed: ['422', '429'],
    begin: shooting({ perSecond: 10, inFlightMax: 4, isKept: true }, () => whole(stranger, deep())),
  },
  {
    name: 'bodies of 1 GB without a token, two at a time',
    allowed: ['401', '429'],
    begin: shooting(
      { perSecond: 4, inFlightMax: 2, isKept: false, followingBytes: 1_000 * MiB },
      () => head(undefined, 'transfer-encoding: chunked'),
    ),
  },
  {
    name: 'bodies of 1 GB with a token, two at a time',
    allowed: ['413', '429'],
    begin: shooting(
      { perSecond: 4, inFlightMax: 2, isKept: false, followingBytes: 1_000 * MiB },
      () => head(stranger, 'transfer-encoding: chunked'),
    ),
  },
];

export const sieges: readonly Siege[] = [...heldSieges, ...firedSieges];
