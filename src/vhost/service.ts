import { unlinkSync } from 'node:fs';
import type { Arena } from '../memory/arena.ts';
import { type Poller, requireSockets, requireSys, type UnixSockets } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { Backend } from './backend.ts';
import type { VhostDevice } from './device.ts';

/** How often a client tries to connect again, and how often faults are looked for, in milliseconds. */
const RETRY_MS = 100;
const WATCH_MS = 100;

/** How a backend is reached. */
export interface ServiceOptions {
  /** Names its regions in the arena, and it in messages. */
  readonly name: string;
  /** Path of the socket. */
  readonly socket: string;
  /** Listen there; else connect, again and again. */
  readonly server: boolean;
  readonly device: VhostDevice;
  /** Told whenever a frontend comes or goes, and why it went. */
  readonly onChange: (state: ServiceState) => void;
}

/** Who is there. */
export interface ServiceState {
  readonly connected: boolean;
  /** Why the last frontend was sent away; undefined when it left by itself. */
  readonly fault?: string;
}

/** Keeps one device on a socket: takes a frontend, serves it, and takes the next one when it is gone. */
export class VhostService {
  readonly #arena: Arena;
  readonly #poller: Poller;
  readonly #options: ServiceOptions;
  readonly #sockets: UnixSockets;
  readonly #closeFd: (fd: number) => void;
  #listener = -1;
  #unwatch: (() => void)[] = [];
  #backend: Backend | undefined;
  /** Ends the watch of the frontend's socket. */
  #unwatchBackend: () => void = () => {};
  #timers: NodeJS.Timeout[] = [];
  #open = false;
  /** What is done to the backend is done one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(arena: Arena, poller: Poller, options: ServiceOptions) {
    this.#arena = arena;
    this.#poller = poller;
    this.#options = options;
    this.#sockets = requireSockets(options.name);
    this.#closeFd = requireSys(options.name).closeFd;
  }

  /**
   * Begins to listen, or to connect.
   * @throws RingwayError `BUSY` when somebody listens there already, `SYSTEM` when the socket cannot be made.
   */
  open(): void {
    if (this.#open) return;
    const { socket, server } = this.#options;
    if (server) {
      this.#listener = this.#sockets.listen(socket);
      this.#unwatch.push(this.#poller.watch(this.#listener, () => this.#queue(() => this.#accept())));
    } else {
      this.#timers.push(setInterval(() => void this.#queue(() => this.#connect()), RETRY_MS));
      void this.#queue(() => this.#connect());
    }
    this.#timers.push(setInterval(() => void this.#queue(() => this.#backend?.check()), WATCH_MS));
    this.#open = true;
  }

  #queue(work: () => Promise<void> | void): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      // A frontend's faults end it; anything else is ours.
      if (!(error instanceof RingwayError)) throw error;
      return this.#drop(error.message);
    });
    return this.#work;
  }

  async #accept(): Promise<void> {
    const fd = this.#sockets.accept(this.#listener);
    if (fd === undefined) return;
    // The one before may have died a moment ago, with nobody having looked since.
    if (this.#backend !== undefined && this.#sockets.isClosed(this.#backend.fd)) await this.#drop();
    if (this.#backend === undefined) this.#take(fd);
    // One device has one driver. The next one is to find that out at once.
    else this.#closeFd(fd);
  }

  #connect(): void {
    if (this.#backend !== undefined || !this.#open) return;
    const fd = this.#sockets.connect(this.#options.socket);
    if (fd !== undefined) this.#take(fd);
  }

  #take(fd: number): void {
    const { name, device, onChange } = this.#options;
    const backend = new Backend(this.#arena, name, device, fd);
    this.#backend = backend;
    this.#unwatchBackend = this.#poller.watch(fd, () => this.#queue(() => this.#serve(backend)));
    onChange({ connected: true });
  }

  async #serve(backend: Backend): Promise<void> {
    if (backend === this.#backend && !(await backend.serve())) await this.#drop();
  }

  /** Ends the connection, because of `fault` or because it has ended. */
  async #drop(fault?: string): Promise<void> {
    const backend = this.#backend;
    if (backend === undefined) return;
    this.#backend = undefined;
    this.#unwatchBackend();
    try {
      await backend.close();
    } catch (error) {
      // An lcore that died tells of it elsewhere, and all is given back.
      if (!(error instanceof RingwayError)) throw error;
    }
    this.#options.onChange({ connected: false, ...(fault === undefined ? {} : { fault }) });
  }

  /**
   * Tells the frontend that the link is up or down. One that has no way to hear of it, as QEMU's, learns it from the
   * connection: it is ended, and there is none while the link is down.
   */
  async setLink(up: boolean): Promise<void> {
    if (up) this.open();
    if (this.#backend?.configChanged() !== true && !up) await this.close();
  }

  #shut(): void {
    this.#open = false;
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
    if (this.#listener === -1) return;
    this.#closeFd(this.#listener);
    this.#listener = -1;
    try {
      unlinkSync(this.#options.socket);
    } catch {
      // Somebody else removed it.
    }
  }

  /** Stops listening and sends the frontend away, in order: the rings stop where they are. */
  async close(): Promise<void> {
    this.#shut();
    await this.#queue(() => this.#drop());
  }

  /** As `close`, when no thread uses the rings any more. */
  abandon(): void {
    this.#shut();
    const backend = this.#backend;
    this.#backend = undefined;
    this.#unwatchBackend();
    backend?.abandon();
  }
}
