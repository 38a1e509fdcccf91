// What passes through a net queue that works by the burst, held against lists: frames of any form, both ways.

import type { MockChain } from 'ringway/virtio';
import { expect } from 'vitest';
import {
  BUFFER_DATA_MIN,
  BUFFER_HEADROOM,
  BUFFER_OFFLOAD_FLAGS,
  SLOT_EVENT,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
  SLOT_FLOW,
  SLOT_LENGTH,
  SLOT_OFFSET,
  SLOT_SHIFT,
} from '#build/memory/layout.js';
import { cut, DeviceSide, DriverSide, frameOf, join, type NetQueueRigOptions, NO_DROPS } from './net-queue-rig.ts';

/** Around what copies and checks of one frame distinguish. */
export const LENGTHS = [14, 15, 16, 17, 32, 33, 63, 64, 65, 1500, 1792] as const;

/** A packet of one buffer; with offloads; held by somebody else too; with too little headroom; of several buffers. */
export type PacketKind = 'plain' | 'offload' | 'shared' | 'low' | 'chained';

export interface Packet {
  readonly kind: PacketKind;
  readonly length: number;
}

/** What a driver sends: frames, each cut into buffers of these lengths and one for the rest; then one call takes up to `max`. */
export interface ReceiveStep {
  readonly chains: readonly { readonly length: number; readonly lengths: readonly number[] }[];
  readonly max: number;
}

/** What a device sends: one call for all `packets`, after the driver has given chains of these buffers. */
export interface SendStep {
  readonly rooms: readonly (readonly number[])[];
  readonly packets: readonly Packet[];
}

/** What a driver sends in one call; then the device takes up to `take` chains and returns up to `give`, from `from` on. */
export interface AddStep {
  readonly packets: readonly Packet[];
  readonly take: number;
  readonly give: number;
  readonly from: number;
}

/** NEEDS_CSUM, TCPV4, gso_size 100, csum_start 34, csum_offset 6. */
const OFFLOAD = Uint8Array.of(1, 1, 54, 0, 100, 0, 34, 0, 6, 0);

const expectSame = (got: Uint8Array | undefined, wanted: Uint8Array | undefined): void => {
  // Much faster than to compare elements, where nothing is wrong.
  if (got === undefined || wanted === undefined || Buffer.compare(got, wanted) !== 0) expect(got).toEqual(wanted);
};

/** Ids that are out, in the order in which they went out. */
class OutIds {
  readonly #ids: number[] = [];

