import { existsSync } from 'node:fs';
import type { Arena } from '../../memory/arena.ts';
import { type Poller, requireDevices, requireSys } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import { type HypervisorCosts, readCosts } from '../access.ts';
import { createCopyBatch } from '../batch.ts';
import type { CopyBatch, DataAccess, DeviceShare, GrantMap, Hypervisor, Mapped } from '../hypervisor.ts';
import { XEN_PAGE_BYTES } from '../layout.ts';
import { PageRuns } from '../page-runs.ts';
import { unwind } from '../staging.ts';
import { attachDevices } from './device-access.ts';
import { DeviceEvents, EVENT_BYTES } from './device-events.ts';
import { DEVICECALL_BYTES, DEVICES_BASE, DEVICES_BYTES } from './layout.ts';
import { StoreConnection } from './store-connection.ts';
import { DEVICE_LINK_BYTES, DeviceLink, type OpenLink, socketLink } from './store-links.ts';

/** Where a real Xen is reached. */
export interface XenPaths {
  readonly gntdev: string;
  readonly evtchn: string;
  /** xenstored's socket, in the domain where it runs, and the kernel's connection to it in any other. */
  readonly store: string;
  readonly xenbus: string;
}

const PATHS: XenPaths = {
  gntdev: '/dev/xen/gntdev',
  evtchn: '/dev/xen/evtchn',
  store: '/run/xenstored/socket',
  xenbus: '/dev/xen/xenbus',
};

export interface XenDevicesOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  /** Pages that it can map of others: 1 to 65,536. */
  readonly mapPages: number;
  readonly paths?: XenPaths;
  /** Called with why xenstored is gone: from then on no device comes, goes or changes. */
  readonly onStoreEnd?: (error: Error) => void;
}

/** Bytes of the arena that `XenDevices` takes. */
export function xenDevicesBytes(mapPages: number): number {
  // Regions at pages, each with its guards.
  return (mapPages + 5) * XEN_PAGE_BYTES + mapPages * 4 + 2 * XEN_PAGE_BYTES + DEVICE_LINK_BYTES;
}

/** The real Xen that this process's domain runs on, through its device files: domain 0, or a driver domain. */
export class XenDevices implements Hypervisor {
  readonly events: DeviceEvents;
  readonly store: StoreConnection;
  readonly #arena: Arena;
  readonly #share: DeviceShare;
  readonly #access: DataAccess;
  readonly #runs: PageRuns;
  readonly #undo: (() => void)[] = [];
  /** When xenstored is reached through the kernel. */
  #link: DeviceLink | undefined;

  /** @throws RingwayError `UNSUPPORTED` when there is no such Xen here, `SYSTEM` when it may not be used, `ARENA_FULL`. */
  constructor(arena: Arena, { name, mapPages, paths = PATHS, onStoreEnd = () => {} }: XenDevicesOptions) {
    this.#arena = arena;
    const memory = arena.handle.memory;
    const devices = requireDevices(memory, name);
    const { closeFd, unmap } = requireSys(name);
    const hasSocket = existsSync(paths.store);
    for (const path of [paths.gntdev, paths.evtchn, ...(hasSocket ? [] : [paths.xenbus])]) {
      if (existsSync(path)) continue;
      const what = path === paths.xenbus ? `${path}, nor ${paths.store}` : path;
      throw new RingwayError(
        'UNSUPPORTED',
        `${name}: there is no ${what}; in domain 0 of a Xen, or in a driver domain, load the modules xen-gntdev and xen-evtchn, and start xenstored`,
      );
    }
    try {
      const open = (path: string): number => {
        const fd = devices.open(path);
        this.#undo.push(() => closeFd(fd));
        return fd;
      };
      const reserve = (what: string, bytes: number): number => {
        const address = arena.allocate(`${name} ${what}`, bytes, XEN_PAGE_BYTES);
        this.#undo.push(() => arena.release(`${name} ${what}`));
        return address;
      };
      const area = reserve('map area', mapPages * XEN_PAGE_BYTES);
      const [gntdev, evtchn] = [open(paths.gntdev), open(paths.evtchn)];
      // What is still mapped there goes before the device is closed, and never leaves a hole.
      this.#undo.push(() => unmap(memory, area, mapPages * XEN_PAGE_BYTES));
      const at = reserve('devices', DEVICES_BYTES + DEVICECALL_BYTES + EVENT_BYTES);
      const calls = at + DEVICES_BYTES;
      const mapped = reserve('mapped', mapPages * 4);
      arena.u32.set([devices.base % 2 ** 32, Math.floor(devices.base / 2 ** 32)], (at + DEVICES_BASE) >>> 2);
      this.#share = { name: `${name} devices`, gntdev, evtchn, devices: at, area, areaPages: mapPages, mapped, calls };
      this.#access = attachDevices(arena, this.#share);
      this.#runs = new PageRuns(name, area, mapPages);
      this.events = new DeviceEvents(arena, devices, name, evtchn, calls + DEVICECALL_BYTES);
      const openDevice: OpenLink = (events) => {
        const place = { path: paths.xenbus, fd: open(paths.xenbus), address: reserve('xenbus', DEVICE_LINK_BYTES) };
        this.#link = new DeviceLink(arena, devices, place, events);
        return this.#link;
      };
      this.store = new StoreConnection(hasSocket ? socketLink(paths.store) : openDevice, onStoreEnd);
      this.#undo.push(() => this.store.close());
    } catch (error) {
      this.close();
      throw error;
    }
  }

  copy(batch: Pick<CopyBatch, 'address' | 'vectors' | 'size'>, n: number): void {
    this.#access.copy(batch, n);
  }

  map(grants: readonly GrantMap[], target: number): Mapped[] {
    return this.#access.map(grants, target);
  }

  unmap(handles: readonly number[]): number[] {
    return this.#access.unmap(handles);
  }

  send(port: number): void {
    this.#access.send(port);
  }

  createBatch(name: string, size: number): CopyBatch {
    return createCopyBatch(this.#arena, name, size);
  }

  shareData(name: string): DeviceShare {
    return { ...this.#share, name, calls: this.#arena.allocate(name, DEVICECALL_BYTES) };
  }

  takePages(pages: number): number {
    return this.#runs.take(pages);
  }

  freePages(address: number): void {
    this.#runs.free(address);
  }

  costs(): HypervisorCosts {
    return readCosts(this.#arena, this.#share.devices);
  }

  /** The domain that this is: 0, until `store.identify` has asked. */
  get domid(): number {
    return this.store.domid;
  }

  /** Calls what listens to events and to xenstore as they come. Returns what ends that. */
  startEvents(poller: Poller): () => void {
    const end = this.events.start(poller);
    this.#link?.start(poller);
    return () => {
      this.#link?.close();
      end();
    };
  }

  /** Gives everything back: nobody uses it any more, and nothing that it mapped. */
  close(): void {
    unwind(this.#undo);
  }
}
