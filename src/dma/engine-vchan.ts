import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { DmaKernels } from './kernels.ts';
import {
  DMA_DESC_FLAGS,
  DMA_DESC_LENGTH,
  DMA_DESC_OP,
  DMA_DESC_PATTERN,
  DMA_DESC_SHIFT,
  DMA_DESC_SOURCE,
  DMA_DESC_TARGET,
  DMA_FLAG_FENCE,
  DMA_OP_FILL,
  DMA_OP_SG,
  DMA_SGE_SHIFT,
  SG_SHIFT,
  SG_SOURCES,
  STATUS_MAX,
  VCHAN_COMPLETED,
  VCHAN_DESCRIPTORS,
  VCHAN_SG,
  VCHAN_SIZE,
} from './layout.ts';

/** A stretch of the arena. */
export interface DmaSegment {
  readonly address: number;
  /** Bytes. */
  readonly length: number;
}

/** An operation as an engine finds it. */
export interface DmaOperation {
  readonly op: 'copy' | 'sg' | 'fill';
  /** It may start only when all operations before it in its channel are completed. */
  readonly fence: boolean;
  /** What is to be written; one segment, unless it is an SG copy. */
  readonly targets: readonly DmaSegment[];
  /** What is to be read; none of a fill. */
  readonly sources: readonly DmaSegment[];
  /** Of a fill: the 64 bits to repeat, the lower half first; [0, 0] of a copy. */
  readonly pattern: readonly [number, number];
}

/**
 * A channel as its engine sees it. Operations are numbered from the oldest that is not completed, which is 0; completing
 * `n` makes the one numbered `n` the new 0. Only the engine's thread uses it.
 */
export class EngineVchan {
  /** Address of the channel, for kernels. */
  readonly address: number;
  /** 0 is the highest. */
  readonly priority: number;
  readonly #arena: Arena;
  readonly #kernels: DmaKernels;
  readonly #mask: number;

  constructor(arena: Arena, address: number, priority: number) {
    this.address = address;
    this.priority = priority;
    this.#arena = arena;
    this.#kernels = arena.kernels<DmaKernels>();
    this.#mask = (arena.u32[(address + VCHAN_SIZE) >>> 2] as number) - 1;
  }

  /** Operations that are submitted and not completed. */
  pending(): number {
    return this.#kernels.dmaRunning(this.address) >>> 0;
  }

  /** Does and completes up to `max` of the oldest operations. Returns how many. All that a simple engine needs. */
  run(max: number): number {
    return this.#kernels.dmaRunEngine(this.address, max);
  }

  /**
   * What pending operation `i` is. An engine that moves the bytes itself calls `check` first: addresses may be anything.
   * @throws RingwayError `BAD_ARGUMENT` when it is not pending.
   */
  operation(i: number): DmaOperation {
    const position = this.#position(i);
    const { u16, u32 } = this.#arena;
    const at = this.address + VCHAN_DESCRIPTORS + ((position & this.#mask) << DMA_DESC_SHIFT);
    const word = (offset: number): number => u32[(at + offset) >>> 2] as number;
    const op = u16[(at + DMA_DESC_OP) >>> 1];
    const fence = ((u16[(at + DMA_DESC_FLAGS) >>> 1] as number) & DMA_FLAG_FENCE) !== 0;
    const length = word(DMA_DESC_LENGTH);
    if (op === DMA_OP_SG) {
      const lists = (u32[(this.address + VCHAN_SG) >>> 2] as number) + ((position & this.#mask) << SG_SHIFT);
      const [targets, sources] = [this.#list(lists, length >>> 16), this.#list(lists + SG_SOURCES, length & 0xffff)];
      return { op: 'sg', fence, targets, sources, pattern: [0, 0] };
    }
    const targets = [{ address: word(DMA_DESC_TARGET), length }];
    if (op === DMA_OP_FILL) {
      const pattern = [word(DMA_DESC_PATTERN), word(DMA_DESC_PATTERN + 4)] as const;
      return { op: 'fill', fence, targets, sources: [], pattern };
    }
    return { op: 'copy', fence, targets, sources: [{ address: word(DMA_DESC_SOURCE), length }], pattern: [0, 0] };
  }

  /**
   * Status that pending operation `i` has to fail with, since its addresses lie outside the arena; 0 when they do not.
   * @throws RingwayError `BAD_ARGUMENT` when it is not pending.
   */
  check(i: number): number {
    return this.#kernels.dmaCheck(this.address, this.#position(i));
  }

  /**
   * Does pending operation `i` on this thread, without completing it. Returns its status, 0 when it succeeded.
   * @throws RingwayError `BAD_ARGUMENT` when it is not pending.
   */
  execute(i: number): number {
    return this.#kernels.dmaExecute(this.address, this.#position(i));
  }

  /**
   * Says that pending operation `i` failed. It is completed in its turn.
   * @param status 1 to 255, of `DMA_STATUS`.
   * @throws RingwayError `BAD_ARGUMENT` when it is not pending, or the status is out of range.
   */
  fail(i: number, status: number): void {
    if (!Number.isInteger(status) || status < 1 || status > STATUS_MAX) {
      throw new RingwayError('BAD_ARGUMENT', `dma engine: status ${status}, must be from 1 to ${STATUS_MAX}`);
    }
    this.#kernels.dmaFail(this.address, this.#position(i), status);
  }

  /**
   * Completes the `n` oldest pending operations, with one publication.
   * @throws RingwayError `BAD_ARGUMENT` when fewer are pending.
   */
  complete(n: number): void {
    if (!Number.isInteger(n) || n < 0 || n > this.pending()) {
      throw new RingwayError('BAD_ARGUMENT', `dma engine: complete(${n}), and ${this.pending()} are pending`);
    }
    if (n > 0) this.#kernels.dmaFinish(this.address, n);
  }

  #position(i: number): number {
    if (!Number.isInteger(i) || i < 0 || i >= this.pending()) {
      throw new RingwayError('BAD_ARGUMENT', `dma engine: operation ${i}, and ${this.pending()} are pending`);
    }
    return ((this.#arena.u32[(this.address + VCHAN_COMPLETED) >>> 2] as number) + i) >>> 0;
  }

  #list(address: number, count: number): DmaSegment[] {
    const { u32 } = this.#arena;
    return Array.from({ length: count }, (_, i) => {
      const at = (address + (i << DMA_SGE_SHIFT)) >>> 2;
      return { address: u32[at] as number, length: u32[at + 1] as number };
    });
  }
}