  add(id: number): void {
    expect(this.#ids).not.toContain(id);
    this.#ids.push(id);
  }

  /** One came back: the first of all, or any. */
  remove(id: number, isFirst: boolean): void {
    const at = isFirst ? 0 : this.#ids.indexOf(id);
    expect(this.#ids[at]).toBe(id);
    this.#ids.splice(at, 1);
  }

  get count(): number {
    return this.#ids.length;
  }
}

/** A driver sends to a device. */
export function runReceive(options: NetQueueRigOptions, steps: readonly ReceiveStep[]): void {
  const { headerBytes = 12, size = 16 } = options;
  const side = new DeviceSide(options);
  const { driver } = side;
  const out = new OutIds();
  const frames: Uint8Array[] = [];
  let seed = 0;
  const collect = (): void => {
    for (let used = driver.receive(); used.length > 0; used = driver.receive()) {
      for (const { id, bytes } of used) {
        out.remove(id, true);
        expect(bytes).toHaveLength(0);
      }
    }
  };
  const receive = (max: number): void => {
    const got = side.receive(max);
    expect(got.length).toBeLessThanOrEqual(max);
    for (const frame of got) expectSame(frame, frames.shift());
  };
  for (const { chains, max } of steps) {
    for (const { length, lengths } of chains) {
      const frame = frameOf(length, ++seed);
      // Nothing was agreed on, so that no header is looked at.
      const bytes = join(frameOf(headerBytes, seed), frame);
      const id = driver.send(lengths.length < size ? cut(bytes, lengths) : [bytes]);
      if (id === undefined) break;
      out.add(id);
      frames.push(frame);
    }
    receive(max);
    collect();
  }
  // Each call moves something, if only the last chains back.
  for (let left = frames.length; left > 0 && frames.length > 0; left--) receive(32);
  expect([frames.length, side.broken(), driver.queue.broken(), side.net.drops()]).toEqual([0, 0, 0, NO_DROPS]);
  side.finish();
  collect();
  expect([out.count, driver.outstanding]).toEqual([0, 0]);
}

/** Puts packets into the slots, as their kinds say, and passes them to `send`. Returns the messages that it took. */
function sendPackets(
  side: DeviceSide | DriverSide,
  headerBytes: number,
  packets: readonly Packet[],
  seed: number,
  extra: number,
  send: (count: number) => number,
): { readonly header: Uint8Array; readonly frame: Uint8Array }[] {
  const { arena, slots } = side;
  const frames = packets.map(({ length }, i) => frameOf(length, seed + i));
  const n = side.fill(...frames);
  const shared: Uint8Array[] = [];
  const messages = frames.slice(0, n).map((frame, i) => {
    const slot = slots + (i << SLOT_SHIFT);
    const buffer = arena.u32[slot >>> 2] as number;
    const header = new Uint8Array(headerBytes);
    // `steer` leaves a hash and its kind there, for headers of 20 bytes.
    arena.u32[(slot + SLOT_FLOW) >>> 2] = 0x0102_0304 * (seed + i);
    arena.u16[(slot + SLOT_EVENT) >>> 1] = i;
    if (headerBytes === 20) {
      header.set(arena.u8.subarray(slot + SLOT_FLOW, slot + SLOT_FLOW + 4), 12);
      header.set(arena.u8.subarray(slot + SLOT_EVENT, slot + SLOT_EVENT + 2), 16);
    }
    const { kind } = packets[i] as Packet;
    if (kind === 'offload') {
      arena.u8.set(OFFLOAD, buffer + BUFFER_OFFLOAD_FLAGS);
      (arena.u8[slot + SLOT_FLAGS] as number) |= SLOT_FLAG_OFFLOAD;
      header.set(OFFLOAD);
    } else if (kind === 'shared') {
      side.kernels.poolShare(slot, 1);
      shared.push(arena.u8.slice(slot, slot + (1 << SLOT_SHIFT)));
    } else if (kind === 'low') {
      const offset = BUFFER_DATA_MIN + headerBytes - 1;
      const length = arena.u16[(slot + SLOT_LENGTH) >>> 1] as number;
      arena.u8.copyWithin(buffer + offset, buffer + BUFFER_HEADROOM, buffer + BUFFER_HEADROOM + length);
      arena.u16[(slot + SLOT_OFFSET) >>> 1] = offset;
    }
    return { header, frame };
  });
  const sent = send(n);
  side.free(n - sent, sent);
  // Who else holds them lets go of them last, and finds them as they were.
  for (const words of shared) {
    arena.u8.set(words, extra);
    const at = new DataView(words.buffer).getUint32(0, true) + BUFFER_HEADROOM;
    const length = new DataView(words.buffer).getUint16(SLOT_LENGTH, true);
    const bytes = arena.u8.slice(at, at + length);
    expect(frames.some((frame) => Buffer.compare(frame, bytes) === 0)).toBe(true);
    side.kernels.poolFree(side.cache, extra, 1);
  }
  return messages.slice(0, sent);
}

/** A device sends to a driver. */
export function runSend(options: NetQueueRigOptions, steps: readonly SendStep[]): void {
  const { headerBytes = 12, mergeable = false, size = 16 } = options;
  const side = new DeviceSide(options);
  const { driver, arena } = side;
  const extra = arena.allocate('extra slot', 1 << SLOT_SHIFT);
  const out = new OutIds();
  let seed = 1;
  // Headers of other frames, and no headers at all.
  arena.u8.set(frameOf(driver.buffers.length), driver.buffers.address);
  for (const { rooms, packets } of steps) {
    for (const room of rooms) {
      const id = driver.send([], room.length > size ? [4096] : room);
      if (id === undefined) break;
      out.add(id);
    }
    const messages = sendPackets(side, headerBytes, packets, seed, extra, (n) => side.net.send(side.slots, n));
    seed += packets.length;
    const used: Uint8Array[] = [];
    for (let some = driver.receive(); some.length > 0; some = driver.receive()) {
      for (const { id, bytes } of some) {
        out.remove(id, true);
        used.push(bytes);
      }
    }
    for (const { header, frame } of messages) {
      const first = used[0] ?? new Uint8Array(12);
      const count = mergeable ? (first[10] as number) | ((first[11] as number) << 8) : 1;
      if (headerBytes > 10) header.set([count & 255, count >> 8], 10);
      expectSame(join(...used.splice(0, count)), join(header, frame));
    }
    expect(used).toEqual([]);
  }
  expect([side.broken(), driver.queue.broken(), side.net.drops()]).toEqual([0, 0, NO_DROPS]);
  side.finish();
  expect([driver.receive(), driver.outstanding]).toEqual([[], out.count]);
}

/** A driver sends to a device that returns what it has when it likes. */
export function runAdd(options: NetQueueRigOptions, steps: readonly AddStep[]): void {
  const { headerBytes = 12, inOrder = false, size = 16 } = options;
  const side = new DriverSide(options);
  const { device, arena } = side;
  const extra = arena.allocate('extra slot', 1 << SLOT_SHIFT);
  const messages: Uint8Array[] = [];
  const held: MockChain[] = [];
  let seed = 1;
  const take = (max: number): void => {
    for (const chain of device.take(max)) {
      expectSame(chain.bytes, messages.shift());
      expect(held.map(({ id }) => id)).not.toContain(chain.id);
      held.push(chain);
    }
  };
  for (const { packets: all, take: most, give, from } of steps) {
    // Three buffers do not fit the smallest ring.
    const packets = all.filter(({ kind }) => kind !== 'chained' || size >= 3);
    const sent = sendPackets(side, headerBytes, packets, seed, extra, (n) => side.net.send(side.slots, n));
    seed += packets.length;
    messages.push(...sent.map(({ header, frame }) => join(header, frame)));
    take(most);
    const chains = held.splice(inOrder || held.length === 0 ? 0 : from % held.length, give);
    expect(device.return(...chains.map((chain) => ({ chain })))).toBe(chains.length);
  }
  while (messages.length > 0) {
    const left = messages.length;
    take(32);
    expect(messages.length).toBeLessThan(left);
  }
  expect([side.broken(), device.queue.broken(), side.net.drops()]).toEqual([0, 0, NO_DROPS]);
  side.finish();
}
