// graphile-worker, as far as bench peers calls it.
import type { Connection } from './insert.ts';
import { loadPackage } from './packages.ts';

interface Helpers {
  withPgClient<T>(use: (client: Connection) => Promise<T>): Promise<T>;
}

interface Shared {
  readonly connectionString: string;
  readonly logger: unknown;
}

interface Running extends Shared {
  readonly noHandleSignals: boolean;
  readonly preset: { readonly worker: { readonly [option: string]: unknown } };
  readonly taskList: {
    readonly [task: string]: (payload: never, helpers: Helpers) => Promise<void>;
  };
}

export interface WorkerUtils {
  migrate(): Promise<void>;
  addJob(task: string, payload: object): Promise<unknown>;
  forceUnlockWorkers(ids: readonly string[]): Promise<void>;
  release(): Promise<void>;
}

interface Library {
  readonly Logger: new (scope: () => () => void) => unknown;
  makeWorkerUtils(options: Shared): Promise<WorkerUtils>;
  run(options: Running): Promise<unknown>;
}

export const task = 'payments';

const load = (): Promise<Library> => loadPackage<Library>('graphile-worker');

async function shared(url: string): Promise<Shared> {
  const { Logger } = await load();
  return { connectionString: url, logger: new Logger(() => () => undefined) };
}

export async function openUtils(url: string): Promise<WorkerUtils> {
  return (await load()).makeWorkerUtils(await shared(url));
}

export async function runWorker(url: string, of: Omit<Running, keyof Shared>): Promise<void> {
  await (await load()).run({ ...(await shared(url)), ...of });
}
