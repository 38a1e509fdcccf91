import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { hasFeature, VIRTIO_F } from '../virtio/features.ts';
import { createVirtqueueDevice, type VirtqueueDevice } from '../virtio/queue.ts';
import { checkRings, type VirtqueueLayout, virtqueueBytes } from '../virtio/rings.ts';
import type { VringAddresses } from './protocol.ts';
import type { GuestWindows } from './windows.ts';

/**
 * One ring of a backend. Whether it runs and whether it is enabled have nothing to do with each other:
 *
 *     stopped ── SET_VRING_KICK ──▶ started ── GET_VRING_BASE ──▶ stopped
 *     disabled ── SET_VRING_ENABLE 1 ──▶ enabled ── SET_VRING_ENABLE 0 ──▶ disabled
 *
 * It starts with the kick's descriptor, not with the first kick: a driver whose last backend died may have kicked already.
 */
export class VhostRing {
  readonly index: number;
  size = 0;
  /** Where it goes on, as SET_VRING_BASE has it. Survives a stop. */
  base = 0;
  addresses: VringAddresses | undefined;
  enabled = false;
  started = false;
  kick = -1;
  call = -1;
  error = -1;
  queue: VirtqueueDevice | undefined;
  readonly #arena: Arena;
  readonly #name: string;

  constructor(arena: Arena, name: string, index: number) {
    this.#arena = arena;
    this.#name = `${name} queue ${index}`;
    this.index = index;
  }

  /**
   * Makes the device's side of the ring, which goes on from the base, or from what is in flight.
   * @param inflight arena address of the ring's inflight region, if there is one.
   * @throws RingwayError `BAD_ARGUMENT` when something was not set, or lies where it may not.
   */
  start(windows: GuestWindows, features: bigint, inflight: number | undefined): void {
    const { addresses } = this;
    if (this.size === 0 || addresses === undefined) {
      const missing = this.size === 0 ? 'SET_VRING_NUM' : 'SET_VRING_ADDR';
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: cannot start before ${missing}`);
    }
    const layout: VirtqueueLayout = hasFeature(features, VIRTIO_F.RING_PACKED) ? 'packed' : 'split';
    const bytes = virtqueueBytes(layout, this.size);
    const place = (part: keyof typeof bytes, user: bigint): number => {
      const address = windows.toArena(user, bytes[part]);
      if (address !== 0) return address;
      throw new RingwayError(
        'BAD_ARGUMENT',
        `${this.#name}: ${part}=0x${user.toString(16)} with ${bytes[part]} bytes, must lie in one region of the memory`,
      );
    };
    const rings = {
      descriptors: place('descriptors', addresses.descriptors),
      driverArea: place('driverArea', addresses.available),
      deviceArea: place('deviceArea', addresses.used),
    };
    checkRings(this.#arena, this.#name, layout, this.size, rings);
    const indirect = hasFeature(features, VIRTIO_F.RING_INDIRECT_DESC) && this.size > 1 ? { indirect: this.size } : {};
    this.queue = createVirtqueueDevice(this.#arena, {
      name: this.#name,
      layout,
      size: this.size,
      eventIdx: hasFeature(features, VIRTIO_F.RING_EVENT_IDX),
      inOrder: hasFeature(features, VIRTIO_F.IN_ORDER),
      ...indirect,
      rings,
      regions: windows.table,
    });
    try {
      this.queue.start(this.base, inflight !== undefined);
      if (inflight !== undefined) this.queue.startInflight(inflight);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  /** Ends the device's side, which nobody uses any more, and keeps where it got to. */
  stop(): void {
    if (this.queue === undefined) return;
    this.base = this.queue.base();
    this.#release();
  }

  #release(): void {
    this.#arena.release(`${this.#name} device`);
    this.queue = undefined;
  }
}
