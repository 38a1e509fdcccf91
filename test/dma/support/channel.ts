import type { Vchan } from 'ringway/dma';
import { attachVchan } from 'ringway/dma';
import type { Arena } from 'ringway/memory';
import type { DmaKernels } from '#build/dma/kernels.js';
import { VCHAN_COMPLETED, VCHAN_ENQUEUED, VCHAN_RETURNED, VCHAN_SEEN, VCHAN_SUBMITTED } from '#build/dma/layout.js';
import { createVchan, openVchan } from '#build/dma/vchan.js';
import { testArena } from '../../support/arena.ts';

/** Bytes that operations read from, and as many that they write to. */
export const DATA_BYTES = 8192;
export const STATUSES_MAX = 256;

/** A channel in an arena, and what operations move. */
export interface Rig {
  readonly arena: Arena;
  readonly kernels: DmaKernels;
  readonly vchan: Vchan;
  readonly address: number;
  readonly source: number;
  readonly target: number;
  /** Room for two SG lists of 32 entries. */
  readonly lists: number;
  readonly statuses: number;
}

export interface RigOptions {
  readonly arena?: Arena;
  readonly descriptors?: number;
  /** The submitter does the work; else nobody does who is not told to. */
  readonly cpu?: boolean;
  readonly silent?: boolean;
  /** Position at which the channel begins. */
  readonly start?: number;
  /** Without SG and fill. */
  readonly bare?: boolean;
  readonly name?: string;
  /** False: another channel of the arena has the data. */
  readonly data?: boolean;
}

const NO_DATA = { source: 0, target: 0, lists: 0, statuses: 0 };

/** The data regions of an arena: the bytes to read differ from each other, those to write are 0. */
export function dataOf(arena: Arena): Pick<Rig, 'source' | 'target' | 'lists' | 'statuses'> {
  const source = arena.allocate('source', DATA_BYTES);
  const target = arena.allocate('target', DATA_BYTES);
  for (let i = 0; i < DATA_BYTES; i++) arena.u8[source + i] = (i * 31 + (i >>> 8) * 17) & 255;
  return { source, target, lists: arena.allocate('lists', 512), statuses: arena.allocate('statuses', STATUSES_MAX) };
}

/** Puts all positions of a channel that nobody uses to `start`. */
export function setPositions(arena: Arena, address: number, start: number): void {
  for (const offset of [VCHAN_ENQUEUED, VCHAN_RETURNED, VCHAN_SEEN, VCHAN_SUBMITTED, VCHAN_COMPLETED]) {
    arena.u32[(address + offset) >>> 2] = start;
  }
}

export function makeChannel(options: RigOptions = {}): Rig {
  const {
    arena = testArena(1 << 20),
    descriptors = 32,
    cpu = false,
    silent = false,
    start = 0,
    bare = false,
  } = options;
  const setup = {
    name: options.name ?? 'channel',
    descriptors,
    priority: 0,
    capabilities: { sg: !bare, fill: !bare },
    cpu,
    silent,
  };
  const address = createVchan(arena, setup, { min: 32, max: 8192 });
  setPositions(arena, address, start);
  openVchan(arena, address, 0);
  const vchan = attachVchan(arena, address);
  return {
    arena,
    kernels: arena.kernels<DmaKernels>(),
    vchan,
    address,
    ...(options.data === false ? NO_DATA : dataOf(arena)),
  };
}
