import type { PoolKernels } from 'ringway/memory';
import { addVif, type Domain, type NetfrontOptions, removeVif } from 'ringway/xen';
import { Random } from '#build/util/random.js';
import { DATARING_OUT } from '#build/xen/data-ring-layout.js';
import { VIFQ_DATA } from '#build/xen/queue-layout.js';
import { type AttachBack, makeVif, type Served, settle } from './vif-rig.ts';

/** What bytes get across by, one after the other. */
export const PATHS: readonly NonNullable<NetfrontOptions['path']>[] = [
  { kind: 'copy' },
  { kind: 'staging', tx: 256, rx: 256 },
  { kind: 'persistent' },
  { kind: 'staging', tx: 4096, rx: 65_536 },
  { kind: 'control' },
  { kind: 'data-ring', order: 2 },
];

const DEVICE = { frontend: 1, backend: 0, index: 0, mac: '00:16:3e:00:00:01' } as const;
const FRONT = '/local/domain/1/device/vif/0';
const BACK = '/local/domain/0/backend/vif/1/0';

/** Keys that either end reads, and some that nobody does. */
const KEYS = [
  ...[
    'state',
    'state',
    'state',
    'state',
    'online',
    'mac',
    'handle',
    'rate',
    'nonsense',
    'queue-0',
    'queue-0/tx-ring-ref',
  ],
  ...['tx-ring-ref', 'rx-ring-ref', 'tx-ring-page-order', 'rx-ring-page-order', 'tx-ring-ref0', 'rx-ring-ref1'],
  ...['event-channel', 'event-channel-tx', 'event-channel-rx', 'event-channel-ctrl', 'ctrl-ring-ref', 'data-ring-ref'],
  ...['tx-data-ref0', 'rx-data-ref0', 'tx-data-len', 'rx-data-len', 'multi-queue-num-queues', 'multi-queue-max-queues'],
  ...[
    'request-rx-copy',
    'xdp-headroom',
    'request-multicast-control',
    'feature-rx-copy',
    'feature-sg',
    'feature-gso-tcpv4',
    'feature-persistent',
  ],
  ...['feature-staging-grants', 'feature-ctrl-ring', 'feature-data-ring', 'max-ring-page-order', 'backend', 'frontend'],
];
const VALUES = [
  '',
  '-1',
  '0',
  '1',
  '4294967295',
  '4294967296',
  '1e3',
  '0x10',
  ' 1',
  'NaN',
  '\0',
  'x'.repeat(3000),
  '9'.repeat(30),
];

/** Bytes of one frame at most, and of the pattern that all are cut out of. */
const FRAME_MOST = 20_000;
/** Rounds between turns for what is done on events, and between looks at everything. */
const TURN = 32;
const AUDIT = 512;

/** What copies for the backend. */
export interface HostileEngine {
  readonly attachBack: AttachBack;
  /** Copies some, or fails. */
  work(random: Random): void;
  /** All that is under way arrives, or is dropped. */
  drain(): void;
}

/** What a run came to. A step is one write into shared memory, an event or a change in xenstore, or one call of an end. */
export interface Hostility {
  steps: number;
  /** Changes of xenstore among them. */
  changes: number;
  connections: number;
  /** Packets that an end took for good. */
  packets: number;
  /** How often each rule was broken. */
  readonly faults: Map<string, number>;
}

class VifFuzz {
  readonly done: Hostility = { steps: 0, changes: 0, connections: 0, packets: 0, faults: new Map() };
  readonly #rig: Awaited<ReturnType<typeof makeVif>>;
  readonly #engine: HostileEngine | undefined;
  readonly #random: Random;
  readonly #kernels: PoolKernels;
  readonly #path: NonNullable<NetfrontOptions['path']>;
  readonly #cache: number;
  readonly #guest: Domain;
  /** How likely what is: some peers break rings at once, and others only entries and bytes. */
  readonly #attacksRings: boolean;
  readonly #attacksEntries: boolean;
  /** Whose directory is written to: one round of so many. */
  readonly #attacksFront: boolean;
  readonly #storeOdds: number;
  #ends: readonly [front: Served, back: Served] | undefined;
  #srings: readonly [tx: number, rx: number] = [0, 0];
  #indexes = 0;
  /** The control ring, and the frontend's port of it; 0 without one. */
  #control = 0;
  #controlPort = 0;
  #latchedFor = 0;

