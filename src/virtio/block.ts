import type { Arena } from '../memory/arena.ts';
import { isPowerOfTwo } from '../util/bits.ts';
import { RingwayError } from '../util/errors.ts';
import { BLOCK_FEATURE_NAMES, BLOCK_RULES, makeBlockConfig, SECTOR_BYTES, VIRTIO_BLK_F } from './block-config.ts';
import { BlockFile } from './block-file.ts';
import { type ChainList, createChainList } from './chain-list.ts';
import type { ConfigSpace } from './config-space.ts';
import type { DeviceSession, DeviceType } from './device.ts';
import { drain } from './drain.ts';
import { featureMask, hasFeature } from './features.ts';
import {
  BLOCK_BYTES,
  BLOCK_CAPACITY,
  BLOCK_DATA,
  BLOCK_DISCARDS,
  BLOCK_F_DISCARD,
  BLOCK_F_FLUSH,
  BLOCK_F_RO,
  BLOCK_F_WRITE_ZEROES,
  BLOCK_FLAGS,
  BLOCK_FLUSHES,
  BLOCK_HEADER_LENGTH,
  BLOCK_ID,
  BLOCK_ID_LENGTH,
  BLOCK_IDENTIFIES,
  BLOCK_IMAGE,
  BLOCK_IO_ERRORS,
  BLOCK_MALFORMED,
  BLOCK_RANGE_COUNT,
  BLOCK_RANGE_SECTOR,
  BLOCK_RANGE_SECTORS,
  BLOCK_RANGE_SHIFT,
  BLOCK_READ_BYTES,
  BLOCK_READS,
  BLOCK_SECTOR,
  BLOCK_TYPE,
  BLOCK_UNSUPPORTED,
  BLOCK_WRITE_ZEROES,
  BLOCK_WRITES,
  BLOCK_WRITTEN_BYTES,
  USED_SHIFT,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_FLUSH_OUT,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './layout.ts';
import type { VirtqueueDevice } from './queue.ts';

const BURST = 32;
/** Limits that drivers are told: no request keeps the others waiting for more than some milliseconds. */
const SEGMENT_BYTES = 4 << 20;
const RANGE_SECTORS = 8192;
const RANGES = 4;
const QUEUES_MAX = 256;
const F = VIRTIO_BLK_F;

/** A stretch of the arena whose bytes are a block device's sectors. No driver's region may cover it. */
export interface BlockImage {
  readonly address: number;
  /** A multiple of 512. */
  readonly bytes: number;
}

/** How a block device is made. */
export interface BlockDeviceOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly store: BlockImage | BlockFile;
  /** Refuse to write; a file that was opened so is never written. */
  readonly readOnly?: boolean;
  /** What the driver is told when it asks: up to 20 ASCII characters; the name's first 20 when not given. */
  readonly id?: string;
  /** 1 (when not given) to 256. */
  readonly queues?: number;
  /** Descriptors of a queue at most; 256 when not given. */
  readonly queueSize?: number;
  /** Data segments of a request at most; all that fit a chain of `queueSize`, 2 less, when not given. */
  readonly segments?: number;
  /** 512 (when not given) to 4096, a power of two. */
  readonly blockBytes?: number;
}

/** What a block device did since it was made. */
export interface BlockStats {
  readonly reads: number;
  readonly writes: number;
  readonly flushes: number;
  readonly identifies: number;
  readonly discards: number;
  readonly writeZeroes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Requests answered with VIRTIO_BLK_S_IOERR, and with _UNSUPP. */
  readonly ioErrors: number;
  readonly unsupported: number;
  /** Chains without a byte for a status. */
  readonly malformed: number;
}

interface BlockKernels {
  virtioBlockServe(state: number, list: number, n: number, used: number): number;
  virtioBlockCheck(state: number, list: number, index: number): number;
  virtioBlockRange(state: number, list: number, index: number, range: number): number;
  virtioBlockFinish(state: number, list: number, index: number, status: number, used: number): void;
}

