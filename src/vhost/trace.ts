import { readlinkSync, rmSync } from 'node:fs';
import { Poller, requireSockets, requireSys, type UnixSockets } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import type { FeatureNames } from '../virtio/features.ts';
import { type DescribedMessage, describeMessage } from './describe.ts';
import { FLAG_REPLY, HEADER_BYTES, REQUEST, U64 } from './protocol.ts';
import { TraceStream } from './trace-stream.ts';

/** Who sent a message. */
export type Sender = 'frontend' | 'backend';

/** A message that passed. */
export interface TracedMessage {
  /** Milliseconds since 1970, with their fraction. */
  readonly atMs: number;
  /** Counts the clients, from 1. */
  readonly client: number;
  readonly from: Sender;
  /** It passed the channel on which the backend asks. */
  readonly backendChannel: boolean;
  /** What it says. */
  readonly text: string;
  /** The message, header first; cut when it is longer than any message may be. */
  readonly bytes: Uint8Array;
  /** Bytes that it has in all. */
  readonly size: number;
}

export interface TraceOptions {
  /** Path at which clients are taken. */
  readonly listen: string;
  /** Path to which each of them is connected. */
  readonly connect: string;
  /** Names for the feature bits of the device. */
  readonly device?: FeatureNames;
  readonly onMessage: (message: TracedMessage) => void;
  /** A client came, could not be connected, or went. */
  readonly onEvent: (client: number, text: string) => void;
}

/** How often a side that does not read is tried again, in milliseconds. */
const RETRY_MS = 1;
/** Requests have smaller numbers: others have no replies that would be waited for. */
const REQUESTS_MAX = 256;

const now = (): number => performance.timeOrigin + performance.now();
const other = (side: Sender): Sender => (side === 'frontend' ? 'backend' : 'frontend');

function kindOf(fd: number): string {
  try {
    const link = readlinkSync(`/proc/self/fd/${fd}`).replace(/ \(deleted\)$/, '');
    return link.replace(/^anon_inode:\[?([^\]]*)\]?$/, '$1');
  } catch {
    return 'unknown';
  }
}

function bytesOf({ request, flags, size, payload }: DescribedMessage): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  for (const [i, word] of [request, flags, size].entries()) view.setUint32(4 * i, word, true);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** What all links of a tracer share. */
interface Shared {
  readonly options: TraceOptions;
  readonly sockets: UnixSockets;
  readonly poller: Poller;
  readonly closeFd: (fd: number) => void;
  readonly links: Set<Link>;
}

/**
 * Two sockets, between which all that comes is passed on and told. A side that does not read keeps the other waiting, as it
 * would without us.
 *
 *     frontend ◀──────▶ link ◀──────▶ backend
 *        └──── its backend channel ─────┘         one more link, made when SET_BACKEND_REQ_FD passes
 */
class Link {
  readonly #shared: Shared;
  readonly #client: number;
  readonly #fds: Readonly<Record<Sender, number>>;
  readonly #backendChannel: boolean;
  readonly #unwatch: (() => void)[] = [];
  /** When each request was asked for the last time. */
  readonly #asked = new Map<number, number>();
  #features = 0n;
  #open = true;

  /** @param fds the sockets; they are the link's from now on. */
  constructor(shared: Shared, client: number, fds: Readonly<Record<Sender, number>>, backendChannel: boolean) {
    this.#shared = shared;
    this.#client = client;
    this.#fds = fds;
    this.#backendChannel = backendChannel;
    shared.links.add(this);
    for (const side of ['frontend', 'backend'] as const) {
      const stream = new TraceStream(shared.sockets, fds[side]);
      this.#unwatch.push(shared.poller.watch(fds[side], () => this.#pass(side, stream)));
    }
  }

