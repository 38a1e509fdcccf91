import { requireSys } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { inflightBytes } from '../virtio/inflight.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import type { InflightArea as Area } from './protocol.ts';
import type { GuestWindows, Window } from './windows.ts';

/**
 * What is in flight, in a file that outlives the backend: the frontend asks for it once, keeps its descriptor, and hands it
 * to each backend, the one that made it and those that come after.
 *
 *     GET_INFLIGHT_FD ──▶ a file, a region a ring ──▶ frontend ──SET_INFLIGHT_FD──▶ mapped; rings go on from there
 */
export class InflightArea {
  readonly #windows: GuestWindows;
  readonly #name: string;
  readonly #rings: number;
  readonly #queueSize: number;
  #used: { readonly window: Window; readonly queues: number; readonly queueSize: number } | undefined;

  constructor(windows: GuestWindows, name: string, rings: number, queueSize: number) {
    this.#windows = windows;
    this.#name = name;
    this.#rings = rings;
    this.#queueSize = queueSize;
  }

  #check(queues: number, queueSize: number): void {
    if (queues >= 1 && queues <= this.#rings && queueSize >= 1 && queueSize <= this.#queueSize) return;
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${this.#name}: inflight for ${queues} queues of ${queueSize}, there are ${this.#rings} of up to ${this.#queueSize}`,
    );
  }

  /**
   * Makes a file for so many rings. Its descriptor is the caller's.
   * @throws RingwayError `BAD_ARGUMENT` when there are no such rings, `SYSTEM`.
   */
  make(layout: VirtqueueLayout, { queues, queueSize }: Area): { readonly fd: number; readonly area: Area } {
    this.#check(queues, queueSize);
    const bytes = queues * inflightBytes(layout, queueSize);
    const fd = requireSys(this.#name).memfdCreate('ringway-inflight', Math.ceil(bytes / 4096) * 4096, { seal: true });
    return { fd, area: { bytes: BigInt(bytes), offset: 0n, queues, queueSize } };
  }

  /**
   * Uses a file from now on, in place of another; no ring runs.
   * @throws RingwayError `BAD_ARGUMENT` when it is no such file, or too short, `ARENA_FULL`.
   */
  use(fd: number, area: Area, layout: VirtqueueLayout): void {
    const { queues, queueSize } = area;
    this.#check(queues, queueSize);
    const needed = BigInt(queues * inflightBytes(layout, queueSize));
    if (area.bytes < needed) {
      throw new RingwayError('BAD_ARGUMENT', `${this.#name}: inflight of ${area.bytes} bytes, needs ${needed}`);
    }
    const window = this.#windows.map(fd, area, 'inflight');
    this.close();
    this.#used = { window, queues, queueSize };
  }

  /** Arena address of the region of ring `index`; undefined when nothing is tracked. */
  regionOf(index: number, layout: VirtqueueLayout): number | undefined {
    if (this.#used === undefined || index >= this.#used.queues) return undefined;
    return this.#used.window.address + index * inflightBytes(layout, this.#used.queueSize);
  }

  close(): void {
    if (this.#used !== undefined) this.#windows.unmap(this.#used.window);
    this.#used = undefined;
  }
}
