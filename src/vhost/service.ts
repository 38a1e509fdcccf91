import { unlinkSync } from 'node:fs';
import { type Poller, requireSockets, requireSys, type UnixSockets } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';

/** How often a client tries to connect again, and how often faults are looked for, in milliseconds. */
const RETRY_MS = 100;
const WATCH_MS = 100;

/** One side of a vhost-user connection, from when it is made until it is closed. */
export interface Connection {
  readonly fd: number;
  /**
   * Handles the messages that are there, some dozens at most. False when the other side has closed the connection.
   * @throws RingwayError for a message that breaks the protocol: close the connection then.
   */
  serve(): Promise<boolean>;
  /**
   * Looks for what nobody tells.
   * @throws RingwayError when the connection cannot go on.
   */
  check(): void;
  /** Ends all of it: rings are stopped, memory is given back, descriptors are closed. */
  close(): Promise<void>;
  /** As `close`, when no thread uses the rings any more. */
  abandon(): void;
}

/** How the other side is reached. */
export interface ServiceOptions<C extends Connection> {
  /** Names it in messages. */
  readonly name: string;
  /** Path of the socket. */
  readonly socket: string;
  /** Listen there; else connect, again and again. */
  readonly server: boolean;
  /**
   * Our side of the connection `fd`, which is its to close from now on, even if this throws.
   * @throws RingwayError when it cannot be had.
   */
  readonly connect: (fd: number) => C;
  /** Told whenever the other side comes or goes, and why it went or cannot come. */
  readonly onChange: (state: ServiceState) => void;
}

/** Who is there. */
export interface ServiceState {
  readonly connected: boolean;
  /** Why the other side was sent away, or cannot be reached; undefined when it left by itself. */
  readonly fault?: string;
}

/** Keeps one side of vhost-user on a socket: takes a connection, serves it, and takes the next one when it is gone. */
export class VhostService<C extends Connection> {
  readonly #poller: Poller;
  readonly #options: ServiceOptions<C>;
  readonly #sockets: UnixSockets;
  readonly #closeFd: (fd: number) => void;
  #listener = -1;
  #unwatch: (() => void)[] = [];
  #connection: C | undefined;
  /** Ends the watch of the connection's socket. */
  #unwatchConnection: () => void = () => {};
  #timers: NodeJS.Timeout[] = [];
  #open = false;
  /** What was told last. */
  #fault: string | undefined;
  /** What is done to the connection is done one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(poller: Poller, options: ServiceOptions<C>) {
    this.#poller = poller;
    this.#options = options;
    this.#sockets = requireSockets(options.name);
    this.#closeFd = requireSys(options.name).closeFd;
  }

  /** The connection that there is now. */
  get connection(): C | undefined {
    return this.#connection;
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
      this.#timers.push(setInterval(() => void this.#queue(() => this.#reconnect()), RETRY_MS));
      void this.#queue(() => this.#reconnect());
    }
    this.#timers.push(setInterval(() => void this.#queue(() => this.#connection?.check()), WATCH_MS));
    this.#open = true;
  }

  #queue(work: () => Promise<void> | void): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => {
      // The other side's faults end the connection; anything else is ours.
      if (!(error instanceof RingwayError)) throw error;
      return this.#drop(error.message);
    });
    return this.#work;
  }

  async #accept(): Promise<void> {
    const fd = this.#sockets.accept(this.#listener);
    if (fd === undefined) return;
    // The one before may have died a moment ago, with nobody having looked since.
    if (this.#connection !== undefined && this.#sockets.isClosed(this.#connection.fd)) await this.#drop();
    if (this.#connection === undefined) this.#take(fd);
    // One device has one driver. The next one is to find that out at once.
    else this.#closeFd(fd);
  }

  #reconnect(): void {
    if (this.#connection !== undefined || !this.#open) return;
    const fd = this.#sockets.connect(this.#options.socket);
    if (fd !== undefined) this.#take(fd);
  }

  #take(fd: number): void {
    const connection = this.#options.connect(fd);
    this.#connection = connection;
    this.#unwatchConnection = this.#poller.watch(fd, () => this.#queue(() => this.#serve(connection)));
    this.#tell({ connected: true });
  }

  #tell(state: ServiceState): void {
    this.#fault = state.fault;
    this.#options.onChange(state);
  }

  async #serve(connection: C): Promise<void> {
    if (connection === this.#connection && !(await connection.serve())) await this.#drop();
  }

  /** Ends the connection, because of `fault` or because it has ended. */
  async #drop(fault?: string): Promise<void> {
    const connection = this.#connection;
    // Whoever cannot connect tries again and again.
    if (connection === undefined && (fault === undefined || fault === this.#fault)) return;
    this.#connection = undefined;
    this.#unwatchConnection();
    this.#unwatchConnection = () => {};
    try {
      await connection?.close();
    } catch (error) {
      // An lcore that died tells of it elsewhere, and all is given back.
      if (!(error instanceof RingwayError)) throw error;
    }
    this.#tell({ connected: false, ...(fault === undefined ? {} : { fault }) });
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

  /** Stops listening and sends the other side away, in order: the rings stop where they are. */
  async close(): Promise<void> {
    this.#shut();
    await this.#queue(() => this.#drop());
  }

  /** As `close`, when no thread uses the rings any more. */
  abandon(): void {
    this.#shut();
    const connection = this.#connection;
    this.#connection = undefined;
    this.#unwatchConnection();
    connection?.abandon();
  }
}
