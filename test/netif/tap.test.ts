import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { createArena } from '#build/memory/arena.js';
import {
  BUFFER_LENGTH,
  BUFFER_NEXT,
  BUFFER_OFFSET,
  BUFFER_REFERENCES,
  SLOT_FLAG_CHAINED,
  SLOT_FLAGS,
  SLOT_LENGTH,
  SLOT_OFFSET,
} from '#build/memory/layout.js';
import { createPool, type PoolKernels } from '#build/memory/pool.js';
import { TAP_BYTES, TAP_HEADER_BYTES, TAP_REFUSED } from '#build/netif/layout.js';
import { openRing, TapQueue } from '#build/netif/tap.js';
import { requireSockets, requireSys, sysAvailable } from '#build/sys/index.js';

const folder = mkdtempSync(join(tmpdir(), 'ringway-tap-'));
afterAll(() => rmSync(folder, { recursive: true }));
const isHere = sysAvailable();
// For a burst of the longest chains.
const BUFFERS = 4096;
let sockets = 0;

/** A queue that writes to a Unix socket, which stands for a tap: what was written, and what is wrong with it. */
function openQueue(withRing: boolean) {
  const { listen, connect, accept, receive } = requireSockets('the test');
  const { closeFd } = requireSys('the test');
  const path = join(folder, `${sockets++}.sock`);
  const listener = listen(path);
  const fd = connect(path) as number;
  const reader = accept(listener) as number;
  const arena = createArena({ bytes: 16 << 20, debug: true });
  const pool = createPool(arena, { buffers: BUFFERS, caches: 1 });
  const [cache = 0] = pool.caches;
  const address = arena.allocate('tap', TAP_BYTES);
  const ring = openRing(arena, address, arena.allocate('pages', 8192, 4096), fd);
  if (!withRing) arena.u8.fill(0, address + 28, address + 48);
  const queue = new TapQueue(arena, { queues: [{ fd, ring: withRing ? ring : -1, address }], offloads: 0 }, 0, cache);
  const read = (): Uint8Array => {
    const parts: Uint8Array[] = [];
    for (let got = receive(reader, 1 << 16); typeof got !== 'string'; got = receive(reader, 1 << 16))
      parts.push(got.data);
    return Buffer.concat(parts);
  };
  const close = (): void => {
    for (const each of [ring, reader, listener]) if (each !== -1) closeFd(each);
  };
  const kernels = arena.kernels<PoolKernels>();
  return { arena, pool, cache, address, queue, read, reader, close, kernels, hasRing: ring !== -1 };
}

type Queue = ReturnType<typeof openQueue>;

/** Makes a packet at `slot` of so many bytes in each of its buffers, each byte `value`. Returns what is to be written. */
function makePacket({ arena, cache, kernels }: Queue, slot: number, parts: readonly number[], value: number): Buffer {
  const scratch = arena.allocate('scratch', 16);
  let before = 0;
  for (const [i, bytes] of parts.entries()) {
    const at = i === 0 ? slot : scratch;
    kernels.poolAlloc(cache, at, 1);
    const buffer = arena.u32[at >>> 2] ?? 0;
    const offset = arena.u16[(at + SLOT_OFFSET) >>> 1] ?? 0;
    arena.u8.fill(value, buffer + offset, buffer + offset + bytes);
    if (i === 0) {
      arena.u16[(slot + SLOT_LENGTH) >>> 1] = bytes;
      if (parts.length > 1) arena.u8[slot + SLOT_FLAGS] = SLOT_FLAG_CHAINED;
    } else {
      arena.u16[(buffer + BUFFER_OFFSET) >>> 1] = offset;
      arena.u16[(buffer + BUFFER_LENGTH) >>> 1] = bytes;
      arena.u32[(buffer + BUFFER_REFERENCES) >>> 2] = 1;
      arena.u32[(before + BUFFER_NEXT) >>> 2] = buffer;
    }
    arena.u32[(buffer + BUFFER_NEXT) >>> 2] = 0;
    before = buffer;
  }
  arena.release('scratch');
  return Buffer.concat([
    Buffer.alloc(TAP_HEADER_BYTES),
    Buffer.alloc(
      parts.reduce((a, b) => a + b, 0),
      value,
    ),
  ]);
}

// Chains of up to 100 buffers: two of them have no room for their vectors in one burst.
const parts = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(fc.integer({ min: 14, max: 1500 })) },
  fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 100 }),
);
const bursts = fc.array(fc.array(parts, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 4 });

test.skipIf(!isHere).each([true, false])('packets are written whole and in order, in bursts: %s', (withRing) => {
  const all = openQueue(withRing);
  if (withRing && !all.hasRing) return;
  const slots = all.arena.allocate('slots', 512);
  fc.assert(
    fc.property(bursts, (list) => {
      for (const burst of list) {
        const expected = burst.map((each, i) => makePacket(all, slots + 16 * i, each, i + 1));
        expect(all.queue.send(slots, burst.length)).toBe(burst.length);
        expect(Buffer.compare(all.read(), Buffer.concat(expected))).toBe(0);
      }
      expect(all.queue.fault()).toBeUndefined();
      expect(all.pool.audit().free).toBe(BUFFERS);
    }),
    { numRuns: 60 },
  );
  all.close();
});

test.skipIf(!isHere).each([true, false])(
  'packets that are not taken are counted and freed, in bursts: %s',
  (withRing) => {
    const all = openQueue(withRing);
    if (withRing && !all.hasRing) return;
    const slots = all.arena.allocate('slots', 512);
    requireSys('the test').closeFd(all.reader);
    for (let i = 0; i < 3; i++) makePacket(all, slots + 16 * i, [60], 1);
    expect(all.queue.send(slots, 3)).toBe(3);
    expect(all.arena.u32[(all.address + TAP_REFUSED) >>> 2]).toBe(3);
    expect(all.queue.fault()).toBe('cannot write to it: EPIPE');
    expect(all.pool.audit().free).toBe(BUFFERS);
  },
);
