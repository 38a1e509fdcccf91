import type { Segment } from 'ringway/virtio';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { testArena } from '../../support/arena.ts';
import { PausableArena } from '../../support/pausable.ts';
import { makeRig, RIG_BYTES, type RigOptions, SLOT_BYTES } from './rig.ts';
import { inside, sharedWindows } from './watch.ts';

const BURST = 3;

/** Queues of each layout, so small that they fill and go round. */
export const INTERLEAVED: readonly [RigOptions][] = (
  [
    ['split', 4],
    ['packed', 3],
  ] as const
).flatMap(([layout, size]): [RigOptions][] => [
  [{ layout, size }],
  [{ layout, size, eventIdx: true }],
  [{ layout, size, eventIdx: true, indirect: 3 }],
  [{ layout, size, eventIdx: true, indirect: 3, inOrder: true }],
]);

/** What the driver sent, until it has it back. */
interface Sent {
  readonly serial: number;
  readonly readable: readonly Segment[];
  readonly writable: readonly Segment[];
  /** Bytes that the device said it wrote, once it began to return the chain. */
  written?: number;
}

/** A side that sleeps until its peer notifies it. */
interface Sleeper {
  asleep: boolean;
  notified: boolean;
}

/**
 * A driver sends `total` chains to a device that returns them in any order (unless IN_ORDER), and each sleeps when it has nothing to do.
 * Both run kernels of their own, and either may be stopped before any access to what they share.
 */
export function interleaving(options: RigOptions, module: WebAssembly.Module, total = 8): Simulation {
  const plain = testArena(RIG_BYTES);
  const driverArena = new PausableArena(plain, module, 'driver');
  const deviceArena = new PausableArena(plain, module, 'device');
  const rig = makeRig({ ...options, arena: driverArena, deviceArena });
  const { driver, device, adding, taken, records, buffers } = rig;
  const { u32 } = plain;
  const polledRecords = plain.allocate('polled', BURST * 8);
  const shared = sharedWindows(rig, options);
  for (const arena of [driverArena, deviceArena]) arena.stopsAt = (address, bytes) => inside(shared, address, bytes);
  const prefix = options.layout === 'split' ? 'virtioSplit' : 'virtioPacked';
  const limit = Math.min(options.size, BURST);

  const bySerial = new Map<number, Sent>();
  const byId = new Map<number, Sent>();
  const drivers: Sleeper = { asleep: false, notified: false };
  const devices: Sleeper = { asleep: false, notified: false };
  let sent = 0;
  let seen = 0;
  let polled = 0;

  /** Waits for a notification, unless asking for one shows that there is something to do. */
  function* sleep(arena: PausableArena, queue: number, self: Sleeper, peer: Sleeper): Actor {
    if ((yield* arena.call(`${prefix}SetNotify`, queue, 1)) !== 0) return;
    self.asleep = true;
    while (!self.notified) {
      if (peer.asleep && !peer.notified) throw new Error('both sleep, and there is work');
      yield IDLE;
    }
    self.asleep = false;
    self.notified = false;
    // A side that is busy asks for no more.
    yield* arena.call(`${prefix}SetNotify`, queue, 0);
  }

  function draft(serial: number, random: Random): Sent {
    const count = 1 + random.below(limit);
    // The first length is the serial number, by which the device knows the chain.
    const segments = Array.from({ length: count }, (_, i) => ({
      address: buffers + ((serial * limit + i) % 64) * SLOT_BYTES,
      length: i === 0 ? serial : 1 + random.below(SLOT_BYTES),
    }));
    const split = random.below(count + 1);
    return { serial, readable: segments.slice(0, split), writable: segments.slice(split) };
  }

  function* drive(random: Random): Actor {
    while (polled < total) {
      adding.clear();
      const drafts: Sent[] = [];
      for (let want = Math.min(1 + random.below(BURST), total - sent); want > 0; want--) {
        const chain = draft(sent + drafts.length + 1, random);
        adding.push(chain.readable, chain.writable);
        drafts.push(chain);
        // The device may see it before `add` comes back.
        bySerial.set(chain.serial, chain);
      }
      const added = yield* driverArena.call(`${prefix}DriverAdd`, driver.address, adding.address, drafts.length);
      sent += added;
      for (let i = 0; i < added; i++) byId.set(adding.id(i), drafts[i] as Sent);
      if ((yield* driverArena.call(`${prefix}NeedsNotify`, driver.address)) !== 0) devices.notified = true;
      const n = yield* driverArena.call(`${prefix}DriverPoll`, driver.address, polledRecords, 1 + random.below(BURST));
      for (let i = 0; i < n; i++) {
        const [id, written] = u32.subarray((polledRecords >>> 2) + i * 2, (polledRecords >>> 2) + i * 2 + 2);
        const chain = byId.get(id as number);
        if (chain?.written === undefined) throw new Error(`id ${id} came back, and was not returned`);
        if (chain.written !== written) throw new Error(`${written} bytes came back, not ${chain.written}`);
        byId.delete(id as number);
        bySerial.delete(chain.serial);
        polled++;
      }
      if (n === 0 && added === 0 && polled < total) yield* sleep(driverArena, driver.address, drivers, devices);
    }
    drivers.asleep = false;
  }

  function* serve(random: Random): Actor {
    const held: { id: number; chain: Sent }[] = [];
    while (seen < total || held.length > 0) {
      const n = yield* deviceArena.call(`${prefix}DeviceTake`, device.address, taken.address, 1 + random.below(BURST));
      for (let i = 0; i < n; i++) {
        const { id, readable, writable } = taken.at(i);
        const chain = bySerial.get(++seen);
        const same = JSON.stringify([readable, writable]) === JSON.stringify([chain?.readable, chain?.writable]);
        if (chain === undefined || !same) throw new Error(`took what is not chain ${seen}`);
        held.push({ id, chain });
      }
      const back = Math.min(held.length, random.below(BURST + 1));
      for (let i = 0; i < back; i++) {
        const at = options.inOrder ? 0 : random.below(held.length);
        const [{ id, chain }] = held.splice(at, 1) as [(typeof held)[number]];
        const room = chain.writable.reduce((sum, { length }) => sum + length, 0);
        // Full ones often: in order, a batch of these has one used element.
        chain.written = random.below(2) === 0 ? room : random.below(room + 1);
        u32.set([id, chain.written], (records >>> 2) + i * 2);
      }
      if (back > 0) yield* deviceArena.call(`${prefix}DeviceReturn`, device.address, records, back);
      if ((yield* deviceArena.call(`${prefix}NeedsNotify`, device.address)) !== 0) drivers.notified = true;
      if (n === 0 && held.length === 0 && seen < total) yield* sleep(deviceArena, device.address, devices, drivers);
    }
    devices.asleep = false;
  }

  return new Simulation({
    name: `${options.layout} virtqueue, access by access`,
    steps: total * 30,
    setup({ random }) {
      device.reset();
      driver.reset();
      bySerial.clear();
      byId.clear();
      Object.assign(drivers, { asleep: false, notified: false });
      Object.assign(devices, { asleep: false, notified: false });
      sent = 0;
      seen = 0;
      polled = 0;
      return {
        actors: { driver: drive(random), device: serve(random) },
        invariant() {
          const codes = [driver.broken(), device.broken()];
          if (codes.some((code) => code !== 0)) throw new Error(`broken: ${codes.join(', ')}`);
        },
        finish() {
          const free = [driver.free(), device.free()];
          if (free.some((count) => count !== options.size)) throw new Error(`free in the end: ${free.join(', ')}`);
        },
      };
    },
  });
}
