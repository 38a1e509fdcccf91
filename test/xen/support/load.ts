import assert from 'node:assert/strict';
import type { PoolKernels } from 'ringway/memory';
import { buildFrame } from 'ringway/packet';
import type { BurstProgram } from '#build/lab/burst-program.js';
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
  readonly #pattern: Uint8Array;
  readonly #cutHeader: Uint8Array;
  readonly #scratch: number;
  readonly #cache: number;

  constructor(rig: VifRig, options: LoadOptions) {
    this.#rig = rig;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#kernels = rig.arena.kernels<PoolKernels>();
    this.#cache = rig.pool.caches[0] ?? 0;
    this.#scratch = rig.arena.allocate('load', PATTERN);
    this.#pattern = new Uint8Array(PATTERN).map(() => this.#random.below(256));
    const frame = buildFrame({
      ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
      ipv4: { source: '10.0.0.1', destination: '10.0.0.2' },
      tcp: { sourcePort: 1, destinationPort: 2 },
      payload: new Uint8Array(),
    });
    this.#cutHeader = frame.subarray(0, HEADERS);
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

  #bytes({ place, length, cut }: Sent): Uint8Array {
    const bytes = this.#pattern.subarray(place, place + length);
    if (!cut) return bytes;
    const whole = bytes.slice();
    whole.set(this.#cutHeader);
    whole[16] = (length - 14) >> 8;
    whole[17] = (length - 14) & 255;
    return whole;
  }

  /** A burst of frames at the rig's slots. */
  #make(): Sent[] {
    const { arena, burst } = this.#rig;
    const { most, gso } = this.#options;
    return Array.from({ length: 1 + this.#random.below(BURST) }, (_, i) => {
      const roll = this.#random.below(64);
      const limit = Math.min(most, roll === 0 ? 65_534 : roll < 8 ? 9000 : 1514);
      const cut = gso && this.#random.below(8) === 0;
      const length = (cut ? 60 : 14) + this.#random.below(limit - 60);
      const sent = { place: this.#random.below(PLACES), length, cut };
      const slot = burst + i * 16;
      if (this.#kernels.poolAlloc(this.#cache, slot, 1) !== 1) throw new Error('the pool is exhausted');
      arena.u8.set(this.#bytes(sent), this.#scratch);
      if (this.#kernels.memoryFill(this.#cache, slot, this.#scratch, length) !== 1) throw new Error('no buffers');
      if (cut) this.#leaveToDo(slot);
      return sent;
    });
  }

  #leaveToDo(slot: number): void {
    const { u8, u16, u32 } = this.#rig.arena;
    const buffer = u32[slot >>> 2] ?? 0;
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

  /** Compares the packets at the rig's slots, and frees them. */
  #check(expected: readonly Sent[], n: number): void {
    const { arena, burst } = this.#rig;
    assert.equal(n, expected.length);
    for (const [i, sent] of expected.entries()) {
      const slot = burst + i * 16;
      const length = this.#kernels.memoryGather(slot, this.#scratch, PATTERN);
      const bytes = arena.u8.subarray(this.#scratch, this.#scratch + length);
      if (Buffer.compare(bytes, this.#bytes(sent)) !== 0) {
        throw new Error(
          `seed ${this.#options.seed}: ${length} bytes arrived that are not the ${sent.length} that were sent`,
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
    const isOdd = (sent: Sent): boolean => (this.#bytes(sent)[13] ?? 0) % 2 === 1;
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
