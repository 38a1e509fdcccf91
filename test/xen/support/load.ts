import assert from 'node:assert/strict';
import type { PoolKernels } from 'ringway/memory';
import { buildFrame } from 'ringway/packet';
import type { BurstProgram } from '#build/lab/burst-program.js';
import { SLOT_FLAG_CHAINED, SLOT_FLAGS, SLOT_LENGTH, SLOT_OFFSET } from '#build/memory/layout.js';
import { Random } from '#build/util/random.js';
import type { VifRig } from './exchange.ts';
import type { Served } from './vif-rig.ts';

/** Bytes that frames are cut out of, and places in it that one may begin at. */
const PATTERN = 1 << 17;
const PLACES = 1 << 16;
const BURST = 32;
/** Where a TCP segment without options begins and ends, and its checksum. */
const [L4, HEADERS, CSUM] = [34, 54, 16];
const GSO_SIZE = 1448;

/** A frame that is on its way: where its bytes are in the pattern. */
interface Sent {
  readonly place: number;
  readonly length: number;
  /** A checksum and segments are left to do. */
  readonly cut: boolean;
}

export interface LoadOptions {
  readonly seed: number;
  /** Packets, both ways together. */
  readonly packets: number;
  /** Bytes of a frame at most. */
  readonly most: number;
  /** Some are TCP segments that are to be cut. */
  readonly gso: boolean;
  /** Runs on what the frontend receives: it sends back frames whose byte 13 is odd. */
  readonly program: BurstProgram | undefined;
}

/** Passes packets both ways over all queues in turn, each compared byte by byte where it arrives; nothing is lost. */
export class Load {
  /** Packets that arrived at the end they were sent to, and those that a program sent back and the backend received. */
  arrived = 0;
  returned = 0;
  readonly #rig: VifRig;
  readonly #options: LoadOptions;
  readonly #random: Random;
  readonly #kernels: PoolKernels;
  /** What frames are compared with; they are made of what the arena has of it, which something could overwrite. */
  readonly #pattern: Buffer;
  readonly #source: number;
  /** The arena, to compare in without a view of each frame. */
  readonly #memory: Buffer;
  readonly #cutHeader: Buffer;
  readonly #scratch: number;
  readonly #cache: number;

  constructor(rig: VifRig, options: LoadOptions) {
    this.#rig = rig;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#kernels = rig.arena.kernels<PoolKernels>();
    this.#cache = rig.pool.caches[0] ?? 0;
    this.#scratch = rig.arena.allocate('load', PATTERN);
    this.#source = rig.arena.allocate('pattern', PATTERN);
    const { u8 } = rig.arena;
    this.#memory = Buffer.from(u8.buffer, u8.byteOffset, u8.length);
    this.#pattern = Buffer.from(new Uint8Array(PATTERN).map(() => this.#random.below(256)));
    u8.set(this.#pattern, this.#source);
    const frame = buildFrame({
      ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
      ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
      tcp: { sourcePort: 1, destinationPort: 2 },
      payload: new Uint8Array(),
    });
    this.#cutHeader = Buffer.from(frame.subarray(0, HEADERS));
  }

  run(): void {
    const { netfront, netback } = this.#rig;
    const queues = netfront.queues.length;
    for (let round = 0, sent = 0; sent < this.#options.packets; round++) {
      const [front, back] = [netfront.queues[round % queues], netback.queues[round % queues]] as [Served, Served];
      sent += this.#random.below(2) === 0 ? this.#pass(front, back, false) : this.#pass(back, front, true);
    }
    for (const queue of [...netfront.queues, ...netback.queues]) {
      assert.equal(queue.fault(), undefined);
      for (const drops of Object.values(queue.drops()))
        assert.deepEqual(drops, { bad: 0, long: 0, empty: 0, failed: 0, stalled: 0, filtered: 0 });
    }
  }

  /** The headers of a segment that is to be cut, until the next are wanted. */
  #headers(length: number): Buffer {
    this.#cutHeader.writeUInt16BE(length - 14, 16);
    return this.#cutHeader;
  }

