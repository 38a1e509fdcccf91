import type { Arena } from '../../memory/arena.ts';
import { type Devices, type Pages, requireDevices, requirePages } from '../../sys/index.ts';
import { RingwayError } from '../../util/errors.ts';
import { type CopyBatch, type DataAccess, type DeviceShare, GNTST, type GrantMap, type Mapped } from '../hypervisor.ts';
import { DOMAIN_EVENTS, DOMAIN_FAILED, DOMAIN_MAPS, DOMAIN_UNMAPS, XEN_PAGE_BYTES } from '../layout.ts';
import { COPYCALL, DEVICECALL_EVENT, DEVICECALL_GRANT } from './layout.ts';

/** Requests of /dev/xen/gntdev and /dev/xen/evtchn (Linux include/uapi/xen: gntdev.h, evtchn.h). */
const GNTDEV_MAP = 0x0018_4700;
const GNTDEV_UNMAP = 0x0010_4701;
const GNTDEV_COPY = 0x0010_4708;
export const EVTCHN_NOTIFY = 0x0004_4504;

interface DeviceKernels {
  xenSegmentsWrite(devices: number, ops: number, n: number, segments: number): void;
  xenSegmentsRead(devices: number, ops: number, n: number, segments: number, done: number): void;
  xenDeviceCount(devices: number, counter: number, n: number): void;
}

/**
 * What one thread asks of a real Xen through its device files. A handle is a page of the map area; a word for each page says
 * where gntdev has what is mapped there, as a number of a page, and 1. No two threads map at the same page.
 */
export class DeviceAccess implements DataAccess {
  readonly #arena: Arena;
  readonly #share: DeviceShare;
  readonly #devices: Pick<Devices, 'control'>;
  readonly #pages: Pick<Pages, 'map' | 'unmap'>;
  readonly #kernels: DeviceKernels;

  constructor(
    arena: Arena,
    share: DeviceShare,
    devices: Pick<Devices, 'control'>,
    pages: Pick<Pages, 'map' | 'unmap'>,
  ) {
    this.#arena = arena;
    this.#share = share;
    this.#devices = devices;
    this.#pages = pages;
    this.#kernels = arena.kernels<DeviceKernels>();
  }

  copy({ address, vectors, size }: Pick<CopyBatch, 'address' | 'vectors' | 'size'>, n: number): void {
    const { devices, gntdev } = this.#share;
    const ops = Math.min(n, size);
    this.#kernels.xenSegmentsWrite(devices, address, ops, vectors);
    const result = this.#devices.control(gntdev, GNTDEV_COPY, vectors + COPYCALL);
    this.#kernels.xenSegmentsRead(devices, address, ops, vectors, result === 0 ? 1 : 0);
  }

  send(port: number): void {
    const { calls, evtchn, devices } = this.#share;
    this.#arena.u32[(calls + DEVICECALL_EVENT) >>> 2] = port;
    this.#devices.control(evtchn, EVTCHN_NOTIFY, calls + DEVICECALL_EVENT);
    this.#kernels.xenDeviceCount(devices, DOMAIN_EVENTS, 1);
  }

  map(grants: readonly GrantMap[], target: number): Mapped[] {
    return grants.map((grant, i) => {
      const address = target + i * XEN_PAGE_BYTES;
      const handle = (address - this.#share.area) / XEN_PAGE_BYTES;
      const status = this.#mapOne(grant, handle, address);
      this.#kernels.xenDeviceCount(this.#share.devices, status === GNTST.okay ? DOMAIN_MAPS : DOMAIN_FAILED, 1);
      return { status, handle, address };
    });
  }

  /** Where it is said what is mapped at a page. Undefined when it is none of the map area. */
  #word(handle: number): number | undefined {
    const { areaPages, mapped } = this.#share;
    const isPage = Number.isInteger(handle) && handle >= 0 && handle < areaPages;
    return isPage ? (mapped >>> 2) + handle : undefined;
  }

  #mapOne({ domid, ref, readonly = false }: GrantMap, handle: number, address: number): number {
    const { u32 } = this.#arena;
    const { gntdev, calls } = this.#share;
    const word = this.#word(handle);
    if (word === undefined || u32[word] !== 0) return GNTST.badVirtAddr;
    const call = (calls + DEVICECALL_GRANT) >>> 2;
    // struct ioctl_gntdev_map_grant_ref: count, padding, index (u64), domid and ref of each.
    u32.set([1, 0, 0, 0, domid, ref], call);
    if (this.#devices.control(gntdev, GNTDEV_MAP, calls + DEVICECALL_GRANT) !== 0) return GNTST.noSpace;
    const place = (u32[call + 2] ?? 0) + (u32[call + 3] ?? 0) * 2 ** 32;
    if (this.#pages.map(address, gntdev, place, !readonly)) {
      u32[word] = place / XEN_PAGE_BYTES + 1;
      return GNTST.okay;
    }
    // The call looks at nothing; this one does, and leaves a hole where it refuses.
    this.#replace(address);
    this.#forget(place);
    return GNTST.generalError;
  }

  /** Puts nothing where a granted page is, or a hole. */
  #replace(address: number): void {
    if (this.#pages.unmap(address, XEN_PAGE_BYTES)) return;
    throw new RingwayError('SYSTEM', `${this.#share.name}: the page at ${address} cannot be unmapped`);
  }

  /** Has gntdev forget what is mapped nowhere any more. */
  #forget(place: number): boolean {
    const { gntdev, calls } = this.#share;
    // struct ioctl_gntdev_unmap_grant_ref: index (u64), count, padding.
    const call = (calls + DEVICECALL_GRANT) >>> 2;
    this.#arena.u32.set([place % 2 ** 32, Math.floor(place / 2 ** 32), 1, 0], call);
    return this.#devices.control(gntdev, GNTDEV_UNMAP, calls + DEVICECALL_GRANT) === 0;
  }

  unmap(handles: readonly number[]): number[] {
    return handles.map((handle) => {
      const status = this.#unmapOne(handle);
      this.#kernels.xenDeviceCount(this.#share.devices, status === GNTST.okay ? DOMAIN_UNMAPS : DOMAIN_FAILED, 1);
      return status;
    });
  }

  #unmapOne(handle: number): number {
    const { u32 } = this.#arena;
    const word = this.#word(handle);
    const mapped = word === undefined ? 0 : (u32[word] ?? 0);
    if (word === undefined || mapped === 0) return GNTST.badHandle;
    // The page goes first: gntdev gives the grant back when nobody reaches it any more.
    this.#replace(this.#share.area + handle * XEN_PAGE_BYTES);
    u32[word] = 0;
    return this.#forget((mapped - 1) * XEN_PAGE_BYTES) ? GNTST.okay : GNTST.generalError;
  }
}

/** Asks a real Xen from this thread, which alone uses `share`. @throws RingwayError `UNSUPPORTED` where there are no system calls */
export function attachDevices(arena: Arena, share: DeviceShare): DataAccess {
  const { memory } = arena.handle;
  return new DeviceAccess(arena, share, requireDevices(memory, share.name), requirePages(memory, share.name));
}
