import {
  type Chain,
  createDirtyLog,
  createVirtqueue,
  inflightBytes,
  type RawRing,
  rawRing,
  type VirtqueueLayout,
} from 'ringway/virtio';
import { RingwayError } from '#build/util/errors.js';
import { Random } from '#build/util/random.js';
import {
  LOG_DESCRIPTOR_BYTES,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_INDIRECT,
  VIRTQ_DESC_F_NEXT,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
  VQ_TABLE_SEGMENTS,
} from '#build/virtio/layout.js';
import type { TracedArena } from '../../support/traced.ts';
import { Reference } from './reference.ts';
import { BURST, GUEST_OFFSET, makeRig, type Rig, type RigOptions, SLOT_BYTES, SLOTS } from './rig.ts';
import { deviceWindows, driverWindows, inside, sharedWindows, tracedRig, type Window } from './watch.ts';

const LOG_BYTES = 4096;
const POOL = SLOTS * SLOT_BYTES;
/** Where in the buffers forged tables lie. */
const FORGED = POOL / 2;
/** Accesses of one call at most, for each descriptor of the queue and each chain of a burst. */
const ACCESSES = 64;

/** How the peer writes: between calls alone, or in them too, just before an access to what is shared. */
export interface HostileOptions extends RigOptions {
  readonly racing?: boolean;
  /** The device marks what it writes in a dirty log. */
  readonly logged?: boolean;
  /** The device keeps an inflight region; a racing peer writes into that, too, and the device starts again from it. */
  readonly tracked?: boolean;
  /** Kernels to run in place of the test build; traced. */
  readonly module?: WebAssembly.Module;
}

/** What a run came to. */
export interface HostileOutcome {
  /** Times that either side broke. */
  readonly broken: number;
  /** By branch of a module that has them: bits 1 not taken, 2 taken. */
  readonly branches: readonly Uint8Array[];
}

/** Features by seed: each on and off, with each other; every third peer writes during calls, too. */
export function hostileOptions(layout: VirtqueueLayout, size: number, seed: number): HostileOptions {
  const features = { eventIdx: (seed & 1) !== 0, inOrder: (seed & 2) !== 0, racing: seed % 3 === 2 };
  const kept = { logged: (seed & 8) !== 0, tracked: (seed & 16) !== 0 };
  const indirect = Math.min(size, 4);
  return { layout, size, ...features, ...kept, ...((seed & 4) !== 0 && indirect >= 2 ? { indirect } : {}) };
}

/** Both sides work while somebody writes into what they share. */
class HostileRun {
  readonly #rig: Rig;
  readonly #reference: Reference;
  readonly #raw: RawRing;
  readonly #bystander: ReturnType<typeof createVirtqueue>;
  readonly #arenas: readonly TracedArena[];
  /** By id: bytes that the device may write into the chain. */
  readonly #held = new Map<number, number>();
  readonly #given = new Map<number, number>();
  readonly #shared: readonly Window[];
  readonly #inflight: Window | undefined;
  readonly options: HostileOptions;
  readonly random: Random;
  #accesses = 0;
  #resetting = false;

