import type { Arena } from '../memory/arena.ts';
import { formatMac } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { type DomainOptions, domainBytes } from '../xen/domain.ts';
import { XEN_BYTES } from '../xen/layout.ts';
import { type Domain, Xen } from '../xen/xen.ts';
import { addVif, removeVif } from '../xen/xenbus.ts';
import { macOfName } from './guest.ts';

/** The domain of the tools: it makes devices, and has next to nothing. */
const TOOLS: DomainOptions = { pages: 1, grants: 16, mapPages: 1, maptrack: 1, ports: 2 };
/** A device is the only one of its frontend. */
const INDEX = 0;

/** Bytes of the arena that a Xen takes, less those of its domains. */
export const XEN_HOST_BYTES = XEN_BYTES + domainBytes(TOOLS) + 8192;

/** One end of a device, as the port that is it has it. */
export interface XenEnd {
  readonly side: 'front' | 'back';
  readonly domain: Domain;
  /** The other end is there, and so is the device. */
  connect(device: { readonly frontend: number; readonly backend: number; readonly index: number }): Promise<void>;
  /** The other end is about to go, or this one: resolves when nothing is shared any more. */
  disconnect(): Promise<void>;
}

/** A device: its ends as they come, and what is done with them, one thing after another. */
interface Device {
  front?: XenEnd;
  back?: XenEnd;
  /** Both ends know it. */
  isThere: boolean;
  work: Promise<void>;
}

const hosts = new WeakMap<Arena, XenHost>();

/** The Xen of an arena, for the ports that are ends of its devices. It is there as long as one of them is. */
export class XenHost {
  readonly #arena: Arena;
  readonly #xen: Xen;
  readonly #tools: Domain;
  /** By the name of the port that is the backend. */
  readonly #devices = new Map<string, Device>();
  #domains = 0;

  /** @throws RingwayError `ARENA_FULL` */
  static of(arena: Arena): XenHost {
    const found = hosts.get(arena);
    if (found !== undefined) return found;
    const made = new XenHost(arena);
    hosts.set(arena, made);
    return made;
  }

  private constructor(arena: Arena) {
    this.#arena = arena;
    this.#xen = new Xen(arena, { name: 'xen' });
    this.#tools = this.#xen.createDomain(0, TOOLS);
  }

  /** A domain of a port's own. @throws RingwayError `ARENA_FULL` */
  createDomain(options: DomainOptions): Domain {
    const taken = new Set(this.#xen.domains.map(({ domid }) => domid));
    let domid = 1;
    while (taken.has(domid)) domid++;
    const domain = this.#xen.createDomain(domid, options);
    this.#domains++;
    return domain;
  }

  /** Ends a domain; with the last one, the Xen. */
  destroyDomain({ domid }: Domain): void {
    this.#xen.destroyDomain(domid);
    this.#domains--;
    if (this.#domains > 0) return;
    this.#xen.destroyDomain(0);
    this.#xen.release();
    hosts.delete(this.#arena);
  }

  #device(backend: string): Device {
    const found = this.#devices.get(backend);
    if (found !== undefined) return found;
    const made: Device = { isThere: false, work: Promise.resolve() };
    this.#devices.set(backend, made);
    return made;
  }

  #do(device: Device, work: () => Promise<void>): Promise<void> {
    const done = device.work.then(work);
    device.work = done.catch(() => {});
    return done;
  }

  /**
   * An end is there: with the other one, it is a device.
   * @param backend names the device: the port that is its backend.
   * @throws RingwayError `BUSY` when there is such an end already.
   */
  join(backend: string, end: XenEnd): Promise<void> {
    const device = this.#device(backend);
    if (device[end.side] !== undefined) {
      throw new RingwayError('BUSY', `the backend ${JSON.stringify(backend)} has a frontend already; it takes one`);
    }
    device[end.side] = end;
    return this.#do(device, async () => {
      const { front, back } = device;
      if (front === undefined || back === undefined || device.isThere) return;
      device.isThere = true;
      const place = { frontend: front.domain.domid, backend: back.domain.domid, index: INDEX };
      await addVif(this.#tools.hypervisor.store, { ...place, mac: formatMac(macOfName(backend)) });
      await back.connect(place);
      await front.connect(place);
    });
  }

  /** An end goes: the other is told, and waits for another. Resolves when nobody uses what they shared. */
  leave(backend: string, end: XenEnd): Promise<void> {
    const device = this.#device(backend);
    if (device[end.side] !== end) return Promise.resolve();
    return this.#do(device, async () => {
      const { front, back } = device;
      // What the backend has mapped of the frontend's it gives back first.
      await back?.disconnect();
      await front?.disconnect();
      if (front !== undefined && back !== undefined) {
        const place = { frontend: front.domain.domid, backend: back.domain.domid, index: INDEX };
        await removeVif(this.#tools.hypervisor.store, place);
      }
      device.isThere = false;
      delete device[end.side];
      if (device.front === undefined && device.back === undefined) this.#devices.delete(backend);
    });
  }
}
