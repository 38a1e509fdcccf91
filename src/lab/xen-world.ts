import { setImmediate } from 'node:timers/promises';
import { type Arena, createArena } from '../memory/arena.ts';
import { BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import { createPool, type Pool } from '../memory/pool.ts';
import { assert } from '../util/assert.ts';
import { nextPowerOfTwo } from '../util/bits.ts';
import type { HypervisorCosts } from '../xen/access.ts';
import { domainBytes } from '../xen/domain.ts';
import { GRANTS_RESERVED, XEN_PAGE_BYTES } from '../xen/layout.ts';
import { Netback } from '../xen/netback.ts';
import { BACK_QUEUE_BYTES, backQueuePages } from '../xen/netback-queue.ts';
import { Netfront } from '../xen/netfront.ts';
import { type FrontPath, frontQueueBytes, frontQueuePages } from '../xen/netfront-queue.ts';
import type { VifQueueShare } from '../xen/vif-queue.ts';
import { type Domain, Xen } from '../xen/xen.ts';
import { addVif, XenbusState } from '../xen/xenbus.ts';
import { XenSide } from './xen-side.ts';

/** Slots of a ring of one page: what a turn moves at most, for each packet of one slot. */
export const RING_SLOTS = 256;
/** Buffers of a queue's two ends: what lies in the caches, and packets of several buffers in a burst. */
export const QUEUE_BUFFERS = 4096;
/** Turns of the event loop until the ends are connected. */
const SETTLE_TURNS = 10_000;

/** What a device is made for. */
export interface XenCase {
  /** Pages are mapped and copies are system calls; or none of it is, where the time of Xen's part is not to count. */
  readonly mode: 'mapped' | 'plain';
  readonly path: FrontPath;
  readonly queues: number;
}

/** A queue of a device, with both ends. */
export interface XenLane {
  readonly front: XenSide;
  readonly back: XenSide;
}

/** What devices that are measured beside each other share: V8 makes calls of one arena's kernels fast, and not those of several. */
export interface XenGround {
  readonly arena: Arena;
  readonly pool: Pool;
}

function optionsOf({ path, queues }: XenCase) {
  const pages = 8 + queues * frontQueuePages(0, path);
  const grants = nextPowerOfTwo(pages + GRANTS_RESERVED);
  const mapPages = BURST_MAX + queues * backQueuePages(0);
  return {
    guest: { pages, grants, mapPages: 1, maptrack: 1 },
    driver: { pages: 1, grants: 16, mapPages, maptrack: mapPages, wholeArena: true },
  };
}

/** Makes room for devices. @throws RingwayError `BAD_ARGUMENT` when they do not fit an arena. */
export function createGround(cases: readonly XenCase[]): XenGround {
  const queues = cases.reduce((sum, one) => sum + one.queues, 0);
  const domains = cases.reduce((sum, one) => {
    const { guest, driver } = optionsOf(one);
    return sum + domainBytes(guest) + domainBytes(driver);
  }, 0);
  const perQueue = BACK_QUEUE_BYTES + frontQueueBytes(0) + QUEUE_BUFFERS * 2200 + (64 << 10);
  const arena = createArena({ bytes: (16 << 20) + domains + queues * perQueue + cases.length * (256 << 10) });
  return { arena, pool: createPool(arena, { buffers: QUEUE_BUFFERS * queues, caches: 2 * queues }) };
}

/** A network device between two domains, all of it in this thread. */
export class XenWorld {
  readonly arena: Arena;
  readonly path: FrontPath;
  readonly lanes: XenLane[] = [];
  readonly driver: Domain;
  readonly guest: Domain;
  readonly #name: string;
  readonly #cache: number;
  readonly #xen: Xen;
  readonly #pool: Pool;
  readonly #netback: Netback;
  readonly #netfront: Netfront;
  #stops: (() => void)[];

  /**
   * Makes the device, and connects its ends.
   * @param place its number among those on the ground, and the first cache that is its own: two a queue are.
   * @throws Error when they do not come to be connected.
   */
  static async open(ground: XenGround, one: XenCase, place = { index: 0, cache: 0 }): Promise<XenWorld> {
    const world = new XenWorld(ground, one, place);
    const { store } = world.driver.hypervisor;
    await addVif(store, { frontend: 1, backend: 0, index: 0, mac: '02:00:00:00:00:01' });
    await world.#netback.start();
    await world.#netfront.start();
    await world.#settle(XenbusState.connected);
    await world.#kept(one);
    world.#attach();
    return world;
  }

  private constructor({ arena, pool }: XenGround, one: XenCase, { index, cache }: { index: number; cache: number }) {
    const { mode, path, queues } = one;
    const { driver, guest } = optionsOf(one);
    this.path = path;
    this.arena = arena;
    this.#name = `device ${index}`;
    this.#cache = cache;
    this.#pool = pool;
    this.#xen = new Xen(arena, { name: `xen ${index}`, mode });
    this.driver = this.#xen.createDomain(0, driver);
    this.guest = this.#xen.createDomain(1, guest);
    // The control path's messages come as events.
    this.#stops = [this.driver.startEvents(), this.guest.startEvents()];
    const device = { arena: this.arena, frontend: 1, backend: 0, index: 0, queues };
    this.#netback = new Netback({ ...device, name: `${this.#name} back`, hypervisor: this.driver.hypervisor });
    this.#netfront = new Netfront({
      ...device,
      name: `${this.#name} front`,
      hypervisor: this.guest.hypervisor,
      memory: this.guest,
      path,
    });
  }

  async #settle(state: number): Promise<void> {
    for (let i = 0; i < SETTLE_TURNS; i++) {
      if (this.#netback.state === state && this.#netfront.state === state) return;
      await setImmediate();
    }
    throw new Error(`bench xen: ${this.path.kind}: ${this.#netback.error ?? this.#netfront.error ?? 'no connection'}`);
  }

  /** Resolves when the backend keeps what messages name: all pages of all slots. */
  async #kept({ path, queues }: XenCase): Promise<void> {
    if (path.kind !== 'control') return;
    for (let i = 0; i < SETTLE_TURNS && this.costs().maps < queues * 2 * RING_SLOTS; i++) await setImmediate();
    assert(this.costs().maps >= queues * 2 * RING_SLOTS, 'bench xen: grants are not kept');
  }

  #attach(): void {
    const { arena } = this;
    const side = (share: VifQueueShare, cache: number, name: string): XenSide => {
      return new XenSide(arena, { share, cache, burst: arena.allocate(name, BURST_MAX << SLOT_SHIFT) });
    };
    for (const [i, front] of this.#netfront.queues.entries()) {
      const back = this.#netback.queues[i] as VifQueueShare;
      this.lanes.push({
        front: side(front, this.#pool.caches[this.#cache + 2 * i] as number, `${this.#name} front burst ${i}`),
        back: side(back, this.#pool.caches[this.#cache + 2 * i + 1] as number, `${this.#name} back burst ${i}`),
      });
    }
  }

  /** Has this thread hear of no event while `work` is under way: others wait for them. */
  async withoutEvents<T>(work: () => Promise<T>): Promise<T> {
    for (const stop of this.#stops) stop();
    try {
      return await work();
    } finally {
      this.#stops = [this.driver.startEvents(), this.guest.startEvents()];
    }
  }

  costs(): HypervisorCosts {
    return this.driver.costs();
  }

  /** Bytes that the frontend has granted: in all, and those that its path shares beside the pages of slots and rings. */
  sharedBytes(): { readonly granted: number; readonly own: number } {
    const copies = frontQueuePages(0, { kind: 'copy' });
    const pages = frontQueuePages(0, this.path);
    return { granted: pages * XEN_PAGE_BYTES, own: (pages - copies) * XEN_PAGE_BYTES };
  }

  /** Closes both ends. @throws Error when something was lost on the way, or is not given back. */
  async close(): Promise<void> {
    for (const { front, back } of this.lanes) {
      for (const { queue } of [front, back]) {
        for (const end of [queue.receiver, queue.sender]) {
          const { bad, long, empty, failed } = end.drops();
          assert(
            end.fault() === undefined && bad + long + empty + failed === 0,
            `bench xen: ${this.path.kind} lost packets`,
          );
        }
      }
    }
    await this.#netfront.close();
    await this.#settle(XenbusState.closed);
    await this.#netback.destroy();
    assert(this.#pool.audit().inFlight === 0, 'bench xen: buffers are missing');
    assert(this.guest.grants.inUse === 0, 'bench xen: grants are in use after the end');
    for (const stop of this.#stops) stop();
    this.#xen.destroyDomain(1);
    this.#xen.destroyDomain(0);
    this.#xen.release();
  }
}
