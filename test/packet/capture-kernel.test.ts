import fc from 'fast-check';
import { createPool, type PoolKernels } from 'ringway/memory';
import type { PacketKernels } from 'ringway/packet';
import { expect, test } from 'vitest';
import * as memory from '#build/memory/layout.js';
import { CaptureScanner } from '#build/packet/capture-scanner.js';
import { testArena } from '../support/arena.ts';
import { pcapFile } from './support/capture-files.ts';

const BURST = 32;

/** An arena with a pool of `buffers`, a window of a file, records, a burst and a stage to append to. */
function capturePort(buffers: number, file: Uint8Array) {
  const arena = testArena();
  const pool = createPool(arena, { buffers, caches: 1 });
  const cache = pool.caches[0] ?? 0;
  const window = arena.allocate('window', file.length);
  arena.u8.set(file, window);
  const records = arena.allocate('records', BURST * 32);
  const slots = arena.allocate('slots', BURST * 16);
  const kernels = arena.kernels<PacketKernels & PoolKernels>();
  const scanner = new CaptureScanner();
  let at = window;
  return {
    arena,
    pool,
    slots,
    kernels,
    free: (count: number): void => kernels.poolFree(cache, slots, count),
    scan(): number {
      const n = scanner.scan(arena.u8, at, window + file.length, arena.u32, records >>> 2, BURST);
      at += scanner.consumed;
      return n;
    },
    load: (count: number): number => kernels.packetCaptureLoad(cache, records, count, 0, slots),
    word: (slot: number, offset: number): number => arena.u32[(slots + slot * 16 + offset) >>> 2] ?? 0,
  };
}

const record = fc.record({
  seconds: fc.nat(),
  fraction: fc.integer({ min: 0, max: 999_999_999 }),
  wireLength: fc.integer({ min: 10_000, max: 0xffffffff }),
  frame: fc
    .tuple(fc.oneof(fc.nat(100), fc.nat(6000), fc.constantFrom(0, 1, 1791, 1792, 1793, 3584)), fc.nat(255))
    .map(([length, seed]) => Uint8Array.from({ length }, (_, i) => seed + i)),
});

test('what is loaded and appended is the file again, whatever the room', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 40 }), fc.integer({ min: 6016, max: 40_000 }), (list, room) => {
      const file = pcapFile(true, list, { magic: 0xa1b23c4d });
      const port = capturePort(256, file);
      const { arena, slots, kernels } = port;
      const stage = arena.allocate('stage', room);
      const used = arena.allocate('used', 4);
      const out = [file.slice(0, 24)];
      for (let n = port.scan(); n > 0; n = port.scan()) {
        expect(port.load(n)).toBe(n);
        for (let done = 0; done < n; ) {
          const took = kernels.packetPcapAppend(slots + done * 16, n - done, stage, room, 1, 2, used);
          expect(took).toBeGreaterThan(0);
          out.push(arena.u8.slice(stage, stage + (arena.u32[used >>> 2] ?? 0)));
          done += took;
        }
        port.free(n);
      }
      expect(Buffer.concat(out).equals(file)).toBe(true);
      expect(arena.damaged()).toEqual([]);
      expect(port.pool.audit()).toEqual({ buffers: 256, free: 256, inFlight: 0 });
    }),
    { numRuns: 40 },
  );
});

test('an exhausted pool loads what it can and loses nothing', () => {
  const list = Array.from({ length: 32 }, (_, n) => ({
    seconds: n,
    fraction: 0,
    wireLength: 1,
    // The 11th and the 17th packet take 30 buffers each.
    frame: new Uint8Array(n === 10 || n === 16 ? 30 * 1792 : 60).fill(n),
  }));
  const port = capturePort(64, pcapFile(true, list));
  expect(port.scan()).toBe(32);
  const loaded = port.load(32);
  // 32 first buffers, 29 more for the 11th; the 17th finds 3.
  expect(loaded).toBe(16);
  expect(port.pool.audit().inFlight).toBe(16 + 29);
  port.free(loaded);
  expect(port.pool.audit()).toEqual({ buffers: 64, free: 64, inFlight: 0 });
});

test('the longest frame that a capture can hold fits a chain', () => {
  const longest = 262_144;
  const list = [{ seconds: 1, fraction: 0, wireLength: longest + 1, frame: new Uint8Array(longest).fill(7) }];
  const port = capturePort(256, pcapFile(true, list));
  port.scan();
  expect(port.load(1)).toBe(1);
  expect(port.kernels.memoryFrameLength(port.slots)).toBe(longest);
  const buffer = port.word(0, memory.SLOT_BUFFER);
  expect(port.arena.u32[(buffer + memory.BUFFER_WIRE_LENGTH) >>> 2]).toBe(longest + 1);
  port.free(1);
  expect(port.pool.audit().inFlight).toBe(0);
});

test('packets without a time get the one that is passed; those that grew are longer on the wire too', () => {
  const port = capturePort(
    64,
    pcapFile(
      true,
      [1, 2].map((n) => ({ seconds: n, fraction: 3, wireLength: 4, frame: new Uint8Array(8) })),
    ),
  );
  const { arena, slots, kernels } = port;
  expect(port.load(port.scan())).toBe(2);
  arena.u8[slots + memory.SLOT_FLAGS] = 0;
  const stage = arena.allocate('stage', 48);
  const used = arena.allocate('used', 4);
  expect(kernels.packetPcapAppend(slots, 2, stage, 48, 77, 88, used)).toBe(2);
  const words = Array.from(arena.u32.subarray(stage >>> 2, (stage >>> 2) + 12));
  expect(words).toEqual([77, 88, 8, 8, 0, 0, 2, 3000, 8, 8, 0, 0]);
  for (const room of [0, 15, 23, 24, 47]) {
    expect(kernels.packetPcapAppend(slots, 2, stage, room, 77, 88, used)).toBe(room < 24 ? 0 : 1);
    expect(arena.u32[used >>> 2]).toBe(room < 24 ? 0 : 24);
  }
  port.free(2);
});
