import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { Random } from '../util/random.ts';
import type { DmaKernels } from './kernels.ts';
import {
  DMA_DESC_FLAGS,
  DMA_DESC_LENGTH,
  DMA_DESC_OP,
  DMA_DESC_SHIFT,
  DMA_FLAG_FENCE,
  DMA_OP_SG,
  DMA_SGE_LENGTH,
  DMA_SGE_SHIFT,
  SG_SHIFT,
  STATUS_BUS_ERROR,
  VCHAN_COMPLETED,
  VCHAN_DESCRIPTORS,
  VCHAN_SG,
  VCHAN_SIZE,
  VCHAN_SUBMITTED,
} from './layout.ts';
import { checkModel, type ModelParameters } from './model-parameters.ts';
import { type Accepted, WorkQueue } from './work-queue.ts';

/** A channel of the model. */
interface Lane {
  readonly address: number;
  readonly priority: number;
  readonly mask: number;
  /** By descriptor: 1 when its operation has retired and an older one has not. */
  readonly retired: Uint8Array;
  /** Positions: up to which operations are accepted, and up to which they were submitted when `advance` last looked. */
  accepted: number;
  seen: number;
  /** Operations accepted and not retired. */
  inFlight: number;
}

/** Never: what is not due. Of a unit that works: it is through with the descriptor. */
const NEVER = Number.POSITIVE_INFINITY;

/**
 * A DMA engine in virtual time, which stands for hardware. It does what it is told at the times that its parameters say:
 *
 *     ring ──accept──▶ work queue ──▶ unit: descriptorNs, then its bytes ──latencyNs──▶ bytes are written, completion
 *            (fence)   (workQueue)    (units; all share the bandwidth)
 *
 * An operation keeps its place in the work queue until it retires. Its bytes are read and written at that moment and not
 * before, so that whoever takes a copy for done too early finds out. Units overtake each other; completions of a channel
 * stay in order. Two runs with the same calls are the same.
 */
export class DmaModel {
  readonly #arena: Arena;
  readonly #kernels: DmaKernels;
  readonly #parameters: ModelParameters;
  readonly #lanes: Lane[];
  readonly #queue: WorkQueue;
  readonly #random: Random;
  readonly #failing: ReadonlySet<number>;
  /** By unit: what it works on, when it is through with the descriptor, bytes left to transfer. */
  readonly #units: (Accepted | undefined)[];
  readonly #setUpAt: Float64Array;
  readonly #left: Float64Array;
  readonly #bytesPerNs: number;
  #transferring = 0;
  /** As of the last look ahead: bytes that the transfer that ends first has left, when that is, and when the next step is due. */
  #leastLeft = 0;
  #transferAt = NEVER;
  #next = NEVER;
  #now = 0;
  /** Operations accepted so far: the number of the next. */
  #ordinal = 0;
  #turn = 0;
  #vanished = false;
  readonly #onVanish: () => void;

