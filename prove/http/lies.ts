// Requests that lie about themselves: about their length, their encoding, their end. Each is sent
// as bytes on a connection of its own, and says how the server may answer and what may be written.
import { connect } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { tokens } from './site.ts';

export interface Lie {
  readonly name: string;
  /** The request as it is sent, around a row of this number. */
  readonly bytes: (id: number) => Buffer;
  /** The status of the first answer; 'cut' where the connection may end without one. */
  readonly allowed: readonly string[];
  /** It is answered only once its sender has ended: more was announced. */
  readonly isCut?: boolean;
}

/** Name, what is made around the row of that number, statuses that are allowed, `isCut`. */
type Told<T> = readonly [string, (id: number) => T, readonly string[], true?];

const rowOf = (id: number): string => `{"id":${id},"note":"lie"}\n`;
const path = '/v1/streams/hostile/records';
const plain = 'content-type: application/x-ndjson';

const request = (headers: readonly string[], body: string | Buffer): Buffer => {
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    `authorization: Bearer ${tokens.strangerWrites}`,
    ...headers,
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)]);
};

/** A row behind these headers, with its true length unless they say another. */
const row =
  (...headers: readonly string[]) =>
  (id: number): Buffer =>
    request([plain, ...headers], rowOf(id));

const rowLength = (id: number): string => `content-length: ${rowOf(id).length}`;

const chunked = (body: string): Buffer => request([plain, 'transfer-encoding: chunked'], body);

const sized = (id: number, size: string): string => `${size}\r\n${rowOf(id)}\r\n0\r\n\r\n`;
const hex = (id: number): string => rowOf(id).length.toString(16);

const encoded =
  (encoding: string, body: (text: string) => Buffer) =>
  (id: number): Buffer => {
    const bytes = body(rowOf(id));
    const headers = [plain, `content-encoding: ${encoding}`, `content-length: ${bytes.length}`];
    return request(headers, bytes);
  };

const lengths: readonly Told<string>[] = [
  ['too long', (id) => `content-length: ${rowOf(id).length + 10}`, ['400'], true],
  ['too short', (id) => `content-length: ${rowOf(id).length - 5}`, ['400', '422']],
  ['negative', () => 'content-length: -1', ['400']],
  ['signed', (id) => `content-length: +${rowOf(id).length}`, ['400']],
  ['hexadecimal', (id) => `content-length: 0x${hex(id)}`, ['400']],
  ['a list', (id) => `${rowLength(id)}, ${rowOf(id).length}`, ['400']],
  ['no number', () => 'content-length: many', ['400']],
  ['beyond 64 bits', () => 'content-length: 99999999999999999999', ['400']],
  ['of 1 GB', () => 'content-length: 1000000000', ['413']],
  ['at the end of 63 bits', () => 'content-length: 9223372036854775807', ['400', '413']],
  ['given twice', (id) => `${rowLength(id)}\r\n${rowLength(id)}`, ['400']],
  ['given twice, differing', (id) => `${rowLength(id)}\r\ncontent-length: 5`, ['400']],
  ['with a space before its colon', (id) => `content-length : ${rowOf(id).length}`, ['400']],
  ['on a folded line', (id) => `content-length:\r\n ${rowOf(id).length}`, ['202', '400']],
  ['missing', () => 'x-nothing: 1', ['400', '422']],
  ['beside chunks', (id) => `${rowLength(id)}\r\ntransfer-encoding: chunked`, ['400']],
  ['after chunks', (id) => `transfer-encoding: chunked\r\n${rowLength(id)}`, ['400']],
];

const encodings: readonly Lie[] = ['identity', 'xchunked', 'chunked, identity', 'gzip', ''].map(
  (name) => ({
    name: `lie: transfer-encoding ${name === '' ? 'empty' : name}`,
    bytes: (id) =>
      request([plain, `transfer-encoding: ${name}`, 'connection: close'], sized(id, hex(id))),
    allowed: ['400', '422', '501'],
  }),
);

