import type { Arena } from 'ringway/memory';
import { expect } from 'vitest';
import { createGuest, GUEST_FEATURES, type GuestMachine } from '#build/guest/create.js';
import { createPool, type Pool, type PoolKernels } from '#build/memory/pool.js';
import type { Random } from '#build/util/random.js';
import { featureMask, featureNames, VIRTIO_F } from '#build/virtio/features.js';
import { NET_FEATURE_NAMES, netOffloads, VIRTIO_NET_F } from '#build/virtio/net-features.js';
import { attachNetQueue, type NetQueue } from '#build/virtio/net-queue.js';
import { testArena } from '../../support/arena.ts';

const MERGEABLE = featureMask(VIRTIO_NET_F.MRG_RXBUF);
/** What a driver or a device may or may not have. */
const TOGGLES: readonly bigint[] = [
  featureMask(VIRTIO_F.VERSION_1),
  featureMask(VIRTIO_F.RING_PACKED),
  featureMask(VIRTIO_F.RING_INDIRECT_DESC),
  featureMask(VIRTIO_F.RING_EVENT_IDX),
  featureMask(VIRTIO_F.IN_ORDER),
  MERGEABLE,
  GUEST_FEATURES & ~MERGEABLE,
];
export const COMBINATIONS = 1 << TOGGLES.length;

/** The toggles whose bits are set in `index`, 0 to COMBINATIONS - 1. */
export const featuresAt = (index: number): bigint =>
  TOGGLES.reduce((mask, toggle, bit) => ((index >> bit) & 1 ? mask | toggle : mask), 0n);

const NEEDS_CSUM = 1;
const TCPV4 = 1;
/** Bytes of a frame in one buffer of the driver. */
const BUFFER = 1792;
const SLOT_FLAGS = 13;
const OFFLOAD = 8;
const OFFLOAD_WORDS = 28;

/** A frame as it is sent, and as it must arrive. */
interface Frame {
  readonly bytes: Uint8Array;
  /** The first 10 bytes of struct virtio_net_hdr; none asked for when undefined. */
  readonly offload: Uint8Array | undefined;
}

/** One end: what it sends with, what it receives with, and its buffers. */
interface End {
  readonly pool: Pool;
  readonly cache: number;
  readonly send: NetQueue;
  readonly receive: NetQueue;
  /** What the sender may leave to the receiver. */
  readonly offloads: number;
  /** Bytes of the longest frame that gets through. */
  readonly longest: number;
}

/** A guest's driver and its device in one thread, and a test's hands at both ends. */
export class Pair {
  readonly guest: GuestMachine;
  readonly #arena: Arena;
  readonly #kernels: PoolKernels;
  readonly #random: Random;
  readonly #slots: number;
  readonly #scratch: number;
  readonly #driver: End;
  readonly #device: End;
  /** Frames that were compared. */
  compared = 0;

