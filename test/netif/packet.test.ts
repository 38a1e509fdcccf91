import { expect, test } from 'vitest';
import { createArena } from '#build/memory/arena.js';
import { BUFFER_OFFLOAD_FLAGS, SLOT_FLAG_OFFLOAD, SLOT_FLAGS } from '#build/memory/layout.js';
import { createPool, type PoolKernels } from '#build/memory/pool.js';
import {
  FRAME_DATA,
  FRAME_LEN,
  FRAME_STATUS,
  PACKET_BYTES,
  PACKET_COPIED_MAX,
  PACKET_PLACE_BYTES,
  PACKET_PLACE_COUNT,
  PACKET_PLACES,
  SHORT_HEADER_BYTES,
  STATUS_SEND_REQUEST,
} from '#build/netif/layout.js';

interface Kernels extends PoolKernels {
  netifPacketSend(packet: number, cache: number, slots: number, count: number): number;
}

const PLACE_BYTES = 2048;
const PLACES = 4;
const NEEDS_CSUM = 1;

/** Sends one frame of `length` bytes, with the header words `words` if any. Returns its place. */
function send(length: number, words?: { flags: number; hdrLen: number; start: number; offset: number }): DataView {
  const arena = createArena({ bytes: 4 << 20, debug: true });
  const [cache = 0] = createPool(arena, { buffers: 256, caches: 1 }).caches;
  const { netifPacketSend, poolAlloc } = arena.kernels<Kernels>();
  const packet = arena.allocate('packet', PACKET_BYTES);
  const places = arena.allocate('places', PLACE_BYTES * PLACES);
  arena.u32[(packet + PACKET_PLACES) >>> 2] = places;
  arena.u32[(packet + PACKET_PLACE_BYTES) >>> 2] = PLACE_BYTES;
  arena.u32[(packet + PACKET_PLACE_COUNT) >>> 2] = PLACES;
  const slots = arena.allocate('slots', 512);
  poolAlloc(cache, slots, 1);
  const buffer = arena.u32[slots >>> 2] ?? 0;
  arena.u16[(slots + 6) >>> 1] = length;
  arena.u8.fill(0x5a, buffer + (arena.u16[(slots + 4) >>> 1] ?? 0), buffer + 256 + length);
  if (words !== undefined) {
    arena.u8[slots + SLOT_FLAGS] = SLOT_FLAG_OFFLOAD;
    const at = buffer + BUFFER_OFFLOAD_FLAGS;
    arena.u8[at] = words.flags;
    arena.u8[at + 1] = 0;
    for (const [i, value] of [words.hdrLen, 0, words.start, words.offset].entries()) {
      new DataView(arena.u8.buffer).setUint16(at + 2 + 2 * i, value, true);
    }
  }
  expect(netifPacketSend(packet, cache, slots, 1)).toBe(1);
  return new DataView(arena.u8.buffer, places, PLACE_BYTES);
}

const headerLength = (place: DataView): number => place.getUint16(FRAME_DATA + 2, true);

test.each([60, 61, PACKET_COPIED_MAX])('a frame of %i bytes is all header, so the system copies it', (length) => {
  const place = send(length);
  expect(place.getUint32(FRAME_STATUS, true)).toBe(STATUS_SEND_REQUEST);
  expect(place.getUint32(FRAME_LEN, true)).toBe(length + SHORT_HEADER_BYTES);
  expect(headerLength(place)).toBe(length);
  expect(place.getUint8(FRAME_DATA + SHORT_HEADER_BYTES + length - 1)).toBe(0x5a);
});

test.each([PACKET_COPIED_MAX + 1, 1514])('of a frame of %i bytes the system takes the pages', (length) => {
  expect(headerLength(send(length))).toBe(0);
});

test('a header longer than its frame, which a guest may claim, does not reach the system, which would refuse it', () => {
  for (const length of [60, 1514]) {
    const place = send(length, { flags: NEEDS_CSUM, hdrLen: 65535, start: 34, offset: 6 });
    expect(headerLength(place)).toBeLessThanOrEqual(length);
    expect(place.getUint8(FRAME_DATA)).toBe(NEEDS_CSUM);
    expect(place.getUint16(FRAME_DATA + 6, true)).toBe(34);
    expect(place.getUint16(FRAME_DATA + 8, true)).toBe(6);
  }
});
