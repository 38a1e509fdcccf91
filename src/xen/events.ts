import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { EventChannels } from './hypervisor.ts';
import {
  DOMAIN_DOMID,
  DOMAIN_PORT_COUNT,
  DOMAIN_PORTS,
  DOMAIN_UPCALL,
  PORT_FREE,
  PORT_INTERDOMAIN,
  PORT_REMOTE_DOMID,
  PORT_REMOTE_PORT,
  PORT_SHIFT,
  PORT_STATE,
  PORT_UNBOUND,
  SEND_BAD_PORT,
} from './layout.ts';

interface EventKernels {
  xenEventSetPending(domain: number, port: number): number;
  xenEventSend(xen: number, domain: number, port: number): number;
  xenEventMask(domain: number, port: number): void;
  xenEventUnmask(domain: number, port: number): number;
  xenEventTakePending(domain: number, port: number): number;
}

/** The ports of one domain: where they are, and what is changed on the control thread alone. */
export class PortTable implements EventChannels {
  readonly #arena: Arena;
  readonly #xen: number;
  readonly #record: number;
  readonly #name: string;
  readonly #kernels: EventKernels;
  readonly #find: (domid: number) => PortTable | undefined;
  readonly #handlers = new Map<number, () => void>();

  /** @param find the ports of another domain that is there. */
  constructor(arena: Arena, xen: number, record: number, name: string, find: (domid: number) => PortTable | undefined) {
    this.#arena = arena;
    this.#xen = xen;
    this.#record = record;
    this.#name = name;
    this.#kernels = arena.kernels<EventKernels>();
    this.#find = find;
  }

  get domid(): number {
    return this.#domain(DOMAIN_DOMID);
  }

  #domain(offset: number): number {
    return this.#arena.u32[(this.#record + offset) >>> 2] ?? 0;
  }

  #word(port: number, offset: number): number {
    return (this.#domain(DOMAIN_PORTS) + (port << PORT_SHIFT) + offset) >>> 2;
  }

  /** What a port is: PORT_…. */
  #read(port: number): { state: number; domid: number; port: number } {
    const { u32 } = this.#arena;
    const isPort = Number.isInteger(port) && port > 0 && port < this.#domain(DOMAIN_PORT_COUNT);
    if (!isPort) return { state: PORT_FREE, domid: 0, port: 0 };
    return {
      state: u32[this.#word(port, PORT_STATE)] ?? PORT_FREE,
      domid: u32[this.#word(port, PORT_REMOTE_DOMID)] ?? 0,
      port: u32[this.#word(port, PORT_REMOTE_PORT)] ?? 0,
    };
  }

  /** The state is written last: others send from other threads. */
  #write(port: number, state: number, domid: number, remote: number): void {
    const { u32 } = this.#arena;
    u32[this.#word(port, PORT_REMOTE_DOMID)] = domid;
    u32[this.#word(port, PORT_REMOTE_PORT)] = remote;
    Atomics.store(u32, this.#word(port, PORT_STATE), state);
  }

  /** A port that exists. */
  #require(port: number): { state: number; domid: number; port: number } {
    const found = this.#read(port);
    if (found.state === PORT_FREE) throw new RingwayError('BAD_ARGUMENT', `${this.#name}: no event port ${port}`);
    return found;
  }

  #take(): number {
    const ports = this.#domain(DOMAIN_PORT_COUNT);
    for (let port = 1; port < ports; port++) if (this.#read(port).state === PORT_FREE) return port;
    throw new RingwayError('BUSY', `${this.#name}: all ${ports - 1} event ports are in use`);
  }

  #requireDomain(domid: number): PortTable {
    const found = this.#find(domid);
    if (found === undefined) throw new RingwayError('NOT_FOUND', `${this.#name}: no domain ${domid}`);
    return found;
  }

  allocUnbound(remote: number): number {
    this.#requireDomain(remote);
    const port = this.#take();
    this.#write(port, PORT_UNBOUND, remote, 0);
    return port;
  }

  bindInterdomain(remote: number, port: number): number {
    const other = this.#requireDomain(remote);
    const offered = other.#read(port);
    if (offered.state !== PORT_UNBOUND || offered.domid !== this.domid) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: domain ${remote} does not offer its event port ${port}`);
    }
    const own = this.#take();
    this.#write(own, PORT_INTERDOMAIN, remote, port);
    other.#write(port, PORT_INTERDOMAIN, this.domid, own);
    this.#kernels.xenEventSetPending(this.#record, own);
    return own;
  }

  send(port: number): void {
    // A number that is none would reach the kernel as 0, which is no port either.
    if (this.#kernels.xenEventSend(this.#xen, this.#record, port) === SEND_BAD_PORT) this.#require(port);
  }

  mask(port: number): void {
    this.#require(port);
    this.#kernels.xenEventMask(this.#record, port);
  }

  unmask(port: number): void {
    this.#require(port);
    this.#kernels.xenEventUnmask(this.#record, port);
  }

  takePending(port: number): boolean {
    return this.#read(port).state !== PORT_FREE && this.#kernels.xenEventTakePending(this.#record, port) !== 0;
  }

  listen(port: number, handler: (() => void) | undefined): void {
    this.#require(port);
    if (handler === undefined) this.#handlers.delete(port);
    else this.#handlers.set(port, handler);
  }

  dispatch(): number {
    // Before the bits are looked at: what is sent from now on sets it again.
    Atomics.store(this.#arena.u32, (this.#record + DOMAIN_UPCALL) >>> 2, 0);
    let called = 0;
    for (const [port, handler] of [...this.#handlers]) {
      if (this.#handlers.get(port) !== handler || !this.takePending(port)) continue;
      called++;
      handler();
    }
    return called;
  }

  close(port: number): void {
    const { state, domid, port: remote } = this.#require(port);
    this.#handlers.delete(port);
    this.#write(port, PORT_FREE, 0, 0);
    // As Xen leaves a closed port: masked ones must be opened again, and nothing is pending.
    this.#kernels.xenEventUnmask(this.#record, port);
    this.#kernels.xenEventTakePending(this.#record, port);
    const other = state === PORT_INTERDOMAIN ? this.#find(domid) : undefined;
    if (other !== undefined) other.#write(remote, PORT_UNBOUND, this.domid, 0);
  }

  /** Closes all: the domain is destroyed. */
  closeAll(): void {
    for (let port = 1; port < this.#domain(DOMAIN_PORT_COUNT); port++) {
      if (this.#read(port).state !== PORT_FREE) this.close(port);
    }
  }

  /**
   * Dispatches whenever an event is delivered, from whatever thread, until `stop`. Returns what stops it. Nothing of it keeps
   * the process running.
   */
  start(): () => void {
    const { i32 } = this.#arena;
    const word = (this.#record + DOMAIN_UPCALL) >>> 2;
    let running = true;
    const wait = (): void => {
      if (!running) return;
      this.dispatch();
      const { async, value } = Atomics.waitAsync(i32, word, 0);
      if (async) value.then(wait);
      else queueMicrotask(wait);
    };
    wait();
    return () => {
      running = false;
      Atomics.notify(i32, word);
    };
  }
}