  constructor(options: HostileOptions, random: Random) {
    this.options = options;
    this.random = random;
    const { racing = false, logged = false, tracked = false, layout, size, module } = options;
    const traced = racing || module !== undefined ? tracedRig(options, module) : undefined;
    this.#rig = traced?.rig ?? makeRig(options);
    const { arena, device, regions } = this.#rig;
    this.#arenas = traced === undefined ? [] : [traced.driverArena, traced.deviceArena];
    this.#raw = rawRing(arena, layout);
    this.#reference = new Reference(this.#rig, options);
    // The device's own, besides what every queue has.
    const windows: Window[] = [];
    if (logged) {
      const log = createDirtyLog(arena, 'log');
      const bitmap = arena.allocate('bitmap', LOG_BYTES);
      log.set({ address: bitmap, length: LOG_BYTES });
      device.setLog(log.address);
      windows.push({ address: log.address, bytes: LOG_DESCRIPTOR_BYTES }, { address: bitmap, bytes: LOG_BYTES });
    }
    if (tracked) {
      const bytes = inflightBytes(layout, size);
      this.#inflight = { address: arena.allocate('inflight', bytes), bytes };
      device.startInflight(this.#inflight.address);
      windows.push(this.#inflight);
    }
    const shared = sharedWindows(this.#rig, options);
    this.#shared = racing && this.#inflight !== undefined ? [...shared, this.#inflight] : shared;
    this.#bystander = createVirtqueue(arena, { ...options, name: 'bystander', regions, guestOffset: GUEST_OFFSET });
    if (traced !== undefined) {
      this.#watch(traced.driverArena, driverWindows(this.#rig, options));
      this.#watch(traced.deviceArena, [...deviceWindows(this.#rig, options), ...windows]);
    }
  }

  /** Checks each access of a side, and, when racing, writes before some. */
  #watch(arena: TracedArena, windows: readonly Window[]): void {
    const { size, racing = false } = this.options;
    arena.onAccess((address, bytes, kind, site) => {
      if (this.#resetting) return;
      if (!inside(windows, address, bytes)) {
        throw new Error(`${arena.where(site)}: ${kind} of ${bytes} bytes at ${address}, outside the windows`);
      }
      if (++this.#accesses > ACCESSES * (size + VQ_TABLE_SEGMENTS) * BURST)
        throw new Error(`${arena.where(site)}: a call does not end`);
      if (!racing || !kind.endsWith('load') || !inside(this.#shared, address, bytes)) return;
      // What was just read, or is just going to be.
      if (this.random.below(16) === 0) this.#poke();
      if (this.random.below(16) === 0) arena.u8[address + this.random.below(bytes)] = this.random.next();
    });
  }

  #pick<T>(...choices: readonly T[]): T {
    return choices[this.random.below(choices.length)] as T;
  }

  /** A driver's address: of a buffer, a forged table, the ends of what may be reached, or nothing. */
  #guest(length: number): bigint {
    const { buffers, driver } = this.#rig;
    const at = this.#pick(
      buffers + this.random.below(SLOTS) * SLOT_BYTES,
      buffers + this.random.below(POOL),
      buffers + FORGED,
      buffers + POOL - length,
      buffers + POOL - length + 1,
      buffers - 1,
      driver.tables?.address ?? buffers,
      this.#rig.rings.descriptors,
      0,
    );
    const guest = GUEST_OFFSET + BigInt(at);
    return BigInt.asUintN(64, this.random.below(16) === 0 ? this.#pick(BigInt(at), -1n, guest + (1n << 63n)) : guest);
  }

  #length(): number {
    const { size } = this.options;
    const table = (1 + this.random.below(size + 2)) * 16;
    return this.#pick(1, SLOT_BYTES, SLOT_BYTES, table, table, 0, 17, POOL, 2 ** 32 - 1);
  }

  /** AVAIL and USED of a descriptor that one of the sides will read, or of none. */
  #turn(): number {
    const { device, driver } = this.#reference;
    const taken = device.wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
    const used = driver.wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    return this.#pick(taken, taken, used, taken ^ (VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED));
  }

  #pokeDescriptor(table: number, place: number): void {
    const { size, layout } = this.options;
    const length = this.#length();
    // Small sets of flags more often: most descriptors are plain.
    const kind = this.#pick(0, 1, 2, 3, this.random.below(8), 4);
    const flags = layout === 'packed' && table === this.#rig.rings.descriptors ? kind | this.#turn() : kind;
    const link = this.random.below(this.#pick(size, size, size + 1, 65536));
    const whole = { guest: this.#guest(length), length, flags, link };
    const old = this.#raw.readDescriptor(table, place);
    const changes = [whole, { ...old, flags }, { ...old, length }, { ...old, link }, { ...old, guest: whole.guest }];
    this.#raw.writeDescriptor(table, place, this.#pick(whole, whole, ...changes));
  }

  #pokeUsed(): void {
    const { rings } = this.#rig;
    const { size, layout } = this.options;
    const { driver } = this.#reference;
    const ids = [...this.#given.keys()];
    const id = this.random.below(4) === 0 ? this.random.below(size + 2) : (ids[this.random.below(ids.length)] ?? 0);
    const room = this.#given.get(id) ?? 0;
    const length = this.#pick(0, room, room, room + 1, 2 ** 32 - 1);
    if (layout === 'split') {
      const wide = this.random.below(16) === 0 ? id + 65536 : id;
      this.#raw.writeUsed(rings.deviceArea, driver.next % size, wide, length);
      this.#raw.writeIndex(rings.deviceArea, driver.next + this.#pick(1, 1, 2, size, size + 1, 65535));
      return;
    }
    const turn = driver.wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    const flags = turn | this.#pick(0, VIRTQ_DESC_F_WRITE);
    this.#raw.writeDescriptor(rings.descriptors, driver.next, { guest: 0n, length, flags, link: id });
  }

  #pokeAvailable(): void {
    const { rings } = this.#rig;
    const { size, layout } = this.options;
    const { device } = this.#reference;
    if (layout === 'split') {
      const head = this.random.below(this.#pick(size, size, size + 1, 65536));
      this.#pokeDescriptor(rings.descriptors, head % size);
      this.#raw.writeAvailable(rings.driverArea, device.next % size, head);
      this.#raw.writeIndex(rings.driverArea, device.next + this.#pick(1, 1, 1, 2, size, size + 1, 65535));
    } else {
      this.#pokeDescriptor(rings.descriptors, (device.next + this.random.below(2)) % size);
    }
  }

  /** Makes a chain available that leads through a table, all of it as it should be but for a descriptor, or its length. */
  #forge(): void {
    const { buffers, rings } = this.#rig;
    const { size, layout } = this.options;
    const entries = 1 + this.random.below(this.#pick(size + 2, this.#rig.device.chainMax + 2));
    const from = this.random.below(entries + 1);
    for (let i = 0; i < entries; i++) {
      const next = layout === 'split' && i + 1 < entries ? VIRTQ_DESC_F_NEXT : 0;
      const flags =
        next | (i < from ? 0 : VIRTQ_DESC_F_WRITE) | (this.random.below(4 * size) === 0 ? this.random.below(8) : 0);
      const guest = GUEST_OFFSET + BigInt(buffers + this.random.below(SLOTS) * SLOT_BYTES);
      this.#raw.writeDescriptor(buffers + FORGED, i, {
        guest,
        length: 1 + this.random.below(SLOT_BYTES),
        flags,
        link: i + 1,
      });
    }
    const { device } = this.#reference;
    const turn = layout === 'split' ? 0 : device.wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
    const id = this.random.below(size);
    const guest = GUEST_OFFSET + BigInt(buffers + FORGED);
    const refer = { guest, length: entries * 16, flags: VIRTQ_DESC_F_INDIRECT | turn, link: id };
    this.#raw.writeDescriptor(rings.descriptors, layout === 'split' ? id : device.next, refer);
    if (layout === 'packed') return;
    this.#raw.writeAvailable(rings.driverArea, device.next % size, id);
    this.#raw.writeIndex(rings.driverArea, device.next + 1);
  }

  /** Writes something that could be meant, or anything at all. */
  #poke(): void {
    const { rings, driver, buffers, arena } = this.#rig;
    const { size } = this.options;
    const forged = [buffers + FORGED, driver.tables?.address ?? buffers + FORGED];
    const pokes = [
      () => this.#pokeDescriptor(rings.descriptors, this.random.below(size)),
      () => this.#pokeDescriptor(this.#pick(...forged), this.random.below(Math.min(size, 4))),
      () => this.#pokeAvailable(),
      () => this.#pokeAvailable(),
      () => this.#forge(),
      () => this.#pokeUsed(),
      () => {
        const { address, bytes } = this.#pick(...this.#shared);
        arena.u8[address + this.random.below(bytes)] = this.random.next();
      },
    ];
    this.#pick(...pokes)();
  }

