import { type ChainList, virtqueueBytes } from 'ringway/virtio';
import {
  CHAIN_SHIFT,
  LIST_FIRST,
  SEGMENT_SHIFT,
  VIRTIO_REGIONS_BYTES,
  VQ_ID_SHIFT,
  VQ_IDS,
} from '#build/virtio/layout.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';
import { BURST, makeRig, RIG_BYTES, type Rig, type RigOptions, SLOT_BYTES, SLOTS } from './rig.ts';

/** A stretch of the arena. */
export interface Window {
  readonly address: number;
  readonly bytes: number;
}

/** What both sides and their peers may write: the three parts of the ring, and the driver's tables. */
export function sharedWindows(rig: Rig, { layout, size }: RigOptions): Window[] {
  const bytes = virtqueueBytes(layout, size);
  const parts = (Object.keys(bytes) as (keyof typeof bytes)[]).map((part) => ({
    address: rig.rings[part],
    bytes: bytes[part],
  }));
  return rig.driver.tables === undefined ? parts : [...parts, rig.driver.tables];
}

const stateWindow = (address: number, size: number): Window => ({ address, bytes: VQ_IDS + (size << VQ_ID_SHIFT) });
const listWindow = ({ address, chains, segments }: ChainList): Window => ({
  address,
  bytes: LIST_FIRST + (chains << CHAIN_SHIFT) + (segments << SEGMENT_SHIFT),
});
const records = (rig: Rig): Window => ({ address: rig.records, bytes: BURST * 8 });

/** All that the device's kernels may touch. Buffers are among it: what the driver says is a table may lie there. */
export function deviceWindows(rig: Rig, options: RigOptions): Window[] {
  return [
    ...sharedWindows(rig, options),
    stateWindow(rig.device.address, options.size),
    { address: rig.regions.address, bytes: VIRTIO_REGIONS_BYTES },
    { address: rig.buffers, bytes: SLOTS * SLOT_BYTES },
    listWindow(rig.taken),
    records(rig),
  ];
}

/** All that the driver's kernels may touch. The buffers are not: it says only where they are. */
export function driverWindows(rig: Rig, options: RigOptions): Window[] {
  return [
    ...sharedWindows(rig, options),
    stateWindow(rig.driver.address, options.size),
    listWindow(rig.adding),
    records(rig),
  ];
}

export const inside = (windows: readonly Window[], address: number, bytes: number): boolean =>
  windows.some((window) => address >= window.address && address + bytes <= window.address + window.bytes);

/** Makes each access of the arena's kernels outside the windows throw. */
export function watchWindows(arena: TracedArena, windows: readonly Window[]): void {
  arena.onAccess((address, bytes, kind, site) => {
    if (!inside(windows, address, bytes)) {
      throw new Error(`${arena.where(site)}: ${kind} of ${bytes} bytes at ${address}, outside the windows`);
    }
  });
}

/** A rig whose sides run traced kernels, each with its own hook. */
export function tracedRig(
  options: RigOptions,
  module?: WebAssembly.Module,
): { rig: Rig; driverArena: TracedArena; deviceArena: TracedArena } {
  const plain = testArena(RIG_BYTES, options.base);
  const driverArena = new TracedArena(plain, module);
  const deviceArena = new TracedArena(plain, module);
  return { rig: makeRig({ ...options, arena: driverArena, deviceArena }), driverArena, deviceArena };
}

/** Finds addresses of `shared` that the kernels of an arena load twice in one call. */
export class FetchWatch {
  /** Of each byte that was loaded twice: its address, and the functions that loaded it. */
  readonly found: { readonly address: number; readonly first: string; readonly second: string }[] = [];
  readonly #seen = new Map<number, number>();

  constructor(arena: TracedArena, shared: readonly Window[]) {
    arena.onAccess((address, bytes, kind, site) => {
      if (kind.endsWith('store') || !inside(shared, address, bytes)) return;
      for (let at = address; at < address + bytes; at++) {
        const first = this.#seen.get(at);
        if (first !== undefined) this.found.push({ address: at, first: arena.where(first), second: arena.where(site) });
        this.#seen.set(at, site);
      }
    });
  }

  /** The next access belongs to another call. */
  nextCall(): void {
    this.#seen.clear();
  }
}
