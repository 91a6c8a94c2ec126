// Finds and reads the configuration. Relative paths in it start at its own folder, so that one file
// means one journal wherever it is used from; file names on the command line start at the working
// folder.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { HoldfastError } from '../errors.ts';
import { type OpenOptions, type Options, readOptions } from '../options.ts';
import type { Credentials } from './http.ts';

const names = ['ts', 'mts', 'js', 'mjs', 'json'].map((ending) => `holdfast.config.${ending}`);

export interface Config {
  /** As given, with absolute paths; checked. */
  readonly options: OpenOptions;
  /** The same, complete with defaults. */
  readonly complete: Options;
  /** What a request to a running owner needs. */
  readonly credentials: Credentials;
}

type Environment = { readonly [name: string]: string | undefined };

/** The folder that the user stands in: npm runs scripts in the package's own. */
export function workingFolder(environment: Environment = process.env): string {
  const { INIT_CWD, npm_lifecycle_event } = environment;
  return npm_lifecycle_event !== undefined && INIT_CWD ? INIT_CWD : process.cwd();
}

/**
 * `environment`: where HOST and PORT are taken from; none by default. `server`: options of the
 * server that go before what was written. Throws HF_USAGE that says
 * what to do where there is no configuration, or a wrong one.
 */
export async function readConfig(
  file: string | undefined,
  environment: Environment = {},
  server: object = {},
): Promise<Config> {
  const path = file === undefined ? findConfig(workingFolder()) : resolve(workingFolder(), file);
  return toConfig(withServer(await load(path), server), dirname(path), environment);
}

function findConfig(folder: string): string {
  const found = names.map((name) => join(folder, name)).find((path) => existsSync(path));
  if (found !== undefined) return found;
  const message =
    `There is no holdfast.config.ts (.mts, .js, .mjs, .json) in ${folder}. ` +
    'Make one with `holdfast init`, or name one with --config FILE.';
  throw new HoldfastError('HF_USAGE', message);
}

async function load(path: string): Promise<unknown> {
  if (!existsSync(path)) throw new HoldfastError('HF_USAGE', `There is no file ${path}.`);
  try {
    if (extname(path) === '.json') return JSON.parse(readFileSync(path, 'utf8'));
    const module: { readonly default?: unknown } = await import(pathToFileURL(path).href);
    return module.default;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const module =
      /\.[jt]s$/.test(path) && isCommonJs(dirname(path)) ? `.m${path.slice(-2)}` : undefined;
    const hint = module && ` (package.json says "commonjs"; let the name end in ${module})`;
    throw new HoldfastError('HF_USAGE', `${path} cannot be read: ${why}${hint ?? ''}`, { cause });
  }
}

/** Whether a .ts or .js file there is CommonJS for Node.js, which knows no `export default`. */
export function isCommonJs(folder: string): boolean {
  const file = join(folder, 'package.json');
  if (existsSync(file)) return /"type"\s*:\s*"commonjs"/.test(readFileSync(file, 'utf8'));
  const above = dirname(folder);
  return above !== folder && isCommonJs(above);
}

/** Options as they were written in `folder`: with absolute paths, with HOST and PORT, checked. */
export function toConfig(written: unknown, folder: string, environment: Environment): Config {
  const given = withAddress(absolute(written, folder), environment);
  const complete = readOptions(given);
  const { tokens, tls } = complete.server;
  const own = tokens.find(({ rights, streams }) => !rights && !streams) ?? tokens[0];
  const token = process.env['HOLDFAST_TOKEN'] ?? own?.token;
  return {
    options: given as OpenOptions,
    complete,
    credentials: {
      ...(token !== undefined && { token }),
      ...(tls && { certificate: tls.cert }),
    },
  };
}

const isObject = (value: unknown): value is { readonly [name: string]: unknown } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Leaves alone whatever is not of the right shape: readOptions names it. */
function absolute(given: unknown, folder: string): unknown {
  if (!isObject(given)) return given;
  const inFolder = (path: unknown) =>
    typeof path === 'string' && path !== '' ? resolve(folder, path) : path;
  const { journal, target, server } = given;
  const file =
    typeof target === 'string' ? /^sqlite:(?:\/\/(?=\/))?(.+)$/.exec(target)?.[1] : undefined;
  const tls = isObject(server) && isObject(server['tls']) ? server['tls'] : undefined;
  return {
    ...given,
    journal: inFolder(journal),
    target:
      file === undefined || file.startsWith('//') ? target : `sqlite:${resolve(folder, file)}`,
    ...(isObject(server) && {
      server: {
        ...server,
        ...(tls && { tls: { ...tls, cert: inFolder(tls['cert']), key: inFolder(tls['key']) } }),
      },
    }),
  };
}

function withAddress(given: unknown, { HOST, PORT }: Environment): unknown {
  const address = { ...(HOST && { host: HOST }), ...(PORT && { port: Number(PORT) }) };
  return Object.keys(address).length === 0 ? given : withServer(given, address);
}

/** Options in which these of the server go before what was written. */
function withServer(given: unknown, options: object): unknown {
  if (!isObject(given)) return given;
  const server = isObject(given['server']) ? given['server'] : {};
  return { ...given, server: { ...server, ...options } };
}