  #add(): void {
    const { driver, adding, buffers } = this.#rig;
    const limit = Math.min(this.options.size, 4);
    adding.clear();
    const room: number[] = [];
    for (let c = 0; c < 3; c++) {
      const segments = Array.from({ length: 1 + this.random.below(limit) }, () => ({
        address: buffers + this.random.below(SLOTS) * SLOT_BYTES,
        length: SLOT_BYTES,
      }));
      const split = this.random.below(segments.length + 1);
      adding.push(segments.slice(0, split), segments.slice(split));
      room.push((segments.length - split) * SLOT_BYTES);
    }
    const free = driver.free();
    const n = driver.add(adding, 3);
    let used = 0;
    for (let i = 0; i < n; i++) {
      const id = adding.id(i);
      if (this.#given.has(id)) throw new Error(`the driver gave id ${id} twice`);
      const { readable, writable } = adding.at(i);
      const segments = readable.length + writable.length;
      const count = segments > 1 && segments <= (this.options.indirect ?? 0) ? 1 : segments;
      used += count;
      this.#given.set(id, room[i] as number);
      this.#reference.out.set(id, { count, writable: room[i] as number });
    }
    if (free - used !== driver.free()) throw new Error(`${driver.free()} free, not ${free - used}`);
  }

  /** Fails when a chain leads outside the memory that the device may reach, or is longer than the queue. */
  #checkChain({ id, readable, writable }: Chain): void {
    if (this.#held.has(id)) throw new Error(`chain ${id} was taken twice`);
    this.#held.set(
      id,
      writable.reduce((sum, { length }) => sum + length, 0),
    );
    const segments = [...readable, ...writable];
    if (segments.length > this.#rig.device.chainMax) throw new Error(`a chain of ${segments.length} segments`);
    for (const { address, length } of segments) {
      if (this.#rig.addressOf(GUEST_OFFSET + BigInt(address), length) === undefined) {
        throw new Error(`segment ${address} of ${length} bytes is outside the regions`);
      }
    }
  }

