// Every route of a running server, as its own description lists them, with every kind of token. A
// route that the table of rights below does not know fails: nobody has thought about it.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tally } from '../campaign.ts';
import { type Answer, type Asked, bearer, type Site, tokenList, tokens } from './site.ts';

type Right = 'write' | 'read' | 'operate';
type Refused = 'everybody' | 'one stream';

interface Rule {
  /** Any one of them opens it; none: it is open to all. */
  readonly rights: readonly Right[];
  /** Refused to whoever may use some streams only. */
  readonly refused?: Refused;
}

const write: Rule = { rights: ['write'] };
const read: Rule = { rights: ['read'] };
const operate: Rule = { rights: ['operate'] };
const open: Rule = { rights: [] };

const rules: Readonly<Record<string, Rule>> = {
  'GET /': open,
  'GET /healthz': open,
  'GET /readyz': open,
  'GET /metrics': read,
  'GET /openapi.json': { rights: ['read', 'write', 'operate'] },
  'GET /v1/status': read,
  'GET /v1/streams': read,
  'GET /v1/streams/{stream}': read,
  'GET /v1/receipts/{receipt}': { rights: ['read', 'write'] },
  'GET /v1/options': { rights: ['operate'], refused: 'one stream' },
  'GET /v1/dead-letters': operate,
  'GET /v1/dead-letters/{id}': operate,
  'POST /v1/dead-letters/{id}/replay': operate,
  'DELETE /v1/dead-letters/{id}': operate,
  'POST /v1/verify': operate,
  'POST /v1/streams/{stream}/pass-over': operate,
  'POST /v1/streams/{stream}/records': write,
  'POST /v1/streams/{stream}/loads': write,
  'POST /v1/loads/{load}': write,
  'POST /v1/loads/{load}/reported': write,
};

interface Route {
  readonly method: string;
  /** As described, with its parameters in braces. */
  readonly pattern: string;
  /** With things of the stream `events` for its parameters. */
  readonly path: string;
  readonly rule: Rule;
}

/** A token that the server had once. */
export const removed = { token: 'removed-6b1e9d3c7f5a4820' };
const secret = 'what-no-stranger-may-read';
const guess = 'wrong-guess-2f8b6d4e';
/** Fewer guesses than an address has before its requests are refused for their number. */
const guessesEach = 15;
const refusedRow = '{"id":900000001,"note":"refused"}\n';

/** Bearers of no right, by what is wrong with them. */
const strangers: Readonly<Record<string, string | undefined>> = {
  'no token': undefined,
  'a wrong token': `Bearer ${guess}`,
  'a token that was removed': `Bearer ${removed.token}`,
  'a token that is cut': `Bearer ${tokens.admin.slice(0, -1)}`,
  'a token and more': `Bearer ${tokens.admin}0`,
  'two tokens': `Bearer ${guess} ${tokens.admin}`,
  'an empty token': 'Bearer ',
  'a token without its scheme': tokens.admin,
  'a token under another scheme': `Basic ${Buffer.from(`:${tokens.admin}`).toString('base64')}`,
  'a token in other letters': `Bearer ${tokens.admin.toUpperCase()}`,
};

/** Ways to spell a path so that a check by its text would miss it. */
const spellings = [
  '//v1/status',
  '/v1//status',
  '/v1/status/',
  '/V1/STATUS',
  '/v1/%73tatus',
  '/v1/./status',
  '/healthz/../v1/status',
  '/healthz%2f..%2fv1/status',
  '/v1/status;/healthz',
  '/v1/status%00',
  '/v1/status?/healthz',
  'http://127.0.0.1/v1/status',
];

class RouteAttack {
  readonly #site: Site;
  readonly #tally: Tally;
  #guesses = 0;

  constructor(site: Site, tally: Tally) {
    this.#site = site;
    this.#tally = tally;
  }

  async run(): Promise<void> {
    const routes = await this.#routes();
    const before = await this.#journaled();
    for (const route of routes) await this.#withoutRight(route);
    for (const path of spellings) await this.#spelled(path);
    await this.#guessing();
    const after = await this.#journaled();
    if (after !== before)
      this.#tally.fail(`routes: what was refused changed ${before} to ${after}`);
    for (const route of routes) await this.#withRight(route);
    this.#lookForTokens();
  }

