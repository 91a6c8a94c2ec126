// What attackers do on plain sockets, at a rate of their own: hold connections open, ask without
// ever reading the answers, fire requests. They run in a process of their own (attacker-child.ts)
// and count what becomes of it.
import { connect, type Socket } from 'node:net';

/** How often each status, or end of a connection, was met. */
class Counts {
  readonly #counts: Record<string, number> = {};
  /** Numbers of the requests that were answered with 202, and of those that may have been taken. */
  readonly acknowledged: number[] = [];
  readonly uncertain: number[] = [];

  add(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  of(what: string): number {
    return this.#counts[what] ?? 0;
  }

  report(): Readonly<Record<string, number>> {
    return { ...this.#counts };
  }
}

export interface Attack {
  readonly counts: Counts;
  /** Whether it has come to its full strength. */
  isReady(): boolean;
  stop(): void;
}

const tickMs = 20;
/** New connections in a tick: the backlog of the listening socket is 511. */
const opensEach = 40;

export interface Holding {
  readonly port: number;
  readonly sockets: number;
  /** Sent at once, when a connection is open. */
  readonly opening: string;
  /** Sent every second from then on; '' for nothing. */
  readonly drip: string;
  /** New connections for those that the server ended. */
  readonly againPerSecond?: number;
}

/** Keeps `sockets` connections open, and opens another where one was ended. */
class Held {
  readonly counts = new Counts();
  readonly #open = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;

  constructor(by: Omit<Holding, 'opening' | 'drip'>, onOpen: (socket: Socket) => void) {
    const { port, sockets, againPerSecond = 200 } = by;
    let [opened, again] = [0, 0];
    this.#timer = setInterval(() => {
      again = Math.min(again + (againPerSecond * tickMs) / 1_000, opensEach);
      for (let i = 0; i < opensEach && this.#open.size < sockets; i++) {
        if (opened >= sockets && again < 1) break;
        if (opened++ >= sockets) again--;
        const socket = connect({ port, host: '127.0.0.1', noDelay: true });
        this.#open.add(socket);
        socket.on('connect', () => {
          this.counts.add('opened');
          onOpen(socket);
        });
        socket.on('error', () => this.counts.add('broken'));
        socket.on('close', () => {
          this.counts.add('closed');
          this.#open.delete(socket);
        });
      }
    }, tickMs);
  }

  get open(): ReadonlySet<Socket> {
    return this.#open;
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const socket of this.#open) socket.destroy();
  }
}

/** Slow requests, and connections on which nothing happens. */
export function hold(holding: Holding): Attack {
  const { sockets, opening, drip } = holding;
  const held = new Held(holding, (socket) => {
    socket.write(opening);
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text = (text + chunk.toString('latin1')).slice(-2_000);
      for (;;) {
        const found = /HTTP\/1\.1 (\d{3})[^\d]/.exec(text);
        if (!found) return;
        held.counts.add(found[1] ?? '');
        text = text.slice(found.index + found[0].length);
      }
    });
  });
  const timer = setInterval(() => {
    if (drip !== '') for (const socket of held.open) socket.write(drip);
  }, 1_000);
  return {
    counts: held.counts,
    isReady: () => held.counts.of('opened') >= sockets,
    stop: () => {
      clearInterval(timer);
      held.stop();
    },
  };
}

/** Requests at once and how often, of those who never read an answer: 50 a second each. */
const askedEach = 10;
const askedEveryMs = 200;

/** Asks again and again for as long as anybody takes it, and never reads an answer. */
export function ignore(holding: Omit<Holding, 'drip'>): Attack {
  const { sockets, opening } = holding;
  const many = opening.repeat(askedEach);
  const held = new Held(holding, (socket) => {
    const ask = (): void => {
      held.counts.add('asked');
      if (socket.write(many)) setTimeout(ask, askedEveryMs).unref();
    };
    socket.on('drain', ask);
    ask();
  });
  return {
    counts: held.counts,
    isReady: () => held.counts.of('opened') >= sockets,
    stop: () => held.stop(),
  };
}

export interface Volley {
  readonly port: number;
  readonly perSecond: number;
  /** Requests whose answers are waited for, at most. */
  readonly inFlightMax: number;
  /** On connections that are kept. */
  readonly isKept: boolean;
  /** The bytes of request `number`. */
  readonly request: (number: number) => string | Buffer;
  /** So many bytes follow, as chunks of a body, as far as the server takes them. */
  readonly followingBytes?: number;
  /** Rows are numbered from here on. */
  readonly numbersFrom?: number;
}

/** 1 MiB as chunks of a body: 50 of these a second are sent on a connection. */
const followingPart = Buffer.from(`10000\r\n${' '.repeat(0x10000)}\r\n`.repeat(16));

/** Fires requests, a number of them every second. */
export function fire(volley: Volley): Attack {
  const { port, perSecond, inFlightMax, isKept, request, followingBytes = 0 } = volley;
  const counts = new Counts();
  const all = new Set<Socket>();
  const idle: Socket[] = [];
  let number = volley.numbersFrom ?? 0;
  let [inFlight, due] = [0, 0];
  const shoot = (): void => {
    const own = number++;
    inFlight++;
    const socket = idle.pop() ?? connect({ port, host: '127.0.0.1', noDelay: true });
    all.add(socket);
    const end = (status: string): void => {
      inFlight--;
      counts.add(status);
      if (status === '202') counts.acknowledged.push(own);
      else if (!/^\d/.test(status)) counts.uncertain.push(own);
      socket.removeAllListeners();
      // What comes of a connection that is done with is nobody's concern.
      socket.on('error', () => socket.destroy());
      socket.on('close', () => all.delete(socket));
      if (isKept && /^\d/.test(status) && !socket.destroyed) idle.push(socket);
      else socket.destroy();
    };
    readAnswer(socket, end);
    socket.write(request(own));
    if (followingBytes > 0) follow(socket, followingBytes);
  };
  const timer = setInterval(() => {
    due = Math.min(due + (perSecond * tickMs) / 1_000, inFlightMax);
    for (; due >= 1 && inFlight < inFlightMax; due--) shoot();
  }, tickMs);
  return {
    counts,
    isReady: () => number > (volley.numbersFrom ?? 0),
    stop: () => {
      clearInterval(timer);
      for (const socket of all) socket.destroy();
    },
  };
}

/** Calls `end` once: with the status of a whole answer, or with 'cut'. */
function readAnswer(socket: Socket, end: (status: string) => void): void {
  let text = '';
  socket.on('error', () => socket.destroy());
  socket.on('close', () => end(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 'cut'));
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
    const head = text.indexOf('\r\n\r\n');
    const length = /\r\ncontent-length: (\d+)/i.exec(text)?.[1];
    if (head < 0 || length === undefined || text.length < head + 4 + Number(length)) return;
    end(text.slice(9, 12));
  });
}

function follow(socket: Socket, bytes: number): void {
  let left = bytes;
  const timer = setInterval(() => {
    if (left <= 0 || socket.destroyed) clearInterval(timer);
    else if (socket.writableLength === 0) {
      left -= followingPart.length;
      socket.write(followingPart);
    }
  }, tickMs);
}