  /** A burst of frames at the rig's slots. */
  #make(): Sent[] {
    const { burst } = this.#rig;
    const { most, gso } = this.#options;
    return Array.from({ length: 1 + this.#random.below(BURST) }, (_, i) => {
      const roll = this.#random.below(64);
      const limit = Math.min(most, roll === 0 ? 65_534 : roll < 8 ? 9000 : 1514);
      const cut = gso && this.#random.below(8) === 0;
      const length = (cut ? 60 : 14) + this.#random.below(limit - 60);
      const sent = { place: this.#random.below(PLACES), length, cut };
      const slot = burst + i * 16;
      if (this.#kernels.poolAlloc(this.#cache, slot, 1) !== 1) throw new Error('the pool is exhausted');
      const filled = this.#kernels.memoryFill(this.#cache, slot, this.#source + sent.place, length);
      if (filled !== 1) throw new Error('no buffers');
      if (cut) this.#leaveToDo(slot, length);
      return sent;
    });
  }

  #leaveToDo(slot: number, length: number): void {
    const { u8, u16, u32 } = this.#rig.arena;
    const buffer = u32[slot >>> 2] ?? 0;
    u8.set(this.#headers(length), buffer + (u16[(slot + SLOT_OFFSET) >>> 1] ?? 0));
    u8.set([1, 1], buffer + 28);
    u16.set([HEADERS, GSO_SIZE, L4, CSUM], (buffer + 30) >>> 1);
    u8[slot + 13] = (u8[slot + 13] ?? 0) | 8;
  }

  /** Sends a burst, as far as it fits, and looks at what arrives. Returns how many were sent. */
  #pass(from: Served, to: Served, toFront: boolean): number {
    const { burst } = this.#rig;
    const made = this.#make();
    const n = from.send(burst, made.length);
    this.#kernels.poolFree(this.#cache, burst + n * 16, made.length - n);
    const expected = made.slice(0, n);
    const program = toFront ? this.#options.program : undefined;
    let [at, back] = [0, 0];
    for (let more = to.receive(burst, BURST); more > 0; more = to.receive(burst, BURST)) {
      const some = expected.slice(at, at + more);
      assert.equal(some.length, more);
      at += more;
      if (program === undefined) this.#check(some, more);
      else back += this.#checkProgram(program, to, from, some);
    }
    assert.equal(at, n);
    this.arrived += n - back;
    this.returned += back;
    return n;
  }

  /** True when the packet at `slot` has the bytes that were sent, all of them and no more. */
  #isWhole(slot: number, { place, length, cut }: Sent): boolean {
    const { u8, u16, u32 } = this.#rig.arena;
    const isChained = ((u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_CHAINED) !== 0;
    const got = isChained
      ? this.#kernels.memoryGather(slot, this.#scratch, PATTERN)
      : (u16[(slot + SLOT_LENGTH) >>> 1] ?? 0);
    if (got !== length) return false;
    const at = isChained ? this.#scratch : (u32[slot >>> 2] ?? 0) + (u16[(slot + SLOT_OFFSET) >>> 1] ?? 0);
    const skip = cut ? HEADERS : 0;
    const isEqual = this.#memory.compare(this.#pattern, place + skip, place + length, at + skip, at + length) === 0;
    return isEqual && (!cut || this.#memory.compare(this.#headers(length), 0, HEADERS, at, at + HEADERS) === 0);
  }

  /** Compares the packets at the rig's slots, and frees them. */
  #check(expected: readonly Sent[], n: number): void {
    const { arena, burst } = this.#rig;
    assert.equal(n, expected.length);
    for (const [i, sent] of expected.entries()) {
      const slot = burst + i * 16;
      if (!this.#isWhole(slot, sent)) {
        const { place, length } = sent;
        throw new Error(
          `seed ${this.#options.seed}: what arrived are not the ${length} bytes from ${place} on that were sent`,
        );
      }
      const buffer = arena.u32[slot >>> 2] ?? 0;
      const asked = ((arena.u8[slot + 13] ?? 0) & 8) !== 0;
      if (asked !== sent.cut) throw new Error(`seed ${this.#options.seed}: segments to cut: ${asked}, not ${sent.cut}`);
      if (sent.cut) assert.equal(arena.u16[(buffer + 32) >>> 1], GSO_SIZE);
    }
    this.#kernels.poolFree(this.#cache, burst, n);
  }

  /** What the program passes is compared here, what it sends back at the backend. Returns how many those are. */
  #checkProgram(program: BurstProgram, front: Served, back: Served, expected: readonly Sent[]): number {
    const isOdd = ({ place, cut }: Sent): boolean =>
      ((cut ? this.#cutHeader[13] : this.#pattern[place + 13]) ?? 0) % 2 === 1;
    const passed = program.run(this.#rig.burst, expected.length);
    this.#check(
      expected.filter((sent) => !isOdd(sent)),
      passed,
    );
    const odd = expected.filter(isOdd);
    assert.equal(program.leavingCount, odd.length);
    const sent = front.send(program.leaving, odd.length);
    this.#kernels.poolFree(this.#cache, program.leaving + sent * 16, odd.length - sent);
    let at = 0;
    for (let n = back.receive(this.#rig.burst, BURST); n > 0; n = back.receive(this.#rig.burst, BURST)) {
      this.#check(odd.slice(at, at + n), n);
      at += n;
    }
    assert.equal(at, sent);
    return odd.length;
  }
}
