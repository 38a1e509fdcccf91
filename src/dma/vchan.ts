import type { Arena } from '../memory/arena.ts';
import { DIRECTORY_BYTES } from '../memory/layout.ts';
import { readCounter } from '../telemetry/counters.ts';
import { isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import type { DmaCapabilities } from './capabilities.ts';
import type { DmaKernels } from './kernels.ts';
import {
  DMA_DESC_SHIFT,
  DMA_FLAG_FENCE,
  DMA_FLAG_SUBMIT,
  ENGINE_CPU,
  ENGINE_OTHER,
  OPS_FILL,
  OPS_SG,
  SG_SHIFT,
  STATUS_ABORTED,
  STATUS_BUS_ERROR,
  STATUS_INVALID_DST_ADDR,
  STATUS_INVALID_LENGTH,
  STATUS_INVALID_OPCODE,
  STATUS_INVALID_SRC_ADDR,
  STATUS_SUCCESSFUL,
  VCHAN_BELL,
  VCHAN_BYTES,
  VCHAN_CAPACITY,
  VCHAN_COMPLETED,
  VCHAN_COMPLETED_COUNT,
  VCHAN_DESCRIPTORS,
  VCHAN_END,
  VCHAN_ENGINE,
  VCHAN_ENQUEUED,
  VCHAN_ERROR_COUNT,
  VCHAN_HAS_ERROR,
  VCHAN_LAST,
  VCHAN_LOWEST,
  VCHAN_OPS,
  VCHAN_SG,
  VCHAN_SILENT,
  VCHAN_SIZE,
  VCHAN_SUBMITTED,
  VCHAN_SUBMITTED_COUNT,
} from './layout.ts';

/** Flags of an operation, to be added up. */
export const DMA_FLAG = {
  /** It starts only after all operations before it in its channel are completed, failed ones included. */
  FENCE: DMA_FLAG_FENCE,
  /** It is submitted at once, and all pending ones with it. */
  SUBMIT: DMA_FLAG_SUBMIT,
} as const;

/** What became of an operation; the numbers are those of DPDK's enum rte_dma_status_code (lib/dmadev/rte_dmadev.h). */
export const DMA_STATUS = {
  SUCCESSFUL: STATUS_SUCCESSFUL,
  /** Given up by `abort`; the target may be written in part, or whole. */
  ABORTED: STATUS_ABORTED,
  /** What is to be read, or written, lies outside the arena. Nothing was written. */
  INVALID_SRC_ADDR: STATUS_INVALID_SRC_ADDR,
  INVALID_DST_ADDR: STATUS_INVALID_DST_ADDR,
  /** The two lists of an SG copy differ in length. Nothing was written. */
  INVALID_LENGTH: STATUS_INVALID_LENGTH,
  INVALID_OPCODE: STATUS_INVALID_OPCODE,
  /** The engine failed at it; the target may be written in part, or whole. */
  BUS_ERROR: STATUS_BUS_ERROR,
} as const;

/** What went through a channel since it was set up, or its statistics were reset. */
export interface DmaStats {
  /** Operations handed to the engine. */
  readonly submitted: number;
  /** Operations that the engine is done with, failed ones included. */
  readonly completed: number;
  /** Those that failed. */
  readonly errors: number;
}

/** What a channel is made of. */
export interface VchanOptions {
  /** A power of two from 32 to 8192. */
  readonly descriptors: number;
  /** 0, the highest and the default, to the device's `priorities` - 1. */
  readonly priority?: number;
}

/** What the device says of a channel that it makes. */
export interface VchanSetup extends Required<VchanOptions> {
  /** Name of its region. */
  readonly name: string;
  readonly capabilities: Pick<DmaCapabilities, 'sg' | 'fill'>;
  /** Who submits does the work. */
  readonly cpu: boolean;
  readonly silent: boolean;
}

/** Bytes that a channel of so many descriptors takes. */
export function vchanBytes(descriptors: number, sg: boolean): number {
  return VCHAN_BYTES + (descriptors << DMA_DESC_SHIFT) + (sg ? descriptors << SG_SHIFT : 0);
}

/**
 * Makes a channel that takes no operations yet: `openVchan` lets it. Returns its address.
 * @throws RingwayError `BAD_ARGUMENT` when `descriptors` is out of range, `ARENA_FULL` when it does not fit.
 */
export function createVchan(
  arena: Arena,
  setup: VchanSetup,
  limits: { readonly min: number; readonly max: number },
): number {
  const { name, descriptors, capabilities, cpu, silent } = setup;
  if (!isPowerOfTwo(descriptors) || descriptors < limits.min || descriptors > limits.max) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: descriptors=${descriptors}, must be a power of two from ${limits.min} to ${limits.max}`,
    );
  }
  const { u32, handle } = arena;
  const address = arena.allocate(name, vchanBytes(descriptors, capabilities.sg));
  const set = (offset: number, value: number): void => {
    u32[(address + offset) >>> 2] = value;
  };
  const end = handle.end ?? arena.bytes;
  set(VCHAN_SIZE, descriptors);
  set(VCHAN_ENGINE, cpu ? ENGINE_CPU : ENGINE_OTHER);
  set(VCHAN_OPS, (capabilities.sg ? OPS_SG : 0) | (capabilities.fill ? OPS_FILL : 0));
  set(VCHAN_SILENT, silent ? 1 : 0);
  // Never the directory: an address that is wrong must not lose the names of all regions.
  set(VCHAN_LOWEST, handle.base + DIRECTORY_BYTES);
  set(VCHAN_END, end % 2 ** 32);
  set(VCHAN_END + 4, Math.floor(end / 2 ** 32));
  set(VCHAN_SG, address + VCHAN_DESCRIPTORS + (descriptors << DMA_DESC_SHIFT));
  set(VCHAN_LAST, 0xffff);
  return address;
}

/** Lets a channel take operations. `bell`: words of the lcore that a submit wakes when it sleeps, or 0. */
export function openVchan({ u32 }: Arena, address: number, bell: number): void {
  u32[(address + VCHAN_BELL) >>> 2] = bell;
  Atomics.store(u32, (address + VCHAN_CAPACITY) >>> 2, u32[(address + VCHAN_SIZE) >>> 2] as number);
}

/** Lets a channel take no more operations. What is submitted stays; what is pending may still be submitted. */
export function shutVchan({ u32 }: Arena, address: number): void {
  Atomics.store(u32, (address + VCHAN_CAPACITY) >>> 2, 0);
}

/**
 * A virtual channel: the application's end of it. One thread at a time uses it, and any thread may: all of it lies behind
 * its address. Enqueueing returns the operation's 16-bit ring index, which counts up from 0 and wraps.
 */
export class Vchan {
  /** Address of the channel: what kernels and other threads need of it. */
  readonly address: number;
  /** Operations that it holds, completed ones that were not collected included. */
  readonly descriptors: number;
  readonly #arena: Arena;
  readonly #kernels: DmaKernels;

  constructor(arena: Arena, address: number) {
    this.address = address;
    this.#arena = arena;
    this.#kernels = arena.kernels<DmaKernels>();
    this.descriptors = this.#word(VCHAN_SIZE);
  }

  /**
   * Enqueues a copy of `length` bytes between ranges that do not overlap. Returns its ring index, or -1 when the channel
   * is full or its device does not run.
   * @param flags of `DMA_FLAG`.
   */
  copy(target: number, source: number, length: number, flags = 0): number {
    return this.#kernels.dmaCopy(this.address, target, source, length, flags);
  }

  /**
   * Enqueues a copy from the bytes of one list of segments to those of another, which are as many in all. Lists lie in the
   * arena, 8 bytes an entry: address and length, u32 each; they are free again when this returns.
   * @returns the ring index; -1 as `copy`; -2 when a list has no or more than `maxSges` entries, or the device has no SG.
   */
  copySg(targets: number, nTargets: number, sources: number, nSources: number, flags = 0): number {
    return this.#kernels.dmaCopySg(this.address, targets, nTargets, sources, nSources, flags);
  }

  /**
   * Enqueues a fill of `length` bytes with 64 bits, again and again from `target` on: the lowest byte of `low` comes first.
   * @returns as `copy`; -2 when the device has no fill.
   */
  fill(target: number, low: number, high: number, length: number, flags = 0): number {
    return this.#kernels.dmaFill(this.address, target, low, high, length, flags);
  }

  /** Hands all pending operations to the engine. */
  submit(): void {
    this.#kernels.dmaSubmit(this.address);
  }

  /**
   * Gives back up to `max` operations that succeeded, in the order in which they were enqueued, and stops before one that
   * failed. Returns how many; `lastIndex` and `hasError` say the rest.
   */
  completed(max: number): number {
    return this.#kernels.dmaCompleted(this.address, max);
  }

  /**
   * Gives back up to `max` operations whatever became of them, and writes their statuses (`DMA_STATUS`), a byte each, to
   * address `statuses`. Returns how many.
   */
  completedStatus(max: number, statuses: number): number {
    return this.#kernels.dmaCompletedStatus(this.address, max, statuses);
  }

  /** Ring index of the last operation that was given back; 65,535 before the first. */
  get lastIndex(): number {
    return this.#word(VCHAN_LAST);
  }

  /** True when the last call of `completed` stopped before an operation that failed, or `completedStatus` gave some back. */
  get hasError(): boolean {
    return this.#word(VCHAN_HAS_ERROR) === 1;
  }

  /** Operations that can be enqueued now. */
  burstCapacity(): number {
    return this.#kernels.dmaBurstCapacity(this.address);
  }

  /**
   * Gives up the pending operations from the one with ring index `index` on, which are not submitted: as if they had
   * never been enqueued. Returns how many; 0 when it is not pending.
   */
  rollback(index: number): number {
    return this.#kernels.dmaRollback(this.address, index);
  }

  /** Operations that are enqueued and not submitted. Only for the thread that enqueues. */
  pending(): number {
    return (this.#word(VCHAN_ENQUEUED) - this.#word(VCHAN_SUBMITTED)) >>> 0;
  }

  /** Operations that are submitted and not completed; a moment old. Any thread. */
  inFlight(): number {
    const { u32 } = this.#arena;
    // This order: what is completed was submitted, so that the difference is never negative.
    const completed = Atomics.load(u32, (this.address + VCHAN_COMPLETED) >>> 2);
    return (Atomics.load(u32, (this.address + VCHAN_SUBMITTED) >>> 2) - completed) >>> 0;
  }

  /** What went through it since it was set up. Any thread. */
  stats(): DmaStats {
    const counter = (offset: number): number => readCounter(this.#arena, this.address + offset);
    return {
      submitted: counter(VCHAN_SUBMITTED_COUNT),
      completed: counter(VCHAN_COMPLETED_COUNT),
      errors: counter(VCHAN_ERROR_COUNT),
    };
  }

  #word(offset: number): number {
    return this.#arena.u32[(this.address + offset) >>> 2] as number;
  }
}

/** The channel at `address`, which a device of this or another thread has set up. */
export function attachVchan(arena: Arena, address: number): Vchan {
  return new Vchan(arena, address);
}
