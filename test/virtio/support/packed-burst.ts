import type { RawDescriptor, VirtqueueLayout } from 'ringway/virtio';
import { DeviceSide, type NetQueueRigOptions } from './net-queue-rig.ts';

/** No power of two where the layout allows it. */
export const sizeOf = (layout: VirtqueueLayout): number => (layout === 'packed' ? 33 : 32);

/** A driver that changes what it made available. */
export class Burst {
  readonly side: DeviceSide;
  readonly #packed: boolean;
  readonly #ids: number[] = [];

  constructor(options: NetQueueRigOptions) {
    this.side = new DeviceSide({ size: sizeOf(options.layout), ...options });
    this.#packed = options.layout === 'packed';
  }

  /** Makes chains of one buffer available: of these bytes, or with room for so many. */
  add(...chains: readonly (Uint8Array | number)[]): void {
    for (const chain of chains) {
      const id = typeof chain === 'number' ? this.side.driver.send([], [chain]) : this.side.driver.send([chain]);
      this.#ids.push(id as number);
    }
  }

  /** Where the descriptor of chain `i` lies: nothing was given back, so that the ring is filled from its start. */
  #place(i: number): number {
    return this.#packed ? i : (this.#ids[i] as number);
  }

  descriptor(i: number): RawDescriptor {
    const { raw, rings } = this.side.driver;
    return raw.readDescriptor(rings.descriptors, this.#place(i));
  }

  change(i: number, change: Partial<RawDescriptor>): void {
    this.side.driver.poke(this.#place(i), { ...this.descriptor(i), ...change });
  }

  /** Gives chain `i` another id. */
  rename(i: number, id: number): void {
    const { raw, rings } = this.side.driver;
    if (this.#packed) this.change(i, { link: id });
    else raw.writeAvailable(rings.driverArea, i, id);
  }

  id(i: number): number {
    return this.#ids[i] as number;
  }

  /** Writes to the start of the buffer of chain `i`. */
  write(i: number, bytes: Uint8Array): void {
    this.side.arena.u8.set(bytes, Number(this.descriptor(i).guest));
  }
}