  /**
   * @param vchans addresses of channels whose engine is this one, and their priorities.
   * @param onVanish is called when the device goes.
   * @throws RingwayError `BAD_ARGUMENT` when a parameter is out of range.
   */
  constructor(
    arena: Arena,
    vchans: readonly { readonly address: number; readonly priority: number }[],
    parameters: ModelParameters,
    onVanish = (): void => {},
  ) {
    checkModel(parameters);
    const { units, workQueue, bandwidth, faults = {} } = parameters;
    this.#arena = arena;
    this.#kernels = arena.kernels<DmaKernels>();
    this.#parameters = parameters;
    this.#onVanish = onVanish;
    this.#queue = new WorkQueue(workQueue);
    this.#random = new Random(faults.seed ?? 1);
    this.#failing = new Set(faults.fail ?? []);
    this.#units = new Array<Accepted | undefined>(units).fill(undefined);
    this.#setUpAt = new Float64Array(units).fill(NEVER);
    this.#left = new Float64Array(units);
    this.#bytesPerNs = bandwidth / 1e9;
    this.#lanes = vchans.map(({ address, priority }): Lane => {
      const size = arena.u32[(address + VCHAN_SIZE) >>> 2] as number;
      const at = arena.u32[(address + VCHAN_COMPLETED) >>> 2] as number;
      const retired = new Uint8Array(size);
      return { address, priority, mask: size - 1, retired, accepted: at, seen: at, inFlight: 0 };
    });
  }

  /** Virtual time of the last `advance`, in ns. */
  get now(): number {
    return this.#now;
  }

  /** True once the device is gone: nothing will be completed any more. */
  get vanished(): boolean {
    return this.#vanished;
  }

  /**
   * When the next step of what is accepted is due, in ns; Infinity when nothing is, so that a scheduler may sleep. Operations
   * submitted since the last `advance` do not count yet.
   */
  get nextNs(): number {
    this.#lookAhead();
    return this.#next;
  }

  /** The device goes: nothing happens from now on. */
  vanish(): void {
    if (this.#vanished) return;
    this.#vanished = true;
    this.#onVanish();
  }

  /**
   * Lets the time pass up to `nowNs`, which is not before the last. Operations that were submitted since the last call are
   * seen at `nowNs`, as if the doorbell rang then: call it after each submit as well. Returns how many were completed.
   * @throws RingwayError `BAD_ARGUMENT` when `nowNs` is not finite.
   */
  advance(nowNs: number): number {
    if (this.#vanished) return 0;
    if (!Number.isFinite(nowNs)) throw new RingwayError('BAD_ARGUMENT', `dma model: advance(${nowNs}), must be ns`);
    this.#runTo(nowNs);
    this.#now = Math.max(this.#now, nowNs);
    for (const lane of this.#lanes) lane.seen = Atomics.load(this.#arena.u32, (lane.address + VCHAN_SUBMITTED) >>> 2);
    this.#accept();
    // Those that take no time at all are done already.
    this.#runTo(nowNs);
    return this.#publish();
  }

  /**
   * Completes all that is submitted and can be, at whatever time that is. Returns how many; what hangs stays.
   */
  drain(): number {
    let n = this.advance(this.#now);
    while (this.nextNs !== Number.POSITIVE_INFINITY) n += this.advance(this.nextNs);
    return n;
  }

  #runTo(nowNs: number): void {
    for (this.#lookAhead(); this.#next <= nowNs; this.#lookAhead()) this.#step(this.#next);
  }

  /** Finds out when the next step is due, and which transfer would end first. */
  #lookAhead(): void {
    let setUpAt = NEVER;
    let least = Number.POSITIVE_INFINITY;
    for (let unit = 0; unit < this.#units.length; unit++) {
      if (this.#units[unit] === undefined) continue;
      const at = this.#setUpAt[unit] as number;
      if (at === NEVER) least = Math.min(least, this.#left[unit] as number);
      else setUpAt = Math.min(setUpAt, at);
    }
    this.#leastLeft = least;
    this.#transferAt =
      least === Number.POSITIVE_INFINITY ? NEVER : this.#now + (least * this.#transferring) / this.#bytesPerNs;
    this.#next = this.#vanished ? NEVER : Math.min(this.#queue.retireNs, setUpAt, this.#transferAt);
  }

  #isTransferring(unit: number): boolean {
    return this.#units[unit] !== undefined && this.#setUpAt[unit] === NEVER;
  }

  /** Goes to `next`, the time of the next step, and does what is due then. */
  #step(next: number): void {
    const ends = this.#transferAt === next;
    // That which ends gets exactly what it has left, so that rounding never leaves a rest behind.
    const bytes = ends ? this.#leastLeft : ((next - this.#now) * this.#bytesPerNs) / this.#transferring;
    if (this.#transferring > 0) this.#transfer(bytes, ends, next);
    this.#now = Math.max(this.#now, next);
    for (let unit = 0; unit < this.#units.length; unit++) {
      if ((this.#setUpAt[unit] as number) > next) continue;
      this.#setUpAt[unit] = NEVER;
      this.#transferring++;
    }
    while (this.#queue.retireNs <= next && !this.#vanished) this.#retire();
    this.#accept();
  }

  /** Each unit that transfers moves on by `bytes`. */
  #transfer(bytes: number, ends: boolean, next: number): void {
    for (let unit = 0; unit < this.#units.length; unit++) {
      if (!this.#isTransferring(unit)) continue;
      const left = Math.max(0, (this.#left[unit] as number) - bytes);
      this.#left[unit] = left;
      if (left > 0 || !ends) continue;
      this.#queue.retireAt(next + this.#parameters.latencyNs, this.#units[unit] as Accepted);
      this.#units[unit] = undefined;
      this.#transferring--;
    }
  }

  /** Takes operations from the rings while the work queue has room, and gives the oldest to units that are idle. */
  #accept(): void {
    while (this.#queue.hasRoom) {
      const lane = this.#pick();
      if (lane === undefined) break;
      this.#queue.push({ lane: this.#lanes.indexOf(lane), position: lane.accepted, ordinal: this.#ordinal++ });
      lane.accepted = (lane.accepted + 1) >>> 0;
      lane.inFlight++;
    }
    const { stallFrom = Number.POSITIVE_INFINITY } = this.#parameters.faults ?? {};
    for (let unit = 0; unit < this.#units.length; unit++) {
      if (this.#units[unit] !== undefined) continue;
      const oldest = this.#queue.oldest;
      if (oldest === undefined || oldest.ordinal >= stallFrom) return;
      this.#queue.shift();
      this.#units[unit] = oldest;
      this.#left[unit] = this.#bytesOf(oldest);
      this.#setUpAt[unit] = this.#now + this.#parameters.descriptorNs;
    }
  }

  /** The channel whose turn it is: of the highest priority that has work, in turn. */
  #pick(): Lane | undefined {
    const count = this.#lanes.length;
    let best: Lane | undefined;
    let next = this.#turn;
    for (let i = 0; i < count; i++) {
      const lane = this.#lanes[(this.#turn + i) % count] as Lane;
      if (lane.accepted === lane.seen || (best !== undefined && best.priority <= lane.priority)) continue;
      if (lane.inFlight > 0 && this.#hasFence(lane)) continue;
      best = lane;
      next = (this.#turn + i + 1) % count;
    }
    this.#turn = next;
    return best;
  }

  #descriptor(lane: Lane, position: number): number {
    return lane.address + VCHAN_DESCRIPTORS + ((position & lane.mask) << DMA_DESC_SHIFT);
  }

  #hasFence(lane: Lane): boolean {
    const flags = this.#arena.u16[(this.#descriptor(lane, lane.accepted) + DMA_DESC_FLAGS) >>> 1] as number;
    return (flags & DMA_FLAG_FENCE) !== 0;
  }

  /** Bytes that an operation moves, as far as the time that it takes goes. */
  #bytesOf({ lane: index, position }: Accepted): number {
    const lane = this.#lanes[index] as Lane;
    const { u16, u32 } = this.#arena;
    const descriptor = this.#descriptor(lane, position);
    const length = u32[(descriptor + DMA_DESC_LENGTH) >>> 2] as number;
    if (u16[(descriptor + DMA_DESC_OP) >>> 1] !== DMA_OP_SG) return length;
    const targets = (u32[(lane.address + VCHAN_SG) >>> 2] as number) + ((position & lane.mask) << SG_SHIFT);
    let bytes = 0;
    for (let i = 0; i < length >>> 16; i++) {
      bytes += u32[(targets + (i << DMA_SGE_SHIFT) + DMA_SGE_LENGTH) >>> 2] as number;
    }
    return bytes;
  }

  /** The operation whose time has come is done, or fails. */
  #retire(): void {
    const { faults = {} } = this.#parameters;
    const { lane: index, position, ordinal } = this.#queue.retire();
    if (ordinal >= (faults.vanishAt ?? Number.POSITIVE_INFINITY)) {
      this.vanish();
      return;
    }
    const lane = this.#lanes[index] as Lane;
    const chance = faults.failRate === undefined ? 1 : this.#random.next() / 2 ** 32;
    const fails = this.#failing.has(ordinal) || chance < (faults.failRate ?? 0);
    // Of those that fail every other one has written its target: neither may be relied on.
    if (!fails || ordinal % 2 === 1) this.#kernels.dmaExecute(lane.address, position);
    if (fails) this.#kernels.dmaFail(lane.address, position, STATUS_BUS_ERROR);
    lane.retired[position & lane.mask] = 1;
    lane.inFlight--;
  }

  /** Completes what has retired, in the order of each ring, with one publication a channel. Returns how many. */
  #publish(): number {
    let total = 0;
    for (const lane of this.#lanes) {
      const from = this.#arena.u32[(lane.address + VCHAN_COMPLETED) >>> 2] as number;
      let n = 0;
      for (; lane.retired[(from + n) & lane.mask] === 1; n++) lane.retired[(from + n) & lane.mask] = 0;
      if (n > 0) this.#kernels.dmaFinish(lane.address, n);
      total += n;
    }
    return total;
  }
}
