import { requireSockets, requireSys } from '#build/sys/index.js';
import { Channel, type Message } from '#build/vhost/channel.js';
import { FLAG_NEED_REPLY, FLAG_REPLY } from '#build/vhost/protocol.js';

/** A message on its way, as it is passed on: changed in place of what came. */
export interface Passing {
  request: number;
  payload: Uint8Array;
  fds: number[];
  flags: number;
}

/** What is wrong with a backend that this proxy makes of a good one. */
export interface Faults {
  /** Changes a request before the backend sees it. False swallows it. */
  readonly request?: (message: Passing, client: number) => boolean | undefined;
  /** Changes a reply before the frontend sees it. False swallows it. */
  readonly reply?: (message: Passing, client: number) => boolean | undefined;
  /** It takes no more clients after so many. */
  readonly clients?: number;
}

/** Stands before a backend, and has it make mistakes. */
export class FaultyBackend {
  readonly #sockets = requireSockets('a test');
  readonly #closeFd = requireSys('a test').closeFd;
  readonly #listener: number;
  readonly #backend: string;
  readonly #faults: Faults;
  readonly #pairs = new Set<{ readonly frontend: Channel; readonly backend: Channel; readonly client: number }>();
  readonly #timer: NodeJS.Timeout;
  #clients = 0;
  #open = true;

  constructor(listen: string, backend: string, faults: Faults) {
    this.#listener = this.#sockets.listen(listen);
    this.#backend = backend;
    this.#faults = faults;
    this.#timer = setInterval(() => this.#turn(), 1);
  }

  #turn(): void {
    const { clients = Number.POSITIVE_INFINITY } = this.#faults;
    const fd = this.#open && this.#clients < clients ? this.#sockets.accept(this.#listener) : undefined;
    if (fd !== undefined) {
      const client = this.#clients++;
      const backend = new Channel(this.#sockets.connect(this.#backend) as number, 'backend');
      this.#pairs.add({ frontend: new Channel(fd, 'frontend'), backend, client });
    }
    for (const pair of this.#pairs) {
      const { frontend, backend, client } = pair;
      const { request, reply } = this.#faults;
      const goesOn =
        this.#pass(frontend, backend, (message) => request?.(message, client)) &&
        this.#pass(backend, frontend, (message) => reply?.(message, client));
      if (goesOn) continue;
      this.#pairs.delete(pair);
      frontend.close();
      backend.close();
    }
  }

  #pass(from: Channel, to: Channel, change: (message: Passing) => boolean | undefined): boolean {
    for (let message = this.#read(from); message !== 'again'; message = this.#read(from)) {
      if (message === 'closed') return false;
      const passing = { ...message, fds: [...message.fds] };
      if (change(passing) !== false) this.#send(to, passing, !(message.flags & FLAG_REPLY));
      for (const fd of passing.fds) this.#closeFd(fd);
    }
    return true;
  }

  /** What is no message ends the connection, as it would with the backend itself. */
  #read(from: Channel): Message | 'again' | 'closed' {
    try {
      return from.read();
    } catch {
      return 'closed';
    }
  }

  #send(to: Channel, { request, payload, fds, flags }: Passing, isRequest: boolean): void {
    to.send(request, payload, { fds, reply: !isRequest, need: isRequest && (flags & FLAG_NEED_REPLY) !== 0 });
  }

  close(): void {
    this.#open = false;
    clearInterval(this.#timer);
    for (const { frontend, backend } of this.#pairs) {
      frontend.close();
      backend.close();
    }
    this.#closeFd(this.#listener);
  }
}
