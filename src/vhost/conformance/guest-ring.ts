import { requireSys } from '../../sys/index.ts';
import { requireSockets } from '../../sys/sockets.ts';
import { createChainList } from '../../virtio/chain-list.ts';
import { USED_SHIFT, VIRTIO_BLK_T_GET_ID } from '../../virtio/layout.ts';
import { MockDriver, type MockUsed } from '../../virtio/mock-driver.ts';
import { createVirtqueueDevice } from '../../virtio/queue.ts';
import { createRegionTable } from '../../virtio/regions.ts';
import type { VirtqueueLayout } from '../../virtio/rings.ts';
import { CheckFailed, type DeviceType, pause, QUIET_MS, quiet, SERVE_MS } from './check.ts';
import type { GuestMemory } from './memory.ts';

const BUFFERS = 64;
/** A virtio-net header (5.1.6), and a frame to nobody that no switch forwards: 01:80:c2:00:00:0e is for the next one alone. */
const NET_HEADER_BYTES = 12;
const FRAME = Uint8Array.of(1, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, ...new Uint8Array(46));
const BLOCK_ID_BYTES = 20;

/** What is sent through a ring to see that it is served: it changes nothing anywhere. */
export function probeOf(type: DeviceType): { readonly readable: Uint8Array; readonly writable: readonly number[] } {
  if (type === 'net') {
    const readable = new Uint8Array(NET_HEADER_BYTES + FRAME.length);
    readable.set(FRAME, NET_HEADER_BYTES);
    return { readable, writable: [] };
  }
  const readable = new Uint8Array(16);
  readable[0] = VIRTIO_BLK_T_GET_ID;
  return { readable, writable: [BLOCK_ID_BYTES, 1] };
}

export interface GuestRingOptions {
  /** Names its regions in the guest's memory. */
  readonly name: string;
  readonly layout: VirtqueueLayout;
  readonly size: number;
  readonly eventIdx: boolean;
  readonly type: DeviceType;
}

/** A ring of a guest, with its eventfds: driven by hand, and watched. */
export class GuestRing {
  readonly index: number;
  readonly size: number;
  readonly driver: MockDriver;
  readonly kick: number;
  readonly call: number;
  readonly #options: GuestRingOptions;
  readonly #memory: GuestMemory;
  readonly #sockets = requireSockets('a conformance check');

  constructor(memory: GuestMemory, index: number, options: GuestRingOptions) {
    const { name, layout, size, eventIdx } = options;
    this.index = index;
    this.size = size;
    this.#options = options;
    this.#memory = memory;
    this.driver = new MockDriver(memory.arena, {
      name,
      layout,
      size,
      eventIdx,
      buffers: BUFFERS,
      guestOffset: memory.guestOffset,
    });
    this.kick = this.#sockets.eventfd();
    this.call = this.#sockets.eventfd();
  }

  /** Makes `n` chains available that the device answers without any effect. */
  submit(n: number): void {
    const { readable, writable } = probeOf(this.#options.type);
    for (let i = 0; i < n; i++) this.#must(this.driver.send([readable], writable));
  }

  /** Makes `n` empty buffers available. */
  offer(n: number): void {
    for (let i = 0; i < n; i++) this.#must(this.driver.send([], [2048]));
  }

  #must(id: number | undefined): void {
    if (id === undefined) throw new Error(`ring ${this.index} of ${this.size} is full; this is a bug of the check`);
  }

  /** Tells the device, if it wants to be told. */
  notify(): void {
    if (this.driver.queue.needsNotify()) this.#sockets.signal(this.kick);
  }

  /** How often the device called since the last time. */
  calls(): number {
    return this.#sockets.drain(this.call);
  }

  /** What came back until now. */
  reap(): MockUsed[] {
    const used: MockUsed[] = [];
    for (let some = this.driver.receive(); some.length > 0; some = this.driver.receive()) used.push(...some);
    const broken = this.driver.queue.broken();
    if (broken !== 0)
      throw new CheckFailed('chains to come back once each', `a used ring that is broken (code ${broken})`);
    return used;
  }

  /** Waits until `n` chains came back, and sees that no more do. */
  async served(n: number, what = 'chains to come back', limitMs = SERVE_MS): Promise<MockUsed[]> {
    const since = performance.now();
    const used: MockUsed[] = [];
    while (used.length < n) {
      used.push(...this.reap());
      if (used.length < n && performance.now() - since > limitMs) {
        throw new CheckFailed(`${n} ${what} in ${limitMs} ms`, String(used.length));
      }
      await pause(since);
    }
    return used;
  }

  /** Sends a burst and waits for it. */
  async burst(n: number): Promise<void> {
    this.submit(n);
    this.notify();
    await this.served(n);
  }

  /** Waits a little, and sees that nothing comes back. */
  async untouched(why: string, ms = QUIET_MS): Promise<void> {
    await quiet(ms);
    const used = this.reap();
    if (used.length > 0) throw new CheckFailed(`nothing to come back: ${why}`, `${used.length} chains`);
  }

  /** Moves the ring on by `n` chains as if another device had served it. Returns the base at which the next one starts. */
  advance(n: number): number {
    const { arena } = this.#memory;
    const { layout, eventIdx } = this.#options;
    const name = `${this.#options.name} before`;
    const regions = createRegionTable(arena, `${name} regions`);
    regions.set(this.driver.regions);
    const device = createVirtqueueDevice(arena, {
      name,
      layout,
      size: this.size,
      eventIdx,
      rings: this.driver.rings,
      regions,
    });
    const list = createChainList(arena, { name: `${name} list`, chains: 1, segments: device.chainMax });
    const records = arena.allocate(`${name} records`, 1 << USED_SHIFT);
    for (let i = 0; i < n; i++) {
      this.submit(1);
      device.take(list, 1);
      arena.u32.set([list.id(0), 0], records >>> 2);
      device.return(records, 1);
      this.reap();
    }
    return device.base();
  }

  close(): void {
    const { closeFd } = requireSys('a conformance check');
    closeFd(this.kick);
    closeFd(this.call);
  }
}