  #take(): void {
    const { device, taken } = this.#rig;
    const before = device.broken();
    const max = 1 + this.random.below(BURST);
    const expected = this.options.racing || before !== 0 ? undefined : this.#reference.take(max, taken.segments);
    const n = device.take(taken, max);
    const chains = Array.from({ length: n }, (_, i) => taken.at(i));
    for (const chain of chains) this.#checkChain(chain);
    if (before !== 0 && n > 0) throw new Error('a broken queue gave chains');
    if (expected === undefined) return;
    if (JSON.stringify(chains) !== JSON.stringify(expected.chains)) {
      throw new Error(`took ${JSON.stringify(chains)}, not ${JSON.stringify(expected.chains)}`);
    }
    const code = device.broken();
    const allowed = code === 0 ? expected.codes.size === 0 || expected.full : expected.codes.has(code);
    if (!allowed) throw new Error(`broken with ${code}, not one of ${[...expected.codes].join()}`);
  }

  #complete(): void {
    const { device, records, arena } = this.#rig;
    const chains = [...this.#held].slice(0, 1 + this.random.below(4));
    for (const [i, [id, room]] of chains.entries()) {
      arena.u32.set([id, this.#pick(0, room, this.random.below(room + 1))], (records >>> 2) + i * 2);
    }
    const n = device.return(records, chains.length);
    if (n !== (device.broken() === 0 ? chains.length : 0)) throw new Error(`${n} of ${chains.length} returned`);
    for (const [id] of chains.slice(0, n)) {
      this.#held.delete(id);
      this.#reference.held.delete(id);
    }
  }

  #records(n: number): [number, number][] {
    const { u32 } = this.#rig.arena;
    const at = this.#rig.records >>> 2;
    return Array.from({ length: n }, (_, i) => [u32[at + i * 2] as number, u32[at + i * 2 + 1] as number]);
  }

  #poll(): void {
    const { driver, records } = this.#rig;
    const before = driver.broken();
    const max = 1 + this.random.below(BURST);
    const expected = this.options.racing || before !== 0 ? undefined : this.#reference.poll(max);
    const got = this.#records(driver.poll(records, max));
    for (const [id, written] of got) {
      const room = this.#given.get(id);
      if (room === undefined || !this.#given.delete(id))
        throw new Error(`the driver got ${id}, which it had not given`);
      if (written > room) throw new Error(`${written} bytes were written into ${room}`);
    }
    if (before !== 0 && got.length > 0) throw new Error('a broken queue gave records');
    if (expected === undefined) return;
    if (JSON.stringify([got, driver.broken()]) !== JSON.stringify([expected.records, expected.code])) {
      throw new Error(`polled ${JSON.stringify(got)}, broken ${driver.broken()}, not ${JSON.stringify(expected)}`);
    }
  }

  #notify(): void {
    for (const side of [this.#rig.driver, this.#rig.device]) {
      side.needsNotify();
      side.setNotify(this.random.below(2) === 0);
    }
  }

  /** A chain goes to and fro in the queue beside, whose memory is the same. */
  #exchange(): void {
    const { driver, device } = this.#bystander;
    const { adding, taken, records, buffers, arena } = this.#rig;
    adding.clear();
    adding.push([{ address: buffers, length: 1 }], []);
    const n = [driver.add(adding, 1), device.take(taken, 1)];
    arena.u32.set([taken.id(0), 0], records >>> 2);
    if ([...n, device.return(records, 1), driver.poll(records, 1)].join() !== '1,1,1,1') {
      throw new Error('another queue was disturbed');
    }
  }

  /** Stops both sides, takes everything back, and starts again. */
  #restart(): void {
    const { driver, device, records } = this.#rig;
    for (let n = driver.detach(records, BURST); n > 0; n = driver.detach(records, BURST)) {
      for (const [id] of this.#records(n))
        if (!this.#given.delete(id)) throw new Error(`id ${id} was detached, not given`);
    }
    const { size } = this.options;
    if (this.#given.size > 0 || driver.free() !== size) throw new Error(`${this.#given.size} chains were lost`);
    this.#held.clear();
    device.reset();
    driver.reset();
    if (this.#inflight !== undefined) this.#track(this.#inflight);
    this.#reference.reset();
    const state = [driver.free(), device.free(), driver.broken(), device.broken()];
    if (state.join() !== [size, size, 0, 0].join()) throw new Error(`after a reset: ${state.join()}`);
  }

  /** The device's side begins with an inflight region in which nothing is. */
  #track({ address, bytes }: Window): void {
    this.#rig.arena.u8.fill(0, address, address + bytes);
    this.#rig.device.startInflight(address);
  }

  /** The device dies and starts again from the ring and the region, whatever somebody wrote there. */
  #resume(region: Window): void {
    const { device } = this.#rig;
    this.#held.clear();
    try {
      device.start(device.base(), true);
      device.startInflight(region.address);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      this.#restart();
    }
  }

  run(steps: number): HostileOutcome {
    const { driver, device } = this.#rig;
    const calls = [
      () => this.#add(),
      () => this.#take(),
      () => this.#complete(),
      () => this.#poll(),
      () => this.#notify(),
    ];
    // Not beside the reference: it does not know what is taken again.
    const resumed = this.options.racing ? this.#inflight : undefined;
    for (let step = 0; step < steps; step++) {
      if (this.random.below(3) === 0) this.#poke();
      this.#accesses = 0;
      this.#pick(...calls)();
      const broken = driver.broken() !== 0 || device.broken() !== 0;
      if (broken && this.random.below(4) === 0) {
        this.#quiet(() => {
          this.#exchange();
          this.#restart();
        });
      } else if (this.random.below(500) === 0) this.#quiet(() => this.#restart());
      else if (resumed !== undefined && this.random.below(50) === 0) this.#quiet(() => this.#resume(resumed));
    }
    this.#quiet(() => this.#restart());
    const damaged = this.#rig.damaged();
    if (damaged.length > 0) throw new Error(`written: ${damaged.join()}`);
    return {
      broken: driver.brokenCount() + device.brokenCount(),
      branches: this.#arenas.map(({ branches }) => branches),
    };
  }

  /** Runs `call` with nobody watching or writing: it works on other queues, or on one that is stopped. */
  #quiet(call: () => void): void {
    this.#resetting = true;
    call();
    this.#resetting = false;
  }
}

/**
 * Runs `steps` steps with the peer of `seed`.
 * @throws Error with seed and options when an invariant does not hold.
 */
export function runHostile(options: HostileOptions, seed: number, steps: number): HostileOutcome {
  try {
    return new HostileRun(options, new Random(seed)).run(steps);
  } catch (cause) {
    const { module: _, ...shown } = options;
    throw new Error(`seed ${seed}, ${JSON.stringify(shown)}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Runs the kernels of `module` in a small queue with up to 300 peers.
 * @throws Error of the first that finds something.
 */
export function searchFaults(layout: VirtqueueLayout, module: WebAssembly.Module): void {
  for (let seed = 0; seed < 300; seed++) runHostile({ ...hostileOptions(layout, 4, seed), module }, seed, 500);
}
