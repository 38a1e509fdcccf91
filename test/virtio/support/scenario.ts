import type { VirtqueueLayout } from 'ringway/virtio';
import { type Actor, IDLE, Simulation } from '#build/sim/index.js';
import type { Random } from '#build/util/random.js';
import { makeRig, SLOT_BYTES } from './rig.ts';

/** Steps of a side, as the test build of the kernels exports them: what is written is unseen until it is published. */
export interface RingSteps {
  writeAvailable(queue: number, list: number, n: number): number;
  writeUsed(queue: number, used: number, n: number): void;
  publish(queue: number, n: number): void;
}

const SIZES = { split: 4, packed: 3 } as const;
const BURST = 3;

/** A driver sends `total` chains of one or two buffers to a device that returns them in any order. */
export function ringSimulation(
  layout: VirtqueueLayout,
  fault: (real: RingSteps) => Partial<RingSteps> = () => ({}),
  total = 12,
): Simulation {
  const size = SIZES[layout];
  const { arena, driver, device, adding, taken, records, buffers } = makeRig({ layout, size });
  const { u32 } = arena;
  const exports = arena.kernels<Record<string, RingSteps[keyof RingSteps]>>();
  const prefix = layout === 'split' ? 'virtioSplit' : 'virtioPacked';
  const real = {
    writeAvailable: exports[`${prefix}WriteAvailable`],
    writeUsed: exports[`${prefix}WriteUsed`],
    publish: exports[`${prefix}Publish`],
  } as RingSteps;
  const k: RingSteps = { ...real, ...fault(real) };
  const polledRecords = arena.allocate('polled', BURST * 8);
  // By id: the chain that is out under it. Chains published, and returns published, so far.
  const serialOf = new Map<number, number>();
  const returned = new Set<number>();
  let published = 0;
  let seen = 0;
  let polled = 0;

  /** A chain's first segment is `serial` bytes long, which names it. */
  function* drive(random: Random): Actor {
    while (polled < total) {
      adding.clear();
      const want = Math.min(1 + random.below(BURST), total - published);
      for (let i = 0; i < want; i++) {
        const segment = { address: buffers, length: published + i + 1 };
        adding.push([segment], random.below(2) === 0 ? [] : [{ address: buffers + SLOT_BYTES, length: 64 }]);
      }
      const added = k.writeAvailable(driver.address, adding.address, want);
      for (let i = 0; i < added; i++) serialOf.set(adding.id(i), published + i + 1);
      yield 'write';
      if (added > 0) {
        published += added;
        k.publish(driver.address, added);
        yield 'publish';
      }
      const n = driver.poll(polledRecords, BURST);
      for (let i = 0; i < n; i++) {
        const id = u32[(polledRecords >>> 2) + i * 2] as number;
        const serial = serialOf.get(id) ?? 0;
        if (!returned.delete(serial)) throw new Error(`chain ${serial} came back, not returned`);
        polled++;
      }
      yield n === 0 && added === 0 ? IDLE : 'poll';
    }
  }

  function* serve(random: Random): Actor {
    const held: [id: number, serial: number][] = [];
    while (seen < total || held.length > 0) {
      const n = device.take(taken, 1 + random.below(BURST));
      for (let i = 0; i < n; i++) {
        const { id, readable } = taken.at(i);
        const serial = readable[0]?.length ?? 0;
        if (serial > published) throw new Error(`took chain ${serial}, not published`);
        if (serial !== ++seen) throw new Error(`took chain ${serial} instead of ${seen}`);
        held.push([id, serial]);
      }
      yield n === 0 && held.length === 0 ? IDLE : 'take';
      const back = Math.min(held.length, random.below(BURST + 1));
      if (back === 0) continue;
      const serials: number[] = [];
      for (let i = 0; i < back; i++) {
        const [[id, serial]] = held.splice(random.below(held.length), 1) as [[number, number]];
        u32.set([id, 0], (records >>> 2) + i * 2);
        serials.push(serial);
      }
      k.writeUsed(device.address, records, back);
      yield 'write';
      for (const serial of serials) returned.add(serial);
      k.publish(device.address, back);
      yield 'publish';
    }
  }

  return new Simulation({
    name: `${layout} virtqueue`,
    steps: total * 4,
    setup({ random }) {
      device.reset();
      driver.reset();
      serialOf.clear();
      returned.clear();
      published = 0;
      seen = 0;
      polled = 0;
      return {
        actors: { driver: drive(random), device: serve(random) },
        invariant() {
          const codes = [driver.broken(), device.broken()];
          if (codes.some((code) => code !== 0)) throw new Error(`broken: ${codes.join(', ')}`);
          if (driver.free() > size || device.free() > size) throw new Error('more is free than there is');
        },
        finish() {
          if (driver.free() !== size || device.free() !== size) throw new Error('a chain was lost');
        },
      };
    },
  });
}
