import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { SECTOR_BYTES } from './block-config.ts';
import { type ChainList, createChainList } from './chain-list.ts';
import {
  BLOCK_HEADER_LENGTH,
  BLOCK_ID_LENGTH,
  BLOCK_RANGE_F_UNMAP,
  CHAIN_READABLE,
  CHAIN_READABLE_BYTES,
  CHAIN_SEGMENTS,
  CHAIN_SHIFT,
  CHAIN_WRITABLE,
  CHAIN_WRITABLE_BYTES,
  LIST_FIRST,
  LIST_SEGMENTS_ADDRESS,
  SEGMENT_ADDRESS,
  SEGMENT_LENGTH,
  SEGMENT_SHIFT,
  USED_SHIFT,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './layout.ts';
import type { VirtqueueDriver } from './queue.ts';

const BURST = 32;
/** Header, data, status. */
const SEGMENTS = 3;
/** A request's own memory: header, status, and room for an identification or a range. */
const SLOT_SHIFT = 6;
const STATUS = BLOCK_HEADER_LENGTH;
const PAYLOAD = 32;
const RANGE_BYTES = 16;
/** What a status is before the device writes it. */
const UNANSWERED = 0xff;

interface Waiting {
  readonly what: string;
  resolve(): void;
  reject(error: RingwayError): void;
}

/**
 * The driver's side of a block device's queue. `read`, `write` and the others are promises, which `poll` settles; for
 * speed, `submit` requests without promises, `flushBatch` and `poll` them, and look at `tags` and `statuses`.
 *
 * Data lies in the arena, where the device must be able to reach it, as it must the region `NAME requests`.
 */
export class BlockDriver {
  /** Of the requests that the last `poll` found done: what `submit` returned, and the status that the device gave. */
  readonly tags: Uint16Array;
  readonly statuses: Uint8Array;
  readonly #arena: Arena;
  readonly #queue: VirtqueueDriver;
  readonly #notify: () => void;
  readonly #list: ChainList;
  readonly #slots: number;
  readonly #records: number;
  readonly #free: Uint16Array;
  readonly #tagOfId: Uint16Array;
  readonly #batch = new Uint16Array(BURST);
  readonly #waiting = new Map<number, Waiting>();
  #freeCount: number;
  #batched = 0;

  /**
   * @param options.queue which nothing uses yet. A third as many requests as it has descriptors can be under way.
   * @param options.notify tells the device that the queue has something.
   * @throws RingwayError `BAD_ARGUMENT` for a queue of less than 3 descriptors, `ARENA_FULL`.
   */
  constructor(
    arena: Arena,
    options: { readonly name: string; readonly queue: VirtqueueDriver; readonly notify: () => void },
  ) {
    const { name, queue, notify } = options;
    const size = queue.free();
    const requests = Math.floor(size / SEGMENTS);
    if (requests < 1)
      throw new RingwayError('BAD_ARGUMENT', `${name}: size=${size}, a request takes ${SEGMENTS} descriptors`);
    this.#arena = arena;
    this.#queue = queue;
    this.#notify = notify;
    this.#list = createChainList(arena, { name: `${name} chains`, chains: BURST, segments: BURST * SEGMENTS });
    this.#slots = arena.allocate(`${name} requests`, requests << SLOT_SHIFT);
    this.#records = arena.allocate(`${name} records`, BURST << USED_SHIFT);
    this.#free = Uint16Array.from({ length: requests }, (_, tag) => tag);
    this.#freeCount = requests;
    this.#tagOfId = new Uint16Array(size);
    this.tags = new Uint16Array(BURST);
    this.statuses = new Uint8Array(BURST);
  }

  /** Requests that can be submitted before one is done. */
  get room(): number {
    return Math.min(this.#freeCount, BURST - this.#batched);
  }

  /**
   * Puts a request into the batch: `type` is a VIRTIO_BLK_T_…, `bytes` at `address` are what it reads or writes. Returns
   * its tag, or -1 when there is no room: flush the batch and poll.
   */
  submit(type: number, sector: number, address: number, bytes: number): number {
    if (this.room === 0) return -1;
    const tag = this.#free[--this.#freeCount] ?? 0;
    const slot = this.#slots + (tag << SLOT_SHIFT);
    const { u32 } = this.#arena;
    const header = slot >>> 2;
    u32[header] = type;
    u32[header + 1] = 0;
    u32[header + 2] = sector;
    u32[header + 3] = sector / 2 ** 32;
    this.#arena.u8[slot + STATUS] = UNANSWERED;
    this.#writeChain(slot, type === VIRTIO_BLK_T_IN || type === VIRTIO_BLK_T_GET_ID, address, bytes);
    this.#batch[this.#batched++] = tag;
    return tag;
  }

  /** Makes the batch available and notifies the device if it wants that. Returns how many requests went. */
  flushBatch(): number {
    const n = this.#queue.add(this.#list, this.#batched);
    for (let i = 0; i < n; i++) this.#tagOfId[this.#list.id(i)] = this.#batch[i] ?? 0;
    // A request takes at most three descriptors and there are three for each: only a broken queue takes less than all.
    for (let i = n; i < this.#batched; i++) this.#free[this.#freeCount++] = this.#batch[i] ?? 0;
    this.#batched = 0;
    if (n > 0 && this.#queue.needsNotify()) this.#notify();
    return n;
  }

  /** Takes up to 32 requests that are done. Returns how many. */
  poll(): number {
    const n = this.#queue.poll(this.#records, BURST);
    const { u8, u32 } = this.#arena;
    for (let i = 0; i < n; i++) {
      const tag = this.#tagOfId[u32[(this.#records + (i << USED_SHIFT)) >>> 2] ?? 0] ?? 0;
      this.tags[i] = tag;
      this.statuses[i] = u8[this.#slots + (tag << SLOT_SHIFT) + STATUS] ?? UNANSWERED;
      this.#free[this.#freeCount++] = tag;
    }
    if (this.#waiting.size > 0) this.#settle(n);
    return n;
  }

  /** Reads `bytes` bytes, a multiple of 512, from `sector` on to `address`. */
  read(sector: number, address: number, bytes: number): Promise<void> {
    return this.#request(VIRTIO_BLK_T_IN, sector, address, bytes);
  }

  /** Writes `bytes` bytes, a multiple of 512, at `address` to `sector` and those behind. */
  write(sector: number, address: number, bytes: number): Promise<void> {
    return this.#request(VIRTIO_BLK_T_OUT, sector, address, bytes);
  }

  /** What was written before survives a crash when this is resolved. */
  flush(): Promise<void> {
    return this.#request(VIRTIO_BLK_T_FLUSH, 0, 0, 0);
  }

  /** The contents of these sectors are of no use any more. */
  discard(sector: number, sectors: number): Promise<void> {
    return this.#range(VIRTIO_BLK_T_DISCARD, sector, sectors, 0);
  }

  /** Makes these sectors zeroes; with `unmap`, the device may give up their memory. */
  writeZeroes(sector: number, sectors: number, unmap = false): Promise<void> {
    return this.#range(VIRTIO_BLK_T_WRITE_ZEROES, sector, sectors, unmap ? BLOCK_RANGE_F_UNMAP : 0);
  }

  /** The device's name for itself (5.2.6). */
  async identify(): Promise<string> {
    const payload = this.#nextPayload();
    let bytes = new Uint8Array();
    await this.#request(VIRTIO_BLK_T_GET_ID, 0, payload, BLOCK_ID_LENGTH, () => {
      bytes = this.#arena.u8.slice(payload, payload + BLOCK_ID_LENGTH);
    });
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** Gives up what is under way: the device was reset, or the queue was. The queue has been detached or reset. */
  cancel(reason: RingwayError): void {
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
    this.#batched = 0;
    for (let tag = 0; tag < this.#free.length; tag++) this.#free[tag] = tag;
    this.#freeCount = this.#free.length;
  }

  /** Where the payload of the request that is submitted next lies. */
  #nextPayload(): number {
    return this.#slots + ((this.#free[this.#freeCount - 1] ?? 0) << SLOT_SHIFT) + PAYLOAD;
  }

  #range(type: number, sector: number, sectors: number, flags: number): Promise<void> {
    if (this.room === 0) return Promise.reject(busy());
    const payload = this.#nextPayload();
    this.#arena.u32.set([sector % 2 ** 32, Math.floor(sector / 2 ** 32), sectors, flags], payload >>> 2);
    return this.#request(type, 0, payload, RANGE_BYTES);
  }

  /** `onDone` is called when the request is done well, before anything else can use its slot. */
  #request(type: number, sector: number, address: number, bytes: number, onDone = (): void => {}): Promise<void> {
    const tag = this.submit(type, sector, address, bytes);
    if (tag < 0) return Promise.reject(busy());
    const what = `block driver: request type=${type} sector=${sector} (${bytes / SECTOR_BYTES} sectors)`;
    return new Promise((resolve, reject) => {
      const done = (): void => {
        onDone();
        resolve();
      };
      this.#waiting.set(tag, { what, resolve: done, reject });
      if (this.flushBatch() === 0) {
        this.#waiting.delete(tag);
        reject(new RingwayError('SYSTEM', `${what}: the device broke the queue, rule ${this.#queue.broken()}`));
      }
    });
  }

  /** Settles the promises of the `n` requests that were polled. */
  #settle(n: number): void {
    for (let i = 0; i < n; i++) {
      const tag = this.tags[i] ?? 0;
      const waiting = this.#waiting.get(tag);
      if (waiting === undefined) continue;
      this.#waiting.delete(tag);
      const status = this.statuses[i];
      if (status === VIRTIO_BLK_S_OK) waiting.resolve();
      else if (status === VIRTIO_BLK_S_UNSUPP)
        waiting.reject(new RingwayError('UNSUPPORTED', `${waiting.what}: the device cannot`));
      else waiting.reject(new RingwayError('SYSTEM', `${waiting.what}: the device answers ${status}`));
    }
    if (this.#queue.broken() !== 0) {
      this.cancel(new RingwayError('SYSTEM', `block driver: the device broke the queue, rule ${this.#queue.broken()}`));
    }
  }

  /** Writes the chain of the request in `slot` behind those of the batch, word by word: `push` costs as much as a read. */
  #writeChain(slot: number, device: boolean, address: number, bytes: number): void {
    const { u32 } = this.#arena;
    const list = this.#list.address;
    const chain = (list + LIST_FIRST + (this.#batched << CHAIN_SHIFT)) >>> 2;
    const place = this.#batched * SEGMENTS;
    const first = (u32[(list + LIST_SEGMENTS_ADDRESS) >>> 2] ?? 0) + (place << SEGMENT_SHIFT);
    const data = bytes > 0 ? 1 : 0;
    u32[chain + (CHAIN_SEGMENTS >>> 2)] = first;
    u32[chain + (CHAIN_READABLE >>> 2)] = device ? 1 : 1 + data;
    u32[chain + (CHAIN_WRITABLE >>> 2)] = device ? 1 + data : 1;
    u32[chain + (CHAIN_READABLE_BYTES >>> 2)] = BLOCK_HEADER_LENGTH + (device ? 0 : bytes);
    u32[chain + (CHAIN_WRITABLE_BYTES >>> 2)] = 1 + (device ? bytes : 0);
    let segment = first;
    const put = (at: number, length: number): void => {
      u32[(segment + SEGMENT_ADDRESS) >>> 2] = at;
      u32[(segment + SEGMENT_LENGTH) >>> 2] = length;
      segment += 1 << SEGMENT_SHIFT;
    };
    put(slot, BLOCK_HEADER_LENGTH);
    if (data === 1) put(address, bytes);
    put(slot + STATUS, 1);
  }
}

const busy = (): RingwayError => new RingwayError('BUSY', 'block driver: all requests are under way; poll first');