const chunks: readonly Told<string>[] = [
  ['of a size that is no number', (id) => sized(id, 'zz'), ['400']],
  ['of a negative size', (id) => sized(id, '-5'), ['400']],
  ['of a size beyond 64 bits', (id) => sized(id, 'fffffffffffffffff'), ['400']],
  ['of a size in 0x', (id) => sized(id, `0x${hex(id)}`), ['400']],
  ['longer than they say', (id) => sized(id, (rowOf(id).length - 3).toString(16)), ['400']],
  ['shorter than they say', (id) => sized(id, (rowOf(id).length + 3).toString(16)), ['400'], true],
  ['with extensions', (id) => sized(id, `${hex(id)};a=b;c="d"`), ['202']],
  [
    'with extensions of 20 KB',
    (id) => sized(id, `${hex(id)};a=${'b'.repeat(20_000)}`),
    ['400', '413'],
  ],
  ['that do not end', (id) => `${hex(id)}\r\n${rowOf(id)}\r\n`, ['400'], true],
  ['cut in the middle', (id) => `${hex(id)}\r\n${rowOf(id).slice(0, 9)}`, ['400'], true],
  [
    'with a trailer of 20 KB',
    (id) => `${sized(id, hex(id)).slice(0, -2)}x: ${'y'.repeat(20_000)}\r\n\r\n`,
    ['202', '400', '431'],
  ],
  ['with bare line feeds', (id) => `${hex(id)}\n${rowOf(id)}\n0\n\n`, ['400']],
];

const contents: readonly Told<Buffer>[] = [
  ['brotli', encoded('br', brotliCompressSync), ['415']],
  ['deflate', encoded('deflate', deflateSync), ['415']],
  ['zstd', encoded('zstd', zstdCompressSync), ['415']],
  ['gzip in gzip, said so', encoded('gzip, gzip', (text) => gzipSync(gzipSync(text))), ['415']],
  ['gzip in gzip', encoded('gzip', (text) => gzipSync(gzipSync(text))), ['422']],
  ['gzip that is none', encoded('gzip', (text) => Buffer.from(text)), ['400']],
  ['gzip that is cut', encoded('gzip', (text) => gzipSync(text).subarray(0, -3)), ['400']],
  ['gzip of a wrong sum', encoded('gzip', (text) => spoiled(gzipSync(text), -6)), ['400']],
  [
    'gzip and garbage',
    encoded('gzip', (text) => Buffer.concat([gzipSync(text), Buffer.from('garbage')])),
    ['400'],
  ],
  ['gzip of nothing', encoded('gzip', () => gzipSync('')), ['400', '422']],
  [
    'a bomb of 1,000 to 1',
    encoded('gzip', () => gzipSync(Buffer.alloc(40 * 1024 * 1024, ' '))),
    ['413'],
  ],
  [
    'a bomb in a bomb',
    encoded('gzip', () => gzipSync(gzipSync(Buffer.alloc(10 * 1024 * 1024)))),
    ['422'],
  ],
  ['a bomb of many members', encoded('gzip', () => members(40_000)), ['413', '422']],
];

function spoiled(bytes: Buffer, at: number): Buffer {
  bytes[bytes.length + at] = (bytes.at(at) ?? 0) ^ 1;
  return bytes;
}

function members(count: number): Buffer {
  const one = gzipSync('{"id":1,"n');
  return Buffer.concat(Array.from({ length: count }, () => one));
}

const many = (count: number): string =>
  Array.from({ length: count }, (_, i) => `x${i}: yy`).join('\r\n');