  async #pass(from: Sender, stream: TraceStream): Promise<void> {
    while (this.#open) {
      const piece = stream.next();
      if (piece === 'again') return;
      if (piece === 'closed') return this.close(`${from} closed${this.#backendChannel ? ' the backend channel' : ''}`);
      const { bytes, fds, request, whole } = piece;
      const atMs = now();
      const kinds = fds.map(kindOf);
      const isChannel = request === REQUEST.SET_BACKEND_REQ_FD && from === 'frontend' && !this.#backendChannel;
      const [given, ...surplus] = fds;
      if (isChannel && given !== undefined && kinds[0]?.startsWith('socket:')) {
        await this.#send('backend', bytes, [this.#splice(given), ...surplus]);
      } else {
        await this.#send(other(from), bytes, fds);
      }
      if (whole !== undefined) this.#tell(whole, from, atMs, kinds);
    }
  }

  /** Goes between the sides of a backend channel. Returns the end that the backend is to be given in place of `frontend`. */
  #splice(frontend: number): number {
    const { sockets, closeFd } = this.#shared;
    const [backend, handed] = sockets.pair();
    try {
      new Link(this.#shared, this.#client, { frontend, backend }, true);
    } catch (error) {
      closeFd(handed);
      throw error;
    }
    return handed;
  }

  async #send(to: Sender, bytes: Uint8Array, fds: readonly number[]): Promise<void> {
    try {
      for (let sent = 0; sent < bytes.length && this.#open; ) {
        const n = this.#shared.sockets.send(this.#fds[to], bytes.subarray(sent), sent === 0 ? fds : []);
        if (n === 'closed') this.close(`${to} closed`);
        else if (n === 0) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        else sent += n;
      }
    } finally {
      // The other side has descriptors of its own.
      for (const fd of fds) this.#shared.closeFd(fd);
    }
  }

  #tell(message: DescribedMessage, from: Sender, atMs: number, fds: readonly string[]): void {
    const { request, flags, size, payload } = message;
    const { device, onMessage } = this.#shared.options;
    const backendChannel = this.#backendChannel;
    const isReply = (flags & FLAG_REPLY) !== 0 && from === (backendChannel ? 'frontend' : 'backend');
    const asked = isReply ? this.#asked.get(request) : undefined;
    if (isReply) this.#asked.delete(request);
    else if (request < REQUESTS_MAX) this.#asked.set(request, atMs);
    const text = describeMessage(message, {
      ...(device === undefined ? {} : { device }),
      ...(asked === undefined ? {} : { afterMs: atMs - asked }),
      features: this.#features,
      backendChannel,
      fds,
    });
    if (request === REQUEST.SET_FEATURES && !isReply && !backendChannel && payload.length === U64.bytes) {
      this.#features = U64.read(payload);
    }
    const bytes = bytesOf(message);
    onMessage({ atMs, client: this.#client, from, backendChannel, text, bytes, size: HEADER_BYTES + size });
  }

  close(why?: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#shared.links.delete(this);
    for (const end of this.#unwatch) end();
    for (const fd of Object.values(this.#fds)) this.#shared.closeFd(fd);
    if (why !== undefined) this.#shared.options.onEvent(this.#client, why);
  }
}

/** Stands between vhost-user frontends and their backend, and tells every message. */
export class VhostTracer {
  readonly #shared: Shared;
  readonly #listener: number;
  readonly #unwatch: () => void;
  #clients = 0;

  /**
   * Begins to listen.
   * @throws RingwayError `UNSUPPORTED` when there are no system calls here, `BUSY` when somebody listens there already,
   *   `SYSTEM` when the socket cannot be made.
   */
  constructor(options: TraceOptions) {
    const what = 'a trace of vhost-user';
    const sockets = requireSockets(what);
    this.#listener = sockets.listen(options.listen);
    // A poller's bells are of no use here; they want a memory all the same.
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const poller = new Poller(memory, what);
    this.#shared = { options, sockets, poller, closeFd: requireSys(what).closeFd, links: new Set() };
    this.#unwatch = poller.watch(this.#listener, () => this.#accept());
  }

  #accept(): void {
    const { sockets, closeFd, options } = this.#shared;
    const frontend = sockets.accept(this.#listener);
    if (frontend === undefined) return;
    this.#clients++;
    const client = this.#clients;
    try {
      const backend = sockets.connect(options.connect);
      if (backend !== undefined) {
        options.onEvent(client, 'connected');
        new Link(this.#shared, client, { frontend, backend }, false);
        return;
      }
      options.onEvent(client, `nobody listens at ${options.connect}`);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      options.onEvent(client, error.message);
    }
    closeFd(frontend);
  }

  /** Ends all connections, and listens no more. */
  async close(): Promise<void> {
    this.#unwatch();
    for (const link of [...this.#shared.links]) link.close();
    this.#shared.closeFd(this.#listener);
    rmSync(this.#shared.options.listen, { force: true });
    await this.#shared.poller.close();
  }
}