  constructor(rig: Awaited<ReturnType<typeof makeVif>>, seed: number, engine: HostileEngine | undefined) {
    this.#rig = rig;
    this.#engine = engine;
    this.#random = new Random(seed);
    this.#path = PATHS[seed % PATHS.length] ?? { kind: 'copy' };
    this.#kernels = rig.arena.kernels<PoolKernels>();
    this.#cache = rig.pool.caches[0] ?? 0;
    this.#guest = rig.guest;
    this.#attacksRings = seed % 2 === 0;
    this.#attacksEntries = seed % 3 !== 0;
    this.#attacksFront = seed % 4 < 2;
    this.#storeOdds = seed % 5 === 0 ? 50 : 1000;
    for (let i = 0; i < FRAME_MOST; i += 4) rig.arena.u32[(rig.scratch + i) >>> 2] = this.#random.next();
  }

  /** Ends both ends, whose pages and grants come back then. */
  async #destroy(): Promise<void> {
    const { netback, netfront, guest, arena } = this.#rig;
    await netfront.bus.destroy();
    await netback.bus.destroy();
    // An entry that says that Xen uses it, though it does not, is one that the guest itself could never end.
    for (let ref = 8; ref < guest.grants.count; ref++) {
      const entry = (guest.grants.address + ref * 8) >>> 1;
      arena.u16[entry] = (arena.u16[entry] ?? 0) & 7;
    }
    // The frontend was first: what the backend had mapped until now comes back.
    await netfront.bus.destroy();
    if (guest.grants.inUse !== 0) throw new Error(`${guest.grants.inUse} grants in use, ${netfront.bus.lost} lost`);
    const { maps, unmaps } = this.#rig.driver.costs();
    if (maps !== unmaps) throw new Error(`${maps} maps, ${unmaps} unmaps`);
  }

  /** Begins as the tools do: whatever is left of the last connection goes. */
  async connect(): Promise<void> {
    const { netback, netfront, driver } = this.#rig;
    await this.#destroy();
    const { store } = driver.hypervisor;
    await removeVif(store, DEVICE).catch(() => {});
    await addVif(store, DEVICE);
    await netback.start();
    await netfront.start();
    await settle();
    const [front, back] = [netfront.queues[0], netback.queues[0]];
    if (front === undefined || back === undefined) {
      const says = `states ${netback.state} and ${netfront.state}, ${netback.error ?? netfront.error}`;
      throw new Error(`not connected: ${says}`);
    }
    this.done.connections++;
    this.#latchedFor = 0;
    this.#ends = [front, back];
    const { u32 } = this.#rig.arena;
    this.#srings = [u32[front.tx.address >>> 2] ?? 0, u32[front.rx.address >>> 2] ?? 0];
    const half = netfront.bus.queues[0]?.txQueue ?? 0;
    await this.#findControl();
    this.#indexes = this.#path.kind === 'data-ring' ? (u32[(half + VIFQ_DATA) >>> 2] ?? 0) - DATARING_OUT : 0;
  }

  async #findControl(): Promise<void> {
    const { guest, arena, netfront } = this.#rig;
    if (netfront.bus.control === undefined) return;
    const read = async (key: string): Promise<number> => Number(await guest.hypervisor.store.read(`${FRONT}/${key}`));
    const entry = guest.grants.address + (await read('ctrl-ring-ref')) * 8;
    this.#control = guest.memory + (arena.u32[(entry + 4) >>> 2] ?? 0) * 4096;
    this.#controlPort = await read('event-channel-ctrl');
  }

  /** Asks anything of the control ring, or moves its indexes; the backend is told. */
  #ask(): void {
    const random = this.#random;
    const { u16, u32 } = this.#rig.arena;
    const producer = this.#control >>> 2;
    const slot = this.#control + 64 + ((u32[producer] ?? 0) & 127) * 16;
    u16.set([random.next() & 0xffff, random.below(12)], slot >>> 1);
    for (let i = 1; i < 4; i++) u32[(slot >>> 2) + i] = random.below(4) === 0 ? random.next() : random.below(600);
    u32[producer] = ((u32[producer] ?? 0) + (random.below(256) === 0 ? random.below(1000) : 1)) >>> 0;
    this.#guest.hypervisor.send(this.#controlPort);
    this.done.steps++;
  }

  /** One write into what both ends share. */
  #poke(): void {
    const random = this.#random;
    const { u8, u16, u32 } = this.#rig.arena;
    const [tx, rx] = this.#srings;
    const slot = random.below(256);
    const roll = random.below(this.#attacksRings ? 8 : 2);
    this.done.steps++;
    // Indexes of the data ring, and headers of frames.
    if (this.#indexes > 0 && random.below(this.#attacksRings ? 4 : 64) === 0) {
      const word = random.below(2) === 0 ? random.below(2) * 64 + random.below(3) * 4 : 4096 + random.below(1024) * 16;
      u32[(this.#indexes + word) >>> 2] = random.below(2) === 0 ? random.next() : random.below(70_000);
    } else if (roll === 0 && this.#attacksEntries) {
      const entry = this.#guest.grants.address + (8 + random.below(560)) * 8;
      const what = random.below(3);
      if (what === 0) u16[entry >>> 1] = random.below(32);
      else if (what === 1) u16[(entry + 2) >>> 1] = random.below(4);
      else u32[(entry + 4) >>> 2] = random.next();
    } else if (roll < 2) u8[this.#guest.memory + 8192 + random.below(560 * 4096)] = random.next();
    // An index that jumps ends it at once: most of the time slots change.
    else if (roll === 2 && random.below(64) === 0) {
      u32[((random.below(2) === 0 ? tx : rx) + random.below(4) * 4) >>> 2] = random.next();
    } else if (roll === 3 && random.below(16) === 0) {
      u32[((random.below(2) === 0 ? tx : rx) + random.below(4) * 4) >>> 2] = random.below(300);
    } else if (roll === 4) u32[(tx + 64 + slot * 12) >>> 2] = random.below(600);
    else {
      // A slot that breaks a rule ends it as well.
      const value = random.below(random.below(64) === 0 ? 6000 : 20);
      const [base, bytes, first, fields] = roll < 7 ? [tx, 12, 4, 4] : [rx, 8, 0, 4];
      u16[(base + 64 + slot * bytes + first + random.below(fields) * 2) >>> 1] = value;
    }
  }

  /** Sends packets from one end, with what it has no room for dropped. */
  #send(from: Served, slots: number, n: number): void {
    const sent = from.send(slots, n);
    this.#kernels.poolFree(this.#cache, slots + sent * 16, n - sent);
    this.done.steps++;
  }

  #make(): number {
    const random = this.#random;
    const { burst, scratch } = this.#rig;
    const n = 1 + random.below(8);
    for (let i = 0; i < n; i++) {
      const length = 14 + random.below(random.below(4) === 0 ? FRAME_MOST - 14 : 300);
      const slot = burst + i * 16;
      if (this.#kernels.poolAlloc(this.#cache, slot, 1) !== 1) throw new Error('the pool is exhausted');
      if (this.#kernels.memoryFill(this.#cache, slot, scratch, length) !== 1) throw new Error('no buffers');
    }
    return n;
  }

  #receive(to: Served): number {
    const { burst, arena } = this.#rig;
    const n = to.receive(burst, 32);
    this.done.steps++;
    this.done.packets += n;
    for (let i = 0; i < n; i++) {
      const length = arena.u16[(burst + i * 16 + 6) >>> 1] ?? 0;
      if (length < 14) throw new Error(`a frame of ${length} bytes`);
    }
    return n;
  }

  /** Writes, and both ends' calls. */
  round(): void {
    const random = this.#random;
    const { burst, driver, guest } = this.#rig;
    const [front, back] = this.#ends as readonly [Served, Served];
    for (let i = random.below(16); i > 0; i--) this.#poke();
    const [from, to] = random.below(2) === 0 ? [front, back] : [back, front];
    this.#send(from, burst, this.#make());
    for (let i = random.below(4); i > 0; i--) this.#poke();
    this.#engine?.work(random);
    const n = this.#receive(to);
    // At times what has just been received is sent back, out of where it lay.
    if (to === front && random.below(3) === 0) this.#send(front, burst, n);
    else this.#kernels.poolFree(this.#cache, burst, n);
    if (random.below(16) === 0) {
      (random.below(2) === 0 ? driver : guest).hypervisor.send(1 + random.below(8));
      this.done.steps++;
    }
    if (this.#control !== 0 && random.below(16) === 0) this.#ask();
  }

  /** One change in the directory of an end. */
  async #change(): Promise<void> {
    const random = this.#random;
    const [domain, path] = this.#attacksFront ? [this.#rig.guest, FRONT] : [this.#rig.driver, BACK];
    const { store } = domain.hypervisor;
    const key = `${path}/${KEYS[random.below(KEYS.length)]}`;
    this.done.steps++;
    this.done.changes++;
    // What the store does not take, it does not.
    const ignore = (): void => {};
    const roll = random.below(16);
    if (roll === 0) await store.remove(random.below(4) === 0 ? path : key).catch(ignore);
    else if (roll === 1) await store.setPermissions(key, [{ domid: domain.domid, access: 'n' }]).catch(ignore);
    else if (roll < 8 && key.endsWith('state')) await store.write(key, String(random.below(10))).catch(ignore);
    else if (roll < 10) await store.write(key, String(random.below(600))).catch(ignore);
    else await store.write(key, VALUES[random.below(VALUES.length)] ?? '').catch(ignore);
  }

  /** Changes, and turns for both ends to see them, and what was asked of the control ring. */
  async changes(): Promise<void> {
    for (let i = 1 + this.#random.below(6); i > 0; i--) await this.#change();
    for (let i = this.#random.below(4); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Connects again when the ends have parted, or one stands still and was looked at for long enough. */
  async keepConnected(): Promise<void> {
    const { netback, netfront } = this.#rig;
    const [front, back] = this.#ends ?? [];
    const isThere = front !== undefined && front === netfront.queues[0] && back === netback.queues[0];
    if (isThere) {
      const faults = [front.fault(), back?.fault()].filter((fault) => fault !== undefined);
      if (faults.length === 0 || ++this.#latchedFor < 8 + 8 * faults.length) return;
      for (const fault of faults) this.done.faults.set(fault, (this.done.faults.get(fault) ?? 0) + 1);
    }
    await this.connect();
  }

  get isTurnOfStore(): boolean {
    return this.#random.below(this.#storeOdds) === 0;
  }

  audit(): void {
    if (this.#rig.netback.queues.length > 0) this.#engine?.drain();
    const held = this.#rig.held();
    if (held !== 0) throw new Error(`${held} buffers are held`);
    const damaged = this.#rig.arena.damaged();
    if (damaged.length > 0) throw new Error(`damaged: ${damaged.join(', ')}`);
  }

  /** Both ends close, and all of it is given back. */
  async end(): Promise<void> {
    await this.#destroy();
    this.audit();
    const { xen } = this.#rig;
    // Nothing of it is pinned: its number is free again at once.
    xen.destroyDomain(1);
    xen.createDomain(1, { pages: 1 });
  }
}

/**
 * Runs a device whose ends are attacked for so many steps: somebody writes into the ring pages, the grant entries, the frontend's
 * pages and the directory of one end, between any two calls, and both ends go on. Whatever happens, both ends close, no buffer and no
 * grant is lost, and nothing beside the shared pages was written. A failure names its seed.
 */
export async function runVifHostile(
  mode: 'mapped' | 'plain',
  seed: number,
  steps: number,
  engine?: HostileEngine,
): Promise<Hostility> {
  // Half of them have hashes set, by a control ring.
  const setHash = { flags: 15, key: new Uint8Array(40).fill(seed), mapping: [0] };
  const hashes = seed % 4 < 2 ? { hash: true, setHash } : {};
  const serves = engine === undefined ? {} : { attachBack: engine.attachBack };
  const rig = await makeVif({ mode, path: PATHS[seed % PATHS.length] ?? { kind: 'copy' }, ...hashes, ...serves });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  const fuzz = new VifFuzz(rig, seed, engine);
  try {
    await fuzz.connect();
    for (let round = 1; fuzz.done.steps < steps; round++) {
      fuzz.round();
      if (fuzz.isTurnOfStore) await fuzz.changes();
      await fuzz.keepConnected();
      if (round % TURN === 0) await new Promise((resolve) => setImmediate(resolve));
      if (round % AUDIT === 0) fuzz.audit();
    }
    await fuzz.end();
  } catch (cause) {
    const what = cause instanceof Error ? cause.message : cause;
    throw new Error(`seed ${seed}, ${mode}, step ${fuzz.done.steps}: ${what}`, { cause });
  }
  for (const stop of stops) stop();
  return fuzz.done;
}

/** Runs seeds `from` to `to`, each for so many steps. Returns what they came to together. */
export async function searchVifHostile(
  mode: 'mapped' | 'plain',
  from: number,
  to: number,
  steps: number,
  makeEngine?: () => HostileEngine,
): Promise<Hostility> {
  const all: Hostility = { steps: 0, changes: 0, connections: 0, packets: 0, faults: new Map() };
  for (let seed = from; seed < to; seed++) {
    const done = await runVifHostile(mode, seed, steps, makeEngine?.());
    for (const key of ['steps', 'changes', 'connections', 'packets'] as const) all[key] += done[key];
    for (const [fault, times] of done.faults) all.faults.set(fault, (all.faults.get(fault) ?? 0) + times);
  }
  return all;
}