/**
 * The block device (virtio 1.1, 5.2) over a file, or over a stretch of the arena, which one kernel serves a burst at a
 * time. A request that cannot be carried out is answered and counted, whatever it holds. All queues are one thread's.
 * What is discarded of a stretch of the arena becomes zeroes; a file keeps it.
 */
export class BlockDevice implements DeviceType {
  readonly name = 'block';
  readonly id = 2;
  readonly features: bigint;
  readonly featureNames = BLOCK_FEATURE_NAMES;
  readonly rules = BLOCK_RULES;
  readonly config: ConfigSpace;
  readonly #arena: Arena;
  readonly #kernels: BlockKernels;
  readonly #state: number;
  readonly #file: BlockFile | undefined;
  readonly #list: ChainList;
  readonly #records: number;
  readonly #sizes: readonly number[];
  readonly #readOnly: boolean;
  #queues: (VirtqueueDevice | undefined)[] = [];
  #session: DeviceSession | undefined;

  /** @throws RingwayError `BAD_ARGUMENT` for a setting that is not allowed, `ARENA_FULL`. */
  constructor(arena: Arena, options: BlockDeviceOptions) {
    const { name, store, id = name.slice(0, BLOCK_ID_LENGTH), queues = 1, queueSize = 256, blockBytes = 512 } = options;
    const file = store instanceof BlockFile ? store : undefined;
    const sectors = store instanceof BlockFile ? store.sectors : imageSectors(arena, name, store);
    checkOptions(name, id, queues, queueSize, blockBytes);
    this.#arena = arena;
    this.#file = file;
    this.#readOnly = options.readOnly === true || file?.readOnly === true;
    this.#kernels = arena.kernels<BlockKernels>();
    this.#sizes = Array.from({ length: queues }, () => queueSize);
    this.config = makeBlockConfig({
      sectors,
      segmentBytes: SEGMENT_BYTES,
      // A chain has a header and a status too.
      segments: Math.max(1, options.segments ?? queueSize - 2),
      blockBytes,
      queues,
      rangeSectors: RANGE_SECTORS,
      ranges: RANGES,
    });
    const offered: number[] = [F.SIZE_MAX, F.SEG_MAX, F.BLK_SIZE, F.FLUSH, F.TOPOLOGY];
    if (queues > 1) offered.push(F.MQ);
    offered.push(...(this.#readOnly ? [F.RO] : [F.DISCARD, F.WRITE_ZEROES]));
    this.features = featureMask(...offered);
    this.#list = createChainList(arena, { name: `${name} chains`, chains: BURST, segments: queueSize + BURST * 4 });
    this.#records = arena.allocate(`${name} records`, BURST << USED_SHIFT);
    this.#state = arena.allocate(`${name} state`, BLOCK_BYTES);
    const { u32 } = arena;
    u32[(this.#state + BLOCK_IMAGE) >>> 2] = store instanceof BlockFile ? 0 : store.address;
    u32.set([sectors % 2 ** 32, Math.floor(sectors / 2 ** 32)], (this.#state + BLOCK_CAPACITY) >>> 2);
    u32.set([RANGE_SECTORS, RANGES], (this.#state + BLOCK_RANGE_SECTORS) >>> 2);
    arena.u8.set(new TextEncoder().encode(id), this.#state + BLOCK_ID);
  }

  /** What it did since it was made. */
  get stats(): BlockStats {
    const at = (offset: number): number => this.#number(offset);
    return {
      reads: at(BLOCK_READS),
      writes: at(BLOCK_WRITES),
      flushes: at(BLOCK_FLUSHES),
      identifies: at(BLOCK_IDENTIFIES),
      discards: at(BLOCK_DISCARDS),
      writeZeroes: at(BLOCK_WRITE_ZEROES),
      readBytes: at(BLOCK_READ_BYTES),
      writtenBytes: at(BLOCK_WRITTEN_BYTES),
      ioErrors: at(BLOCK_IO_ERRORS),
      unsupported: at(BLOCK_UNSUPPORTED),
      malformed: at(BLOCK_MALFORMED),
    };
  }

  queues(features: bigint): readonly number[] {
    return hasFeature(features, F.MQ) ? this.#sizes : this.#sizes.slice(0, 1);
  }

  start(features: bigint, queues: readonly (VirtqueueDevice | undefined)[], session: DeviceSession): void {
    const flag = (bit: number, value: number): number => (hasFeature(features, bit) ? value : 0);
    // 5.2.6.2: read-only is what was offered, not what the driver has accepted.
    this.#arena.u32[(this.#state + BLOCK_FLAGS) >>> 2] =
      (this.#readOnly ? BLOCK_F_RO : 0) |
      flag(F.FLUSH, BLOCK_F_FLUSH) |
      flag(F.DISCARD, BLOCK_F_DISCARD) |
      flag(F.WRITE_ZEROES, BLOCK_F_WRITE_ZEROES);
    this.#queues = [...queues];
    this.#session = session;
  }

  stop(): void {
    this.#queues = [];
    this.#session = undefined;
  }

  enableQueue(index: number, queue: VirtqueueDevice): void {
    this.#queues[index] = queue;
  }

  resetQueue(index: number): void {
    this.#queues[index] = undefined;
  }

  notify(index: number): boolean {
    const queue = this.#queues[index];
    if (queue === undefined) return false;
    const more = drain(queue, () => this.#burst(queue));
    if (queue.needsNotify()) this.#session?.usedBuffers(index);
    if (queue.broken() !== 0) this.#session?.needsReset(`queue ${index} broken, rule ${queue.broken()}`);
    return more;
  }

  #burst(queue: VirtqueueDevice): number {
    const n = queue.take(this.#list, BURST);
    if (n === 0) return 0;
    if (this.#file === undefined) {
      this.#kernels.virtioBlockServe(this.#state, this.#list.address, n, this.#records);
    } else {
      for (let i = 0; i < n; i++) this.#serveFile(this.#file, i);
    }
    queue.logWritten(this.#list, n);
    queue.return(this.#records, n);
    return n;
  }

  #serveFile(file: BlockFile, index: number): void {
    const { virtioBlockCheck, virtioBlockFinish } = this.#kernels;
    let status = virtioBlockCheck(this.#state, this.#list.address, index);
    if (status === VIRTIO_BLK_S_OK) status = this.#carryOut(file, index);
    virtioBlockFinish(this.#state, this.#list.address, index, status, this.#records);
  }

  /** Carries out the request that was found good. Its header is our copy. */
  #carryOut(file: BlockFile, index: number): number {
    const type = this.#word(BLOCK_TYPE);
    const position = this.#number(BLOCK_SECTOR) * SECTOR_BYTES;
    let done: boolean;
    if (type === VIRTIO_BLK_T_IN) {
      done = this.#eachPart(this.#list.at(index).writable, 0, position, (at, part) => file.read(at, part));
    } else if (type === VIRTIO_BLK_T_OUT) {
      const { readable } = this.#list.at(index);
      done = this.#eachPart(readable, BLOCK_HEADER_LENGTH, position, (at, part) => file.write(at, part));
      done &&= this.#settle(file);
    } else if (type === VIRTIO_BLK_T_FLUSH || type === VIRTIO_BLK_T_FLUSH_OUT) {
      done = file.sync();
    } else if (type === VIRTIO_BLK_T_GET_ID) {
      return this.#identify(index);
    } else {
      return this.#ranges(file, index, type);
    }
    return done ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
  }

  /** 5.2.6.2: for a driver without FLUSH, a write that is completed is stable. */
  #settle(file: BlockFile): boolean {
    return this.#word(BLOCK_FLAGS) & BLOCK_F_FLUSH ? true : file.sync();
  }

  #identify(index: number): number {
    const id = this.#arena.u8.slice(this.#state + BLOCK_ID, this.#state + BLOCK_ID + BLOCK_ID_LENGTH);
    this.#arena.u32[(this.#state + BLOCK_DATA) >>> 2] = BLOCK_ID_LENGTH;
    this.#eachPart(this.#list.at(index).writable, 0, 0, (at, part) => {
      part.set(id.subarray(at, at + part.length));
      return true;
    });
    return VIRTIO_BLK_S_OK;
  }

  /**
   * Carries out the ranges one after another. A discard leaves the file as it is, which it may (5.2.6.2): Node knows no
   * way to give blocks back.
   */
  #ranges(file: BlockFile, index: number, type: number): number {
    const ranges = this.#word(BLOCK_DATA) >>> BLOCK_RANGE_SHIFT;
    for (let range = 0; range < ranges; range++) {
      const status = this.#kernels.virtioBlockRange(this.#state, this.#list.address, index, range);
      if (status !== VIRTIO_BLK_S_OK) return status;
      if (type !== VIRTIO_BLK_T_WRITE_ZEROES) continue;
      const zeroes = new Uint8Array(this.#word(BLOCK_RANGE_COUNT) * SECTOR_BYTES);
      if (!file.write(this.#number(BLOCK_RANGE_SECTOR) * SECTOR_BYTES, zeroes)) return VIRTIO_BLK_S_IOERR;
    }
    return this.#settle(file) ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
  }

  /** Calls `step` with each stretch of the request's data behind `skip` bytes, until one fails. */
  #eachPart(
    segments: readonly { address: number; length: number }[],
    skip: number,
    position: number,
    step: (position: number, part: Uint8Array) => boolean,
  ): boolean {
    let over = skip;
    let left = this.#word(BLOCK_DATA);
    let at = position;
    for (const { address, length } of segments) {
      const from = Math.min(over, length);
      const bytes = Math.min(length - from, left);
      over -= from;
      if (bytes > 0 && !step(at, this.#arena.u8.subarray(address + from, address + from + bytes))) return false;
      left -= bytes;
      at += bytes;
    }
    return true;
  }

  #word(offset: number): number {
    return this.#arena.u32[(this.#state + offset) >>> 2] ?? 0;
  }

  /** A u64 word; exact up to 2^53. */
  #number(offset: number): number {
    return this.#word(offset) + this.#word(offset + 4) * 2 ** 32;
  }
}

function imageSectors(arena: Arena, name: string, { address, bytes }: BlockImage): number {
  const first = arena.handle.base;
  const whole = Number.isInteger(address) && Number.isInteger(bytes) && bytes >= SECTOR_BYTES;
  if (!whole || bytes % SECTOR_BYTES !== 0 || address < first || address + bytes > arena.bytes) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: image address=${address} bytes=${bytes}, must be sectors of ${SECTOR_BYTES} bytes in the arena, from ${first} to ${arena.bytes}`,
    );
  }
  return bytes / SECTOR_BYTES;
}

function checkOptions(name: string, id: string, queues: number, queueSize: number, blockBytes: number): void {
  const refuse = (what: string): never => {
    throw new RingwayError('BAD_ARGUMENT', `${name}: ${what}`);
  };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what the specification has.
  if (!/^[\x01-\x7f]{0,20}$/.test(id)) refuse(`id=${JSON.stringify(id)}, must be at most 20 ASCII characters`);
  if (!Number.isInteger(queues) || queues < 1 || queues > QUEUES_MAX)
    refuse(`queues=${queues}, must be 1 to ${QUEUES_MAX}`);
  if (!isPowerOfTwo(queueSize) || queueSize > 32768) refuse(`queueSize=${queueSize}, must be a power of two to 32768`);
  if (!isPowerOfTwo(blockBytes) || blockBytes < 512 || blockBytes > 4096) {
    refuse(`blockBytes=${blockBytes}, must be a power of two from 512 to 4096`);
  }
}
