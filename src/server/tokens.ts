// Who may do what: bearer tokens with rights per stream. Tokens are compared by their SHA-256
// digests, every one on every look-up, so that the time tells nothing about how close a guess was.
// Must never keep, log or return the text of a token.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { TokenOptions } from '../options.ts';

export type Right = 'write' | 'read' | 'operate';

/** What the bearer of one token may do. */
export interface Access {
  /** Its place in the configuration; undefined where there are no tokens. */
  readonly token: number | undefined;
  readonly rights: ReadonlySet<Right>;
  /** Undefined: every stream. */
  readonly streams: ReadonlySet<string> | undefined;
}

const everyRight: readonly Right[] = ['write', 'read', 'operate'];

/** What everybody may do where no tokens are configured. */
export const fullAccess: Access = {
  token: undefined,
  rights: new Set(everyRight),
  streams: undefined,
};

export const mayAny = (access: Access, rights: readonly Right[]): boolean =>
  rights.some((right) => access.rights.has(right));

export const mayUse = (access: Access, stream: string): boolean =>
  access.streams === undefined || access.streams.has(stream);

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

export class Tokens {
  readonly #entries: readonly { readonly digest: Buffer; readonly access: Access }[];

  constructor(tokens: readonly TokenOptions[]) {
    this.#entries = tokens.map(({ token, rights, streams }, place) => ({
      digest: digestOf(token),
      access: {
        token: place,
        rights: new Set(rights ?? everyRight),
        streams: streams === undefined ? undefined : new Set(streams),
      },
    }));
  }

  /** The access that an `Authorization` header gives, or undefined where its token is not ours. */
  find(authorization: string | undefined): Access | undefined {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const digest = digestOf(token);
    let found: Access | undefined;
    for (const entry of this.#entries) {
      if (timingSafeEqual(entry.digest, digest)) found = entry.access;
    }
    return found;
  }
}
