// The rules between options, asked once each value by itself is fit.
import { limits } from './limits.ts';
import type { Options, StreamRules } from './options.ts';

/** What is wrong, one line each, with the path first. */
export function optionRules(options: Options): string[] {
  return [
    ...targetRules(options),
    ...Object.entries(options.streams).flatMap(([name, rules]) => streamRules(name, rules)),
    ...Object.entries(options.streams).flatMap(([name, rules]) =>
      stagingRules(`streams.${name}`, rules, options.target),
    ),
    ...limitRules(options.limits),
    ...serverRules(options),
  ];
}

// Names stand in addresses, in metrics and in the target's tables.
const streamName = /^[A-Za-z0-9_.-]{1,64}$/;

function targetRules({ target, confirm, streams }: Options): string[] {
  const problems: string[] = [];
  const isSqlite = target.startsWith('sqlite:');
  if (!isSqlite && !/^(?:postgres|postgresql|mysql|mariadb):\/\//.test(target)) {
    // The URL itself may hold a password.
    problems.push('target: must begin with postgres://, mysql:// or sqlite:');
  }
  if (isSqlite && /^sqlite:(?:\/\/(?!\/)|\/*$)/.test(target)) {
    problems.push('target: sqlite: takes the path of a file on this machine, and no host');
  }
  if (isSqlite && confirm === 'standby') {
    problems.push("confirm: 'standby' needs PostgreSQL; SQLite has no standby");
  }
  if (/^(?:mysql|mariadb):/.test(target) && confirm === 'standby') {
    problems.push(
      "confirm: 'standby' needs PostgreSQL; a primary of MariaDB or MySQL cannot tell what its " +
        'replicas have. Let its commits wait for a replica (semi-synchronous replication, ' +
        "AFTER_SYNC), and take 'commit', or { afterMs: … }",
    );
  }
  if (Object.keys(streams).length === 0) problems.push('streams: must name at least one stream');
  return problems;
}

function streamRules(name: string, rules: StreamRules): string[] {
  const { key, lane, onConflict, lanes, loaders } = rules;
  const problems: string[] = [];
  const problem = (option: string, text: string) =>
    problems.push(`streams.${name}${option}: ${text}`);
  const policy = typeof onConflict === 'string' ? onConflict : 'newest';
  if (!streamName.test(name)) {
    problem('', 'a name has 1 to 64 letters, digits, dots, dashes and underscores');
  }
  if (new Set(key).size !== key.length) problem('.key', 'names a column twice');
  if (policy !== 'dead-letter' && key.length === 0) {
    problem('.onConflict', `'${policy}' needs a key; without one, rows cannot conflict`);
  }
  if (typeof onConflict === 'object' && key.includes(onConflict.newest)) {
    problem(
      '.onConflict',
      `newest: "${onConflict.newest}" is part of the key, so it never differs`,
    );
  }
  if (policy !== 'dead-letter' && lane !== undefined && !key.includes(lane)) {
    problem(
      '.lane',
      `with onConflict '${policy}' the order of a key's rows matters: use a key column`,
    );
  }
  if (loaders > lanes) problem('.loaders', `is ${loaders}, more than the ${lanes} lanes to share`);
  return problems;
}

function stagingRules(path: string, rules: StreamRules, target: string): string[] {
  const problems: string[] = [];
  if (rules.route === 'staged' && target.startsWith('sqlite:')) {
    problems.push(`${path}.route: SQLite has one writer at a time; it takes 'direct' only`);
  }
  if (rules.staging === 'unlogged' && rules.route === 'direct') {
    problems.push(`${path}.staging: goes with route: 'staged'`);
  }
  if (rules.staging === 'unlogged' && !target.startsWith('postgres')) {
    problems.push(`${path}.staging: only PostgreSQL has unlogged tables`);
  }
  return problems;
}

function limitRules(given: Options['limits']): string[] {
  const { bytesMax, memoryBytesMax, segmentBytes } = given;
  const problems: string[] = [];
  const groupBytesMax = Math.min(limits.groupBytesMax, segmentBytes / 2);
  if (memoryBytesMax < groupBytesMax) {
    problems.push(`limits.memoryBytesMax: must hold a group, ${groupBytesMax} bytes`);
  }
  // One is written, one is prepared, one is kept for recovery (P17).
  if (bytesMax !== undefined && bytesMax < 3 * segmentBytes) {
    problems.push(`limits.bytesMax: must hold three segments, ${3 * segmentBytes} bytes`);
  }
  return problems;
}

/** Whether only this machine can reach it. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127\./.test(host);

function serverRules({ server, streams }: Options): string[] {
  const problems: string[] = [];
  if (!isLoopback(server.host) && server.tokens.length === 0) {
    problems.push(
      `server.tokens: listening on ${server.host}, beyond this machine, needs at least one token`,
    );
  }
  for (const [i, token] of server.tokens.entries()) {
    for (const name of token.streams ?? []) {
      if (!Object.hasOwn(streams, name)) {
        problems.push(`server.tokens[${i}].streams: no stream is named "${name}"`);
      }
    }
  }
  return problems;
}
