import fc from 'fast-check';
import {
  BlockDevice,
  createDirtyLog,
  createRegionTable,
  createVirtqueueDevice,
  dirtyLogBytes,
  type GuestRegion,
  MockDriver,
  type VirtqueueLayout,
  type VirtqueueRings,
  virtqueueBytes,
} from 'ringway/virtio';
import { beforeAll, expect, test } from 'vitest';
import type { Arena } from '#build/memory/arena.js';
import { Random } from '#build/util/random.js';
import { testArena } from '../support/arena.ts';
import { effort } from '../support/effort.ts';
import { compileTraced } from '../support/kernels.ts';
import type { TracedArena } from '../support/traced.ts';
import { DeviceSide, frameOf, type NetQueueRigOptions } from './support/net-queue-rig.ts';

const PAGE = 4096;
/** Guest pages begin elsewhere than ours. */
const GUEST_OFFSET = 0x3200n;
const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];

let module: WebAssembly.Module;
beforeAll(async () => {
  module = await compileTraced({ folders: ['virtio', 'memory'] });
});

/** A log beside a driver's memory, and what it should say. */
class LogWatch {
  readonly log: number;
  readonly #arena: Arena;
  readonly #regions: readonly GuestRegion[];
  readonly #bitmap: number;
  readonly #bytes: number;

