import type { Arena } from '../../memory/arena.ts';
import type { Devices, Poller } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import type { EventChannels } from '../hypervisor.ts';
import { EVTCHN_NOTIFY } from './device-access.ts';

/** Requests of /dev/xen/evtchn (Linux include/uapi/xen/evtchn.h). */
const EVTCHN_BIND_INTERDOMAIN = 0x0008_4501;
const EVTCHN_BIND_UNBOUND_PORT = 0x0004_4502;
const EVTCHN_UNBIND = 0x0004_4503;

/** Ports of one read or write at most. */
const PORTS = 64;
/** Where things lie in the region: an iovec, the argument of a call, ports. */
const CALL_AT = 16;
const PORTS_AT = 64;
export const EVENT_BYTES = PORTS_AT + PORTS * 4;

type PortCalls = Pick<Devices, 'base' | 'control' | 'readv' | 'writev' | 'errorName'>;

/**
 * The ports of this process at /dev/xen/evtchn. A port that is read from the device is masked until it is written back: one that
 * nobody listens to, or that is masked here, stays so, and its other end can send as much as it likes.
 */
export class DeviceEvents implements EventChannels {
  readonly #arena: Arena;
  readonly #devices: PortCalls;
  readonly #name: string;
  readonly #fd: number;
  readonly #address: number;
  readonly #bound = new Set<number>();
  readonly #handlers = new Map<number, () => void>();
  readonly #masked = new Set<number>();
  /** Read, and not written back. */
  readonly #pending = new Set<number>();

  /** @param address of EVENT_BYTES of the arena. */
  constructor(arena: Arena, devices: PortCalls, name: string, fd: number, address: number) {
    this.#arena = arena;
    this.#devices = devices;
    this.#name = name;
    this.#fd = fd;
    this.#address = address;
  }

  #call(request: number, words: readonly number[]): number {
    this.#arena.u32.set(words, (this.#address + CALL_AT) >>> 2);
    return this.#devices.control(this.#fd, request, this.#address + CALL_AT);
  }

  #bind(request: number, words: readonly number[], what: string): number {
    const port = this.#call(request, words);
    if (port < 0) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: ${what} cannot be bound: ${this.#devices.errorName()}`);
    }
    this.#bound.add(port);
    return port;
  }

  allocUnbound(remote: number): number {
    return this.#bind(EVTCHN_BIND_UNBOUND_PORT, [remote], `a port for domain ${remote}`);
  }

  bindInterdomain(remote: number, port: number): number {
    return this.#bind(EVTCHN_BIND_INTERDOMAIN, [remote, port], `port ${port} of domain ${remote}`);
  }

  #require(port: number): void {
    if (!this.#bound.has(port)) throw new RingwayError('BAD_ARGUMENT', `${this.#name}: no event port ${port}`);
  }

  send(port: number): void {
    this.#require(port);
    this.#call(EVTCHN_NOTIFY, [port]);
  }

  mask(port: number): void {
    this.#require(port);
    this.#masked.add(port);
  }

  unmask(port: number): void {
    this.#require(port);
    if (this.#masked.delete(port) && this.#pending.has(port)) queueMicrotask(() => this.dispatch());
  }

  takePending(port: number): boolean {
    this.#read();
    return !this.#masked.has(port) && this.#enable([port]) > 0;
  }

  listen(port: number, handler: (() => void) | undefined): void {
    this.#require(port);
    if (handler === undefined) this.#handlers.delete(port);
    else this.#handlers.set(port, handler);
    // It may have come before anybody listened.
    if (handler !== undefined && this.#pending.has(port)) queueMicrotask(() => this.dispatch());
  }

  /** Has the device read or write `bytes` bytes of ports. Returns how many ports. */
  #move(how: 'readv' | 'writev', bytes: number): number {
    const base = this.#devices.base + this.#address + PORTS_AT;
    this.#arena.u32.set([base % 2 ** 32, Math.floor(base / 2 ** 32), bytes, 0], this.#address >>> 2);
    return Math.max(0, this.#devices[how](this.#fd, this.#address, 1)) / 4;
  }

  #read(): void {
    const count = this.#move('readv', PORTS * 4);
    const ports = (this.#address + PORTS_AT) >>> 2;
    // One that was closed meanwhile is nobody's.
    for (const port of this.#arena.u32.subarray(ports, ports + count))
      if (this.#bound.has(port)) this.#pending.add(port);
  }

  /** Opens those of `ports` that are pending for the next event. Returns how many. */
  #enable(ports: readonly number[]): number {
    const taken = ports.filter((port) => this.#pending.delete(port));
    for (let i = 0; i < taken.length; i += PORTS) {
      const some = taken.slice(i, i + PORTS);
      this.#arena.u32.set(some, (this.#address + PORTS_AT) >>> 2);
      this.#move('writev', some.length * 4);
    }
    return taken.length;
  }

  dispatch(): number {
    this.#read();
    const ready = [...this.#pending].filter((port) => this.#handlers.has(port) && !this.#masked.has(port));
    // Before anybody is told: what comes from now on is another event.
    this.#enable(ready);
    for (const port of ready) this.#handlers.get(port)?.();
    return ready.length;
  }

  close(port: number): void {
    this.#require(port);
    this.#bound.delete(port);
    this.#handlers.delete(port);
    this.#masked.delete(port);
    this.#pending.delete(port);
    this.#call(EVTCHN_UNBIND, [port]);
  }

  /** Dispatches whenever an event has come. Returns what ends that. */
  start(poller: Poller): () => void {
    return poller.watch(this.#fd, () => {
      this.dispatch();
    });
  }
}