  /** The routes of the description, with things of `events` in their paths. */
  async #routes(): Promise<Route[]> {
    const { text } = await this.#ask('/openapi.json', tokens.admin);
    const { paths } = bodyOf(text) as { readonly paths: Record<string, Record<string, object>> };
    const things = await this.#things();
    const routes: Route[] = [];
    for (const [pattern, methods] of Object.entries(paths)) {
      const plain = pattern.replaceAll(/\{(\w+)\}/g, (_, name: string) => things[name] ?? 'none');
      const path = pattern === '/v1/loads/{load}' ? `${plain}?offset=0` : plain;
      for (const method of Object.keys(methods).map((name) => name.toUpperCase())) {
        const rule = rules[`${method} ${pattern}`];
        if (!rule) {
          this.#tally.fail(`route ${method} ${pattern}: nobody has said who may use it`);
          continue;
        }
        routes.push({ method, pattern, path, rule });
        if (method === 'GET') routes.push({ method: 'HEAD', pattern, path, rule });
      }
    }
    this.#tally.see('routes', routes.length);
    return routes;
  }

  /** A receipt, a dead letter and a load of `events`: whatever a path may ask for. */
  async #things(): Promise<Readonly<Record<string, string>>> {
    const send = (note: string): Promise<Answer> =>
      this.#ask('/v1/streams/events/records?ack=settled', tokens.client, {
        method: 'POST',
        headers: { 'content-type': 'application/x-ndjson' },
        body: `{"id":0,"note":"${note}"}\n`,
      });
    const { receipt } = bodyOf((await send('first')).text) as { receipt: string };
    await send(secret);
    const letters = await this.#ask('/v1/dead-letters', tokens.admin);
    const { deadLetters } = bodyOf(letters.text) as { deadLetters: { id: string }[] };
    const begun = await this.#ask('/v1/streams/events/loads', tokens.client, beginning);
    const { load } = bodyOf(begun.text) as { load: string };
    const id = deadLetters[0]?.id ?? '';
    return {
      stream: 'events',
      receipt,
      id: encodeURIComponent(id),
      load: encodeURIComponent(load),
    };
  }

  async #withoutRight(route: Route): Promise<void> {
    const name = `${route.method} ${route.pattern}`;
    const isOpen = route.rule.rights.length === 0;
    for (const [what, authorization] of Object.entries(strangers)) {
      const answer = await this.#guess(route.path, authorization, asking(route));
      this.#judge(`route ${name} with ${what}`, answer, isOpen ? [200] : [401]);
    }
    if (isOpen) return;
    const put = await this.#guess(route.path, undefined, { method: 'PUT' });
    this.#judge(`route PUT ${route.pattern} with no token`, put, [401]);
    for (const { token, rights, streams } of tokenList) {
      if (!streams) continue;
      const isStranger = !streams.includes('events');
      const mayAsk = route.rule.rights.some((right) => rights?.includes(right));
      const isShut = !mayAsk || route.rule.refused === 'one stream';
      if (!isShut && !isStranger) continue;
      const asked = asking(route);
      const answer = await this.#ask(route.path, token, {
        ...asked,
        headers: { ...asked.headers, ...bearer(token) },
      });
      const isOfEvents = route.pattern.includes('{') || route.method === 'POST';
      const expected = isShut ? [403] : isOfEvents ? [403, 404] : [200];
      this.#judge(`route ${name} with ${token}`, answer, expected);
      if (isStranger) this.#lookForEvents(`route ${name} with ${token}`, answer);
    }
  }

  /** What is not the token's may not stand in an answer, whatever its status. */
  #lookForEvents(name: string, { text }: Answer): void {
    const told = /\/openapi/.test(name) ? '' : text;
    if (told.includes(secret)) this.#tally.fail(`${name}: it tells a row of another stream`);
    if (/"events"|events"\}/.test(told))
      this.#tally.fail(`${name}: it tells another stream's state`);
  }

  async #spelled(path: string): Promise<void> {
    const answer = await this.#guess(path, undefined, {});
    this.#judge(`route ${path} with no token`, answer, [400, 401, 404]);
  }

  /** From one address: soon it is told neither that it guessed wrong nor that it guessed right. */
  async #guessing(): Promise<void> {
    const from = '127.77.0.1';
    let last = 0;
    for (let i = 0; i < 2 * guessesEach; i++) {
      last = (await this.#ask('/v1/status', `${guess}${i}`, { from })).status;
    }
    const right = await this.#ask('/v1/status', tokens.reader, { from });
    this.#judge('route /v1/status guessed too often', { status: last, text: '' }, [429]);
    this.#judge('route /v1/status guessed right at last', right, [429]);
  }

  async #withRight(route: Route): Promise<void> {
    for (const { token, rights, streams } of tokenList) {
      const isOwn = !streams || (streams.includes('events') && route.rule.refused === undefined);
      const mayAsk = !rights || route.rule.rights.some((right) => rights.includes(right));
      if (!isOwn || !mayAsk) continue;
      const asked = asking(route);
      // Rows of its own it would write: the right to that is what is asked for here.
      const isWriting = route.rule.rights.includes('write');
      const { status } = await this.#ask(route.path, token, {
        ...asked,
        ...(isWriting && { body: '' }),
      });
      this.#tally.ran();
      if (status === 401 || status === 403 || status >= 500) {
        this.#tally.fail(`route ${route.method} ${route.pattern} with ${token}: ${status}`);
      }
    }
  }

  #judge(name: string, { status, text }: Answer, expected: readonly number[]): void {
    this.#tally.ran();
    this.#tally.see(`routes refused with ${status}`);
    if (!expected.includes(status)) {
      this.#tally.fail(`${name}: ${status}, expected ${expected.join(' or ')}`);
    }
    if (allTokens.some((token) => text.includes(token))) {
      this.#tally.fail(`${name}: the answer holds a token`);
    }
  }

  /** From an address that has guesses left. */
  #guess(path: string, authorization: string | undefined, asked: Asked): Promise<Answer> {
    const address = Math.floor(this.#guesses++ / guessesEach);
    return this.#site.ask(path, {
      ...asked,
      from: `127.66.${address >> 8}.${(address & 255) + 1}`,
      headers: { ...asked.headers, ...(authorization !== undefined && { authorization }) },
    });
  }

  #ask(path: string, token: string, asked: Asked = {}): Promise<Answer> {
    return this.#site.ask(path, { ...asked, headers: { ...asked.headers, ...bearer(token) } });
  }

  /** All that a request that was refused must leave as it is. */
  async #journaled(): Promise<string> {
    const books = [await this.#site.books('events'), await this.#site.books('hostile')];
    const letters = await this.#ask('/v1/dead-letters', tokens.admin);
    const counts = books.map(({ accepted, merged, deadLetters }) => [
      accepted,
      merged,
      deadLetters,
    ]);
    return JSON.stringify([counts, letters.text.slice(letters.text.indexOf('"deadLetters"'))]);
  }

  /** Not in what the process said, at its most talkative, nor in its journal. */
  #lookForTokens(): void {
    const folder = join(this.#site.folder, 'journal');
    const files = readdirSync(folder).map((name) => readFileSync(join(folder, name)));
    for (const token of allTokens) {
      if (this.#site.said.includes(token)) this.#tally.fail(`routes: ${token} stands in the log`);
      if (files.some((bytes) => bytes.includes(token))) {
        this.#tally.fail(`routes: ${token} stands in the journal`);
      }
    }
    this.#tally.see('tokens looked for', allTokens.length);
  }
}

const allTokens = [...tokenList.map(({ token }) => token), removed.token, guess];

const beginning: Asked = {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ format: 'ndjson', size: refusedRow.length, digest: '0'.repeat(64) }),
};

/** A request that would do something, were it let in. */
function asking({ method, pattern }: Pick<Route, 'method' | 'pattern'>): Asked {
  if (method !== 'POST') return { method };
  if (pattern.endsWith('/loads')) return beginning;
  const isOfRows = /records$|\{load\}$/.test(pattern);
  const type = isOfRows ? 'application/x-ndjson' : 'application/json';
  const body = isOfRows ? refusedRow : '{"stream":"events"}';
  return { method, headers: { 'content-type': type }, body };
}

/** The JSON behind the headers, which `ask` puts first. */
const bodyOf = (text: string): unknown => JSON.parse(text.slice(text.indexOf('}') + 1));

export function attackRoutes(site: Site, tally: Tally): Promise<void> {
  return new RouteAttack(site, tally).run();
}