  constructor(offered: bigint, supported: bigint, random: Random) {
    const arena = testArena(24 << 20);
    const host = createPool(arena, { buffers: 512, caches: 1, name: 'host' });
    const guest = createGuest(arena, {
      name: 'vm',
      queueSize: 16,
      queues: 1,
      mtu: 1500,
      offered,
      supported,
      addresses: { mac: 0x02_00_00_00_00_01, ipv6: [] },
      app: 'sink',
      seed: 1,
    });
    const [device] = guest.pairs;
    const [driver] = guest.wire.pairs;
    const [cache = 0] = host.caches;
    const inner = guest.wire.cache;
    if (device === undefined || driver === undefined) throw new Error('no pair');
    const merges = (guest.features & MERGEABLE) !== 0n;
    this.guest = guest;
    this.#arena = arena;
    this.#kernels = arena.kernels<PoolKernels>();
    this.#random = random;
    this.#slots = arena.allocate('slots', 512);
    this.#scratch = arena.allocate('scratch', 70_000);
    this.#driver = {
      pool: { ...host, caches: [inner] },
      cache: inner,
      send: attachNetQueue(arena, driver.send, inner),
      receive: attachNetQueue(arena, driver.receive, inner),
      offloads: netOffloads(guest.features, 'transmit'),
      longest: 16 * BUFFER - 12,
    };
    this.#device = {
      pool: host,
      cache,
      send: attachNetQueue(arena, device.send, cache),
      receive: attachNetQueue(arena, device.receive, cache),
      offloads: netOffloads(guest.features, 'receive'),
      longest: merges ? 16 * BUFFER : BUFFER,
    };
  }

  /** What was negotiated, for messages. */
  get names(): string {
    return featureNames(this.guest.features, NET_FEATURE_NAMES).join(' ');
  }

  #frame({ offloads, longest }: End): Frame {
    const random = this.#random;
    const isLong = (offloads & (1 << TCPV4)) !== 0 && random.below(4) === 0;
    const most = isLong ? longest : Math.min(longest, random.below(3) === 0 ? 9000 : 1514);
    const from = random.below(65536);
    const bytes = Uint8Array.from({ length: 60 + random.below(most - 60) }, (_, i) => ((from + i) * 40_503) >>> 8);
    if ((offloads & 1) === 0 || (!isLong && random.below(2) === 0)) return { bytes, offload: undefined };
    const gso = isLong ? [NEEDS_CSUM, TCPV4, 54, 0, 0xa8, 5] : [NEEDS_CSUM, 0, 0, 0, 0, 0];
    return { bytes, offload: Uint8Array.of(...gso, 34, 0, 16, 0) };
  }

  #write(frame: Frame, slot: number, cache: number): void {
    const { u8, u32 } = this.#arena;
    u8.set(frame.bytes, this.#scratch);
    expect(this.#kernels.poolAlloc(cache, slot, 1)).toBe(1);
    expect(this.#kernels.memoryFill(cache, slot, this.#scratch, frame.bytes.length)).toBe(1);
    if (frame.offload === undefined) return;
    u8[slot + SLOT_FLAGS] = (u8[slot + SLOT_FLAGS] ?? 0) | OFFLOAD;
    u8.set(frame.offload, (u32[slot >>> 2] ?? 0) + OFFLOAD_WORDS);
  }

  #read(slot: number): Frame {
    const { u8, u32 } = this.#arena;
    const length = this.#kernels.memoryGather(slot, this.#scratch, 70_000);
    const words = (u32[slot >>> 2] ?? 0) + OFFLOAD_WORDS;
    const asked = ((u8[slot + SLOT_FLAGS] ?? 0) & OFFLOAD) !== 0;
    return {
      bytes: u8.slice(this.#scratch, this.#scratch + length),
      offload: asked ? u8.slice(words, words + 10) : undefined,
    };
  }

  #compare(got: Frame, sent: Frame | undefined): void {
    // Not toEqual, which takes milliseconds for a long frame.
    const isSame = sent !== undefined && Buffer.compare(got.bytes, sent.bytes) === 0;
    if (!isSame || `${got.offload}` !== `${sent.offload}`) {
      throw new Error(`a frame of ${sent?.bytes.length} bytes came as ${got.bytes.length}, features ${this.names}`);
    }
  }

  /** Sends up to a burst of random frames from one end, and checks what comes out at the other. */
  #exchange(from: End, to: End): void {
    // Empty buffers first: a driver gives them when it looks for frames.
    this.#drain(to, []);
    const frames = Array.from({ length: 1 + this.#random.below(8) }, () => this.#frame(from));
    const waiting = [...frames];
    for (let attempts = 0; waiting.length > 0; attempts++) {
      if (attempts > 100)
        throw new Error(`stuck with a frame of ${waiting[0]?.bytes.length} bytes, features ${this.names}`);
      const count = Math.min(waiting.length, 1 + this.#random.below(4));
      for (let i = 0; i < count; i++) this.#write(waiting[i] as Frame, this.#slots + i * 16, from.cache);
      const sent = from.send.send(this.#slots, count);
      if (sent < count) this.#kernels.poolFree(from.cache, this.#slots + sent * 16, count - sent);
      this.#drain(to, waiting.splice(0, sent));
    }
  }

  #drain({ receive, cache }: End, expected: Frame[]): void {
    for (let n = receive.receive(this.#slots, 32); ; n = receive.receive(this.#slots, 32)) {
      for (let i = 0; i < n; i++) {
        this.#compare(this.#read(this.#slots + i * 16), expected.shift());
        this.compared++;
      }
      this.#kernels.poolFree(cache, this.#slots, n);
      if (n === 0) break;
    }
    expect(expected).toEqual([]);
  }

  /** Frames both ways, then the end: nothing is lost, broken, or left. */
  run(rounds: number): void {
    for (let round = 0; round < rounds; round++) {
      this.#exchange(this.#driver, this.#device);
      this.#exchange(this.#device, this.#driver);
    }
    for (const { send, receive } of [this.#driver, this.#device]) {
      expect([send.drops(), receive.drops()]).toEqual(Array(2).fill({ bad: 0, long: 0, empty: 0 }));
    }
    this.#driver.send.detach();
    this.#driver.receive.detach();
    expect(this.#device.pool.audit().inFlight).toBe(0);
    expect(this.#arena.damaged()).toEqual([]);
    expect(this.guest.arena.damaged()).toEqual([]);
  }
}
