// The address of a server, taken by one only. The sockets of several accept workers share it by
// SO_REUSEPORT, and with that the kernel lets in the sockets of any other such server, too: half of
// what is sent to one would go into the other's database. So whether the address is free is tried
// with a socket that shares with nobody.
import { once } from 'node:events';
import { createServer, type ListenOptions, type Server } from 'node:net';
import { HoldfastError } from '../errors.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Rejects with HF_USAGE where `work`, which listens there, cannot. */
export async function listening<T>({ host, port }: Address, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).replaceAll('\0', '@');
    const message = `Cannot listen on ${host}:${port}: ${why}. Choose another host or port.`;
    throw new HoldfastError('HF_USAGE', message, { cause: error });
  }
}

/**
 * Lets `work` make the sockets that share an address. Rejects with HF_USAGE where somebody has it.
 * A port that the kernel is to choose is one that nobody has.
 */
export async function alone<T>(address: Address, work: () => Promise<T>): Promise<T> {
  const { host, port } = address;
  if (port === 0) return work();
  // Between trying it and taking it nobody else may try: this name lasts as long as its socket.
  const begins = await listening(address, () => open({ path: `\0holdfast ${host}:${port}` }));
  try {
    const tried = await listening(address, () => open({ host, port }));
    await close(tried);
    return await work();
  } finally {
    await close(begins);
  }
}

async function open(where: ListenOptions): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  server.listen(where);
  await once(server, 'listening');
  return server;
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => server.close(() => resolve()));