const heads: readonly Told<Buffer>[] = [
  ['a header of 20 KB', row(`x: ${'y'.repeat(20_000)}`), ['431']],
  ['headers of 20 KB', row(many(3_000)), ['431']],
  ['a token behind 2,100 headers', (id) => manyFirst(id), ['202']],
  ['a header with NUL', row('x: a\0b'), ['400']],
  ['a header without a name', row(': x'), ['400']],
  [
    'an encoding of text that is not read',
    (id) => typed(id, 'application/x-ndjson; charset=utf-16'),
    ['415'],
  ],
  ['a type that is not read', (id) => typed(id, 'application/xml'), ['415']],
  [
    'an expectation nobody meets',
    (id) => row(rowLength(id), 'expect: miracles')(id),
    ['202', '417'],
  ],
  [
    'an upgrade',
    (id) => row(rowLength(id), 'connection: upgrade', 'upgrade: h2c')(id),
    ['202', '400'],
  ],
  ['HTTP/2', () => Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), ['400', 'cut']],
  ['HTTP/0.9', () => Buffer.from(`GET ${path}\r\n\r\n`), ['400', '401', 'cut']],
  ['a TLS hello', () => Buffer.from('16030100c8010000c40303', 'hex'), ['400', 'cut']],
  [
    'a method nobody has',
    () => Buffer.from(`STEAL ${path} HTTP/1.1\r\nhost: x\r\n\r\n`),
    ['400', '401', '404', '405'],
  ],
  [
    'a path of 15 KB',
    () => Buffer.from(`GET /${'x'.repeat(15_000)} HTTP/1.1\r\nhost: x\r\n\r\n`),
    ['401', '404', '414'],
  ],
  [
    'a path of broken escapes',
    () => Buffer.from('GET /v1/%zz HTTP/1.1\r\nhost: x\r\n\r\n'),
    ['400', '401'],
  ],
  ['no host', () => Buffer.from('GET /healthz HTTP/1.1\r\n\r\n'), ['400']],
  [
    'a key of 300 characters',
    (id) => row(rowLength(id), `idempotency-key: ${'k'.repeat(300)}`)(id),
    ['400'],
  ],
];

const typed = (id: number, type: string): Buffer =>
  request([`content-type: ${type}`, rowLength(id)], rowOf(id));

/** What comes after 2,000 headers counts like what comes before them. */
function manyFirst(id: number): Buffer {
  const head = [
    `POST ${path} HTTP/1.1`,
    'host: 127.0.0.1',
    Array.from({ length: 2_100 }, () => 'x:').join('\r\n'),
    plain,
    rowLength(id),
    `authorization: Bearer ${tokens.strangerWrites}`,
    '',
    '',
  ].join('\r\n');
  return Buffer.from(head + rowOf(id));
}

const told =
  <T>(what: string, bytes: (made: T, id: number) => Buffer) =>
  ([name, make, allowed, isCut]: Told<T>): Lie => ({
    name: `lie: ${what}${name}`,
    bytes: (id) => bytes(make(id), id),
    allowed,
    ...(isCut && { isCut }),
  });

export const lies: readonly Lie[] = [
  ...lengths.map(told('a length ', (header, id) => row(header)(id))),
  ...encodings,
  ...chunks.map(told('chunks ', (body) => chunked(body))),
  ...contents.map(told('', (bytes) => bytes)),
  ...heads.map(told('', (bytes) => bytes)),
];

const patienceMs = 10_000;

/** The status of each answer to these bytes until the connection has ended. */
export function tell(
  port: number,
  { bytes, isCut = false }: { readonly bytes: Buffer; readonly isCut?: boolean | undefined },
): Promise<{ statuses: string[]; text: string }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      if (/^HTTP\/1\.1 [2-5]/m.test(text)) socket.end();
    });
    socket.setTimeout(patienceMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', () => {
      const found = [...text.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => status ?? '');
      const statuses = found.filter((status) => status !== '100');
      resolve({ statuses: statuses.length === 0 ? ['cut'] : statuses, text });
    });
    if (isCut) socket.end(bytes);
    else socket.write(bytes);
  });
}
