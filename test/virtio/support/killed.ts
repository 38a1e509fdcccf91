import { inflightBytes, rawRing, type Segment, type VirtqueueDevice } from 'ringway/virtio';
import type { Arena } from '#build/memory/arena.js';
import { RingwayError } from '#build/util/errors.js';
import { Random } from '#build/util/random.js';
import { startInflight } from '#build/virtio/inflight.js';
import { VQ_ID_SHIFT, VQ_IDS, VQ_TAKE } from '#build/virtio/layout.js';
import { testArena } from '../../support/arena.ts';
import { TracedArena } from '../../support/traced.ts';
import { makeRig, RIG_BYTES, type RigOptions, SLOT_BYTES } from './rig.ts';
import { deviceWindows, inside, sharedWindows, type Window, watchWindows } from './watch.ts';

const BURST = 4;

class Killed extends Error {}

interface Sent {
  readonly serial: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  /** What devices said that they wrote, when they began to return it: one of these comes back. */
  readonly written: number[];
}

/** The array, with `wrote` called after each write. */
function watched<T extends Uint8Array | Uint16Array | Uint32Array>(array: T, wrote: () => void): T {
  return new Proxy(array, {
    get(target, key) {
      const value = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
    set(target, key, value) {
      Reflect.set(target, key, value, target);
      wrote();
      return true;
    },
  });
}

/** What a run did. */
export interface KilledRun {
  /** Writes to what outlives the device: ring and region. */
  readonly writes: number;
  readonly kills: number;
  /** Chains that were taken again. */
  readonly again: number;
}

/**
 * A driver sends `total` chains to a device that returns them in any order (unless IN_ORDER), and is killed before each write
 * to ring or region that `dies` names, and, `inRecovery`, at any moment of its start. Another goes on with what is left: ring and region. Fails unless every chain comes
 * back to the driver once, with what a device wrote, and chains are taken in their order.
 */
export function runKilled(
  options: RigOptions,
  module: WebAssembly.Module,
  seed: number,
  dies: (write: number) => boolean,
  inRecovery = false,
  total = 24,
): KilledRun {
  const random = new Random(seed);
  const plain = testArena(RIG_BYTES);
  const deviceArena = new TracedArena(plain, module);
  const rig = makeRig({ ...options, arena: plain, deviceArena });
  const { driver, adding, taken, records, buffers } = rig;
  const device: VirtqueueDevice = rig.device;
  const { u8, u32 } = plain;
  const { layout, size, inOrder = false } = options;
  const bytes = inflightBytes(layout, size);
  const region = plain.allocate('inflight', bytes);
  const polled = plain.allocate('polled', BURST * 8);
  const kernels = deviceArena.kernels<{ virtioPutBack(queue: number, list: number, from: number, to: number): void }>();
  const shared: Window[] = [...sharedWindows(rig, options), { address: region, bytes }];
  let writes = 0;
  deviceArena.onAccess((address, length, kind) => {
    if (!kind.endsWith('load') && inside(shared, address, length) && dies(writes++)) throw new Killed();
  });

  const wrote = (): void => {
    if (inRecovery && random.below(60) === 0) throw new Killed();
  };
  const mortal = Object.create(plain, {
    u8: { value: watched(plain.u8, wrote) },
    u16: { value: watched(plain.u16, wrote) },
    u32: { value: watched(plain.u32, wrote) },
  }) as Arena;

  const byId = new Map<number, Sent>();
  const bySerial = new Map<number, Sent>();
  let held: { id: number; chain: Sent }[] = [];
  let sent = 0;
  let done = 0;
  let kills = 0;
  let again = 0;
  let newest = 0;
  /** The last chain that this device took. */
  let last = 0;

  function add(): void {
    adding.clear();
    const drafts: Sent[] = [];
    for (let want = Math.min(1 + random.below(BURST), total - sent); want > 0; want--) {
      const serial = sent + drafts.length + 1;
      const count = 1 + random.below(Math.min(size, 3));
      const segments = Array.from({ length: count }, (_, i) => ({
        address: buffers + ((serial * 3 + i) % 64) * SLOT_BYTES,
        length: i === 0 ? serial : 1 + random.below(SLOT_BYTES),
      }));
      const split = random.below(count + 1);
      const draft = { serial, readable: segments.slice(0, split), writable: segments.slice(split), written: [] };
      adding.push(draft.readable, draft.writable);
      drafts.push(draft);
    }
    const added = driver.add(adding, drafts.length);
    for (const [i, draft] of drafts.slice(0, added).entries()) {
      byId.set(adding.id(i), draft);
      bySerial.set(draft.serial, draft);
    }
    sent += added;
  }

  function poll(): void {
    const n = driver.poll(polled, 1 + random.below(BURST));
    for (let i = 0; i < n; i++) {
      const [id = 0, written = 0] = u32.subarray((polled >>> 2) + i * 2, (polled >>> 2) + i * 2 + 2);
      const chain = byId.get(id);
      if (chain === undefined) throw new Error(`id ${id} came back, and is not out`);
      if (!chain.written.includes(written))
        throw new Error(`chain ${chain.serial}: ${written} bytes, not ${chain.written}`);
      byId.delete(id);
      bySerial.delete(chain.serial);
      done++;
    }
    if (driver.broken() !== 0) throw new Error(`the driver found rule ${driver.broken()} broken`);
  }

  function take(): void {
    const n = device.take(taken, 1 + random.below(BURST));
    for (let i = 0; i < n; i++) {
      const { id, readable, writable } = taken.at(i);
      const serial = (readable[0] ?? writable[0])?.length ?? 0;
      const chain = bySerial.get(serial);
      const same = JSON.stringify([readable, writable]) === JSON.stringify([chain?.readable, chain?.writable]);
      if (chain === undefined || byId.get(id) !== chain || !same)
        throw new Error(`took ${serial} as ${id}, which is not out`);
      if (serial <= last) throw new Error(`took ${serial} after ${last}`);
      if (serial > newest + 1) throw new Error(`took ${serial}, and ${newest + 1} never`);
      last = serial;
      newest = Math.max(newest, serial);
      if (held.some((each) => each.chain === chain)) throw new Error(`took ${serial} twice`);
      held.push({ id, chain });
    }
    if (n > 0 && random.below(4) === 0) {
      const from = random.below(n);
      // What is given up is there again, whether the device lives on or not.
      const given = held.splice(held.length - (n - from));
      last = (given[0] as (typeof given)[number]).chain.serial - 1;
      kernels.virtioPutBack(device.address, taken.address, from, n);
    }
  }

  function giveBack(): void {
    const n = Math.min(held.length, 1 + random.below(BURST));
    for (let i = 0; i < n; i++) {
      const [{ id, chain }] = held.splice(inOrder ? 0 : random.below(held.length), 1) as [(typeof held)[number]];
      const room = chain.writable.reduce((sum, { length }) => sum + length, 0);
      const written = random.below(2) === 0 ? room : random.below(room + 1);
      chain.written.push(written);
      u32.set([id, written], (records >>> 2) + i * 2);
    }
    if (n > 0) device.return(records, n);
  }

  function restart(): void {
    held = [];
    last = 0;
    // The driver lives on meanwhile.
    for (let i = random.below(6); i > 0; i--) [add, poll][random.below(2)]?.();
    // All that the device knew is gone.
    u8.fill(0xa5, device.address + VQ_TAKE, device.address + VQ_IDS - 88);
    u8.fill(0xa5, device.address + VQ_IDS, device.address + VQ_IDS + (size << VQ_ID_SHIFT));
    // As QEMU starts a device again when the one before it did not say where it was.
    device.start(layout === 'split' ? rawRing(plain, 'split').readIndex(rig.rings.deviceArea) : 0x80008000, true);
    try {
      startInflight(mortal, device.address, 'q', region);
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      kills++;
      restart();
    }
  }

  device.startInflight(region);
  for (let step = 0; done < total; step++) {
    if (step > total * 400) throw new Error(`${total - done} chains never came back`);
    try {
      [add, poll, take, giveBack][random.below(4)]?.();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      kills++;
      again += held.length;
      restart();
    }
    if (device.broken() !== 0) throw new Error(`the device found rule ${device.broken()} broken`);
  }
  if (driver.free() !== size || device.free() !== size) throw new Error(`free: ${driver.free()}, ${device.free()}`);
  if (rig.damaged().length > 0) throw new Error('something else was written');
  return { writes, kills, again };
}

/** Both sides at work, restarts of the device, and a keeper of the region that writes anything there at any time. */
export function runScribbled(options: RigOptions, module: WebAssembly.Module, seed: number) {
  const random = new Random(seed);
  const plain = testArena(RIG_BYTES);
  const deviceArena = new TracedArena(plain, module);
  const rig = makeRig({ ...options, arena: plain, deviceArena });
  const { driver, device, adding, taken, records, buffers } = rig;
  const { layout, size, inOrder = false } = options;
  const bytes = inflightBytes(layout, size);
  const region = plain.allocate('inflight', bytes);
  watchWindows(deviceArena, [...deviceWindows(rig, options), { address: region, bytes }]);
  const result = { broken: 0, refused: 0, taken: 0 };
  let held: number[] = [];

  function scribble(): void {
    for (let i = random.below(3); i > 0; i--) {
      // Links and numbers are what leads somewhere.
      plain.u16[(region + random.below(bytes)) >>> 1] =
        random.below(3) === 0 ? random.below(65536) : random.below(size + 2);
    }
  }
  function restart(fresh: boolean): void {
    held = [];
    if (fresh) {
      device.reset();
      for (let n = driver.detach(records, 32); n > 0; n = driver.detach(records, 32));
      driver.reset();
      plain.u8.fill(0, region, region + bytes);
    }
    try {
      device.start(layout === 'split' ? rawRing(plain, 'split').readIndex(rig.rings.deviceArea) : 0x80008000, true);
      device.startInflight(region);
    } catch (error) {
      if (!(error instanceof RingwayError)) throw error;
      result.refused++;
      restart(true);
    }
  }

  restart(true);
  for (let step = 0; step < 150; step++) {
    if (random.below(3) === 0) scribble();
    adding.clear();
    adding.push(
      [{ address: buffers, length: 4 }],
      [1, 2].slice(random.below(3)).map((i) => ({ address: buffers + i * SLOT_BYTES, length: 8 })),
    );
    if (random.below(2) === 0) driver.add(adding, 1);
    const n = device.take(taken, 1 + random.below(4));
    result.taken += n;
    for (let i = 0; i < n; i++) held.push(taken.id(i));
    const back = Math.min(held.length, random.below(4));
    for (let i = 0; i < back; i++) {
      const [id] = held.splice(inOrder ? 0 : random.below(held.length), 1);
      plain.u32.set([id as number, 0], (records >>> 2) + i * 2);
    }
    device.return(records, back);
    driver.poll(records, 4);
    const broken = device.broken() !== 0;
    if (broken) result.broken++;
    if (broken || driver.broken() !== 0) restart(true);
    else if (random.below(8) === 0) restart(false);
  }
  if (rig.damaged().length > 0) throw new Error('something else was written');
  return result;
}