  constructor(arena: Arena, regions: readonly GuestRegion[]) {
    this.#arena = arena;
    this.#regions = regions;
    const ends = regions.map(({ guest, bytes }) => guest + BigInt(bytes));
    this.#bytes = dirtyLogBytes(ends.reduce((a, b) => (a > b ? a : b)));
    this.#bitmap = arena.allocate('bitmap', this.#bytes);
    const log = createDirtyLog(arena, 'log');
    log.set({ address: this.#bitmap, length: this.#bytes });
    this.log = log.address;
  }

  #copy(): Uint8Array[] {
    return this.#regions.map(({ address, bytes }) => this.#arena.u8.slice(address, address + bytes));
  }

  /** The guest pages that `step` changed, and those that were marked meanwhile, which are forgotten. */
  run(step: () => void): { changed: Set<number>; marked: Set<number> } {
    this.#arena.u8.fill(0, this.#bitmap, this.#bitmap + this.#bytes);
    const before = this.#copy();
    step();
    const after = this.#copy();
    const changed = new Set<number>();
    for (const [i, { guest }] of this.#regions.entries()) {
      const old = before[i] as Uint8Array;
      const now = after[i] as Uint8Array;
      for (let at = 0; at < old.length; at++) if (old[at] !== now[at]) changed.add((Number(guest) + at) >>> 12);
    }
    const marked = new Set<number>();
    for (let page = 0; page < this.#bytes * 8; page++) {
      if (((this.#arena.u8[this.#bitmap + (page >>> 3)] as number) >>> (page & 7)) & 1) marked.add(page);
    }
    return { changed, marked };
  }

  /** Fails when a page was changed and not marked, or is marked and not among `windows`, of arena addresses. */
  check(windows: readonly { address: number; length: number }[], step: () => void): number {
    const { changed, marked } = this.run(step);
    for (const page of changed) if (!marked.has(page)) throw new Error(`page ${page} was written and is not marked`);
    for (const page of marked) {
      const at = page * PAGE - Number(GUEST_OFFSET);
      if (!windows.some(({ address, length }) => address < at + PAGE && at < address + length)) {
        throw new Error(`page ${page} is marked, and nothing there is the device's to write`);
      }
    }
    return marked.size;
  }
}

/** What a device may write of a ring. */
function writableRing(layout: VirtqueueLayout, size: number, rings: VirtqueueRings) {
  const bytes = virtqueueBytes(layout, size);
  const areas = [{ address: rings.deviceArea, length: bytes.deviceArea }];
  return layout === 'split' ? areas : [...areas, { address: rings.descriptors, length: bytes.descriptors }];
}

/** Random frames in both directions through a net queue whose log is on. Returns pages marked. */
function traffic(options: NetQueueRigOptions, random: Random, steps: number): number {
  const { layout, size = 16 } = options;
  const side = new DeviceSide({ ...options, guestOffset: GUEST_OFFSET });
  const { driver, queue, net, arena } = side;
  const watch = new LogWatch(arena, driver.regions);
  queue.setLog(watch.log);
  const windows = [...writableRing(layout, size, driver.rings), driver.buffers];
  let pages = 0;
  for (let step = 0; step < steps; step++) {
    for (let i = random.below(4); i > 0; i--) {
      if (options.offloads === 1) driver.send([frameOf(80 + random.below(900))]);
      else driver.send([], random.below(2) === 0 ? [12 + random.below(3000)] : [13, random.below(1500), 40, 2000]);
    }
    pages += watch.check(windows, () => {
      if (options.offloads === 1) side.receive();
      else side.send(...Array.from({ length: 1 + random.below(4) }, () => frameOf(60 + random.below(4000), step)));
    });
    pages += watch.check(windows, () => queue.setNotify(random.below(2) === 0));
    driver.receive();
  }
  pages += watch.check(windows, () => net.detach());
  expect(side.broken()).toBe(0);
  side.finish();
  return pages;
}

const FORMS: readonly Partial<NetQueueRigOptions>[] = [
  {},
  { mergeable: true },
  { mergeable: true, indirect: 4, eventIdx: true },
  { inOrder: true, headerBytes: 20, eventIdx: true },
  // One way only: 1 stands for the checksum, which nobody asks for here.
  { offloads: 1 },
];

test.each(LAYOUTS.flatMap((layout) => FORMS.map((form) => [{ layout, ...form }] as const)))(
  '%j: what a device writes is marked, and nothing else',
  (options) => {
    fc.assert(
      fc.property(fc.integer({ min: 0 }), (seed) => {
        expect(traffic(options, new Random(seed), 40)).toBeGreaterThanOrEqual(40);
      }),
      { numRuns: effort(2, 4) },
    );
  },
);

test.each(LAYOUTS)('%s: a large ring is marked where it is written, round its end', (layout) => {
  const size = 1024;
  const side = new DeviceSide({ layout, size, guestOffset: GUEST_OFFSET });
  const { driver, queue, arena } = side;
  const watch = new LogWatch(arena, driver.regions);
  queue.setLog(watch.log);
  const windows = [...writableRing(layout, size, driver.rings), driver.buffers];
  let most = 0;
  for (let i = 0; i < 90; i++) {
    for (let n = 0; n < 24; n++) driver.send([], [100]);
    const all = Array.from({ length: 24 }, () => frameOf(80, i));
    const { changed, marked } = watch.run(() => side.send(...all));
    expect([...changed].filter((page) => !marked.has(page))).toEqual([]);
    most = Math.max(most, marked.size);
    watch.check(windows, () => {});
    driver.receive();
  }
  // 24 buffers, a page or two of the ring, the index.
  expect(most).toBeLessThan(24 * 2 + 4);
  side.finish();
});

test.each(LAYOUTS)('%s: bits are set by an atomic update, after what they stand for was written', (layout) => {
  const side = new DeviceSide({ layout, module, guestOffset: GUEST_OFFSET });
  const { driver, queue } = side;
  const arena = side.arena as TracedArena;
  const watch = new LogWatch(arena, driver.regions);
  queue.setLog(watch.log);
  const [bitmap = 0, bytes = 0] = arena.u32.subarray(watch.log >>> 2, (watch.log >>> 2) + 2);
  for (let i = 0; i < 6; i++) driver.send([], [1000, 1000]);
  const written = new Map<number, number>();
  const marked = new Map<number, number>();
  let now = 0;
  arena.onAccess((address, length, kind) => {
    now++;
    if (address >= bitmap && address < bitmap + bytes) {
      expect([kind, length]).toEqual(['atomic update', 1]);
      // Eight pages share a byte: the update is after the writes to any of them that went before.
      for (let bit = 0; bit < 8; bit++) marked.set((address - bitmap) * 8 + bit, now);
      return;
    }
    const region = driver.regions.find((each) => address >= each.address && address < each.address + each.bytes);
    if (region === undefined || kind.endsWith('load')) return;
    const guest = Number(region.guest) + address - region.address;
    for (let page = guest >>> 12; page <= (guest + length - 1) >>> 12; page++) written.set(page, now);
  });
  side.send(frameOf(900), frameOf(1200), frameOf(60));
  queue.setNotify(true);
  arena.onAccess();
  expect(written.size).toBeGreaterThan(3);
  for (const [page, at] of written) expect(marked.get(page)).toBeGreaterThan(at);
  side.finish();
});

test('pages behind the end of the log are not marked, and nothing is without one', () => {
  const side = new DeviceSide({ layout: 'split', guestOffset: GUEST_OFFSET });
  const { driver, queue, arena } = side;
  const log = createDirtyLog(arena, 'short');
  const bitmap = arena.allocate('bits', 64);
  const marked = (length: number): number[] => {
    log.set({ address: bitmap, length });
    arena.u8.fill(0, bitmap, bitmap + 64);
    for (let i = 0; i < 4; i++) driver.send([], [4000]);
    side.send(...Array.from({ length: 4 }, (_, i) => frameOf(1000, i)));
    driver.receive();
    return Array.from({ length: 512 }, (_, page) => page).filter(
      (page) => ((arena.u8[bitmap + (page >>> 3)] as number) >>> (page & 7)) & 1,
    );
  };
  queue.setLog(log.address);
  const all = marked(64);
  // The ring is below the buffers.
  const ring = Number(driver.guest(driver.rings.deviceArea)) >>> 12;
  expect([all[0], all.length]).toEqual([ring, expect.toSatisfy((pages: number) => pages > 4)]);
  expect(marked((ring >>> 3) + 1)).toEqual([ring]);
  expect(marked(ring >>> 3)).toEqual([]);
  expect(marked(0)).toEqual([]);
  queue.setLog(undefined);
  expect(marked(64)).toEqual([]);
  side.finish();
  expect(() => log.set({ address: arena.bytes - 8, length: 9 })).toThrow(/short: bitmap at \d+ with 9 bytes, must lie/);
});

test.each(LAYOUTS)('%s: a block device marks what it reads into', (layout) => {
  const arena = testArena();
  const image = arena.allocate('image', 64 * 512);
  arena.u8.fill(0x5a, image, image + 64 * 512);
  const ring = { name: 'q', layout, size: 16 };
  const driver = new MockDriver(arena, { ...ring, buffers: 32, bufferBytes: 8192, guestOffset: GUEST_OFFSET });
  const regions = createRegionTable(arena, 'regions');
  regions.set(driver.regions);
  const queue = createVirtqueueDevice(arena, { ...ring, rings: driver.rings, regions });
  const block = new BlockDevice(arena, { name: 'block', store: { address: image, bytes: 64 * 512 } });
  block.start(block.features, [queue], { usedBuffers: () => {}, needsReset: () => {} });
  const watch = new LogWatch(arena, driver.regions);
  queue.setLog(watch.log);
  const windows = [...writableRing(layout, 16, driver.rings), driver.buffers];
  for (let i = 0; i < 20; i++) {
    driver.send([new Uint8Array(16)], [4096, 512 * (i % 3), 1]);
    expect(watch.check(windows, () => block.notify(0))).toBeGreaterThan(1);
    driver.receive();
  }
  expect(block.stats.reads).toBe(20);
});
