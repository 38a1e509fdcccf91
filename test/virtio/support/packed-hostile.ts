// Chains of one burst on a ring, of which one is wrong, both ways.

import { expect } from 'vitest';
import { SLOT_EVENT, SLOT_FLOW, SLOT_SHIFT } from '#build/memory/layout.js';
import { VIRTQ_DESC_F_WRITE, VQ_BROKEN_ADDRESS, VQ_BROKEN_ID, VQ_BROKEN_ID_STATE } from '#build/virtio/layout.js';
import { frameOf, join, type NetQueueRigOptions, NO_DROPS } from './net-queue-rig.ts';
import { Burst, sizeOf } from './packed-burst.ts';
import { runAdd, runReceive, runSend } from './packed-net.ts';

export const HEADERS = [10, 12, 20] as const;
/** Chains of a burst, and the one that breaks a rule. */
export const COUNT = 12;
export const WRONG = 5;
export const FRAME = 60;
type Agreed = NetQueueRigOptions & { headerBytes: 10 | 12 | 20 };

type Change = (burst: Burst, headerBytes: number) => void;
const length =
  (of: (headerBytes: number) => number): Change =>
  (burst, headerBytes) =>
    burst.change(WRONG, { length: of(headerBytes) });
/** As `length`, at the start of the driver's buffers, which are side by side. */
const long =
  (bytes: number): Change =>
  (burst, headerBytes) => {
    const { driver } = burst.side;
    burst.change(WRONG, { guest: driver.guest(driver.buffers.address), length: headerBytes + bytes });
  };
const flip: Change = (burst) => burst.change(WRONG, { flags: burst.descriptor(WRONG).flags ^ VIRTQ_DESC_F_WRITE });
/** Address of the last `bytes` bytes of the driver's buffers. */
const end = ({ side: { driver } }: Burst, bytes: number): bigint =>
  driver.guest(driver.buffers.address + driver.buffers.length - bytes);

/** What breaks the queue: the code. */
export const BREAKS: readonly (readonly [what: string, change: Change, code: number])[] = [
  ['an id that is the size', (burst) => burst.rename(WRONG, sizeOf('packed')), VQ_BROKEN_ID],
  ['an id of 65535', (burst) => burst.rename(WRONG, 65_535), VQ_BROKEN_ID],
  ['an address of 0', (burst) => burst.change(WRONG, { guest: 0n }), VQ_BROKEN_ADDRESS],
  ['an address of 2^64 - 1', (burst) => burst.change(WRONG, { guest: 2n ** 64n - 1n }), VQ_BROKEN_ADDRESS],
  ['an address above 2^32', (burst) => burst.change(WRONG, { guest: end(burst, 4096) + 2n ** 32n }), VQ_BROKEN_ADDRESS],
  ['an end behind the region', (burst) => burst.change(WRONG, { guest: end(burst, 60) }), VQ_BROKEN_ADDRESS],
  ['a length of 2^32 - 1', length(() => 2 ** 32 - 1), VQ_BROKEN_ADDRESS],
  ['an id that is out already', (burst) => burst.rename(WRONG, burst.id(WRONG - 1)), VQ_BROKEN_ID_STATE],
];

interface Outcome {
  readonly lengths: readonly number[];
  readonly bad: number;
  readonly code: number;
}

/** What a device receives of a burst with one wrong chain, `max` chains a call. */
function receiveBurst(options: Agreed, change: Change, max: number): Outcome {
  const burst = new Burst(options);
  const { side } = burst;
  const frames = Array.from({ length: COUNT }, (_, i) => frameOf(FRAME, i));
  burst.add(...frames.map((frame) => join(new Uint8Array(options.headerBytes), frame)));
  change(burst, options.headerBytes);
  const got = Array.from({ length: COUNT + 2 }, () => side.receive(max)).flat();
  const wanted = got.length < COUNT ? frames.filter((_, i) => i < WRONG || i > WRONG) : frames;
  // The wrong one's bytes are whatever lies where it says.
  for (const [i, frame] of got.entries()) {
    if (got.length < COUNT || i !== WRONG) expect([...frame]).toEqual([...(wanted[i] as Uint8Array)]);
  }
  expect({ ...side.net.drops(), bad: 0 }).toEqual(NO_DROPS);
  const code = side.broken();
  side.finish();
  if (code === 0) expect(side.driver.receive()).toHaveLength(COUNT);
  return { lengths: got.map((frame) => frame.length), bad: side.net.drops().bad, code };
}

export function receiveUntilBroken(options: Agreed, [, change, code]: (typeof BREAKS)[number]): void {
  const lengths = Array(WRONG).fill(FRAME);
  for (const max of [32, 1]) expect(receiveBurst(options, change, max)).toEqual({ lengths, bad: 0, code });
}

/** The length of the frame that it becomes; undefined when it is refused. */
export const LENGTHS: readonly (readonly [what: string, change: Change, frame: number | undefined])[] = [
  ['no bytes', length(() => 0), undefined],
  ['less than the header', length((headerBytes) => headerBytes - 1), undefined],
  ['the header alone', length((headerBytes) => headerBytes), undefined],
  ['13 bytes of frame', length((headerBytes) => headerBytes + 13), undefined],
  ['14 bytes of frame', length((headerBytes) => headerBytes + 14), 14],
  ['what a buffer holds', length((headerBytes) => headerBytes + 1792), 1792],
  ['one more', length((headerBytes) => headerBytes + 1793), 1793],
  ['as much as a frame may have', long(65_550), 65_550],
  ['more than any frame', long(65_551), undefined],
  ['a buffer to write', flip, undefined],
  [
    'a header that asks for what was not agreed on',
    (burst) => burst.write(WRONG, Uint8Array.of(1, 1, 54, 0, 100, 0, 34, 0, 6, 0)),
    undefined,
  ],
];

export function receiveLength(options: Agreed, [, change, frame]: (typeof LENGTHS)[number]): void {
  const lengths: number[] = Array(COUNT).fill(FRAME);
  lengths.splice(WRONG, 1, ...(frame === undefined ? [] : [frame]));
  const expected = { lengths, bad: frame === undefined ? 1 : 0, code: 0 };
  // Something else was agreed on: with nothing at all no header is looked at.
  for (const max of [32, 1]) expect(receiveBurst({ ...options, offloads: 1 << 1 }, change, max)).toEqual(expected);
}

interface Sent {
  readonly sent: number;
  readonly arrived: number;
  readonly long: number;
  readonly code: number;
}

/** What arrives of frames that a device sends, `each` a call, to chains of which one is wrong. */
function sendBurst(options: Agreed, change: Change, each: number): Sent {
  const burst = new Burst(options);
  const { side } = burst;
  burst.add(...Array(COUNT).fill(2048));
  change(burst, options.headerBytes);
  let sent = 0;
  for (let i = 0; i < COUNT; i += each) {
    sent += side.send(...Array.from({ length: each }, (_, n) => frameOf(FRAME, i + n)));
  }
  const used = side.driver.receive();
  for (const [i, { bytes }] of used.entries()) {
    // In order a chain may come back as written in full, which to its driver is as long as it was.
    const end = options.headerBytes + FRAME;
    expect([...bytes.subarray(options.headerBytes, end)]).toEqual([...frameOf(FRAME, i)]);
    if (options.inOrder !== true) expect(bytes).toHaveLength(end);
  }
  const outcome = { sent, arrived: used.length, long: side.net.drops().long, code: side.broken() };
  side.finish();
  return outcome;
}

export function sendUntilBroken(options: Agreed, [, change, code]: (typeof BREAKS)[number]): void {
  expect(sendBurst(options, change, COUNT)).toEqual({ sent: WRONG, arrived: WRONG, long: 0, code });
  // Where chains are taken ahead, frame by frame or in a list, it breaks sooner, for the same reason: all frames stay their sender's.
  const none = { sent: 0, arrived: 0, long: 0, code };
  expect(sendBurst(options, change, 1)).toEqual(none);
  expect(sendBurst({ ...options, layout: 'split' }, change, COUNT)).toEqual(none);
  expect(sendBurst({ ...options, layout: 'split', mergeable: true }, change, COUNT)).toEqual(none);
}

/** The length of the frame that fits; undefined when none does. */
export const ROOMS: typeof LENGTHS = [
  ['no room', length(() => 0), undefined],
  ['less than the header', length((headerBytes) => headerBytes - 1), undefined],
  ['one byte too few', length((headerBytes) => headerBytes + FRAME - 1), undefined],
  ['a buffer to read', flip, undefined],
  ['just enough', length((headerBytes) => headerBytes + FRAME), FRAME],
  ['more than a buffer', length(() => 5000), FRAME],
];

export function sendRoom(options: Agreed, [, change, frame]: (typeof ROOMS)[number]): void {
  // The chain stays the next one, and nothing after it gets through.
  const arrived = frame === undefined ? WRONG : COUNT;
  const expected = { sent: COUNT, arrived, long: COUNT - arrived, code: 0 };
  expect([sendBurst(options, change, COUNT), sendBurst(options, change, 1)]).toEqual([expected, expected]);
}

/** Sends to buffers with all kinds of headers in them. */
export function sendOver(headerBytes: 10 | 12 | 20, module?: WebAssembly.Module): void {
  const right = new Uint8Array(headerBytes);
  if (headerBytes > 10) right[10] = 1;
  if (headerBytes === 20) right.set([4, 3, 2, 1, 2, 0], 12);
  const flipped = Array.from(right, (_, i) => right.map((byte, at) => (at === i ? byte ^ 1 : byte)));
  const three = right.map((byte, at) => (at === 10 ? 3 : byte));
  const all = [right, new Uint8Array(headerBytes), right.map(() => 255), three, ...flipped];
  for (const layout of ['packed', 'split'] as const) {
    // At once, and fewer than make a burst.
    for (const each of [all.length, 1]) {
      const burst = new Burst({ layout, headerBytes, module });
      const { side } = burst;
      burst.add(...all.map(() => 2048));
      for (const [i, garbage] of all.entries()) burst.write(i, garbage);
      for (let i = 0; i < all.length; i += each) {
        expect(side.fill(...Array.from({ length: each }, (_, n) => frameOf(FRAME, i + n)))).toBe(each);
        for (let slot = side.slots; slot < side.slots + (each << SLOT_SHIFT); slot += 1 << SLOT_SHIFT) {
          side.arena.u32[(slot + SLOT_FLOW) >>> 2] = 0x0102_0304;
          side.arena.u16[(slot + SLOT_EVENT) >>> 1] = 2;
        }
        expect(side.net.send(side.slots, each)).toBe(each);
      }
      const got = side.driver.receive().map(({ bytes }) => [...bytes]);
      expect(got).toEqual(all.map((_, i) => [...right, ...frameOf(FRAME, i)]));
      side.finish();
    }
  }
}

/** Bursts of all that a ring of 7 holds, and more, round and round. */
function lap(module: WebAssembly.Module): void {
  const options = { layout: 'packed', size: 7, module } as const;
  const packets = Array.from({ length: 12 }, () => ({ kind: 'plain', length: FRAME }) as const);
  const chains = packets.map(({ length }) => ({ length, lengths: [] }));
  runReceive(options, Array(9).fill({ chains, max: 5 }));
  runSend({ ...options, size: 50 }, Array(9).fill({ rooms: Array(60).fill([2048]), packets }));
  runAdd(options, Array(9).fill({ packets, take: 5, give: 5, from: 0 }));
}

/** All of it, over kernels that may have a fault. */
export function searchFault(module: WebAssembly.Module): void {
  const options = { layout: 'packed', headerBytes: 12, module } as const;
  lap(module);
  for (const each of BREAKS) receiveUntilBroken(options, each);
  for (const each of LENGTHS) receiveLength(options, each);
  for (const each of BREAKS) sendUntilBroken(options, each);
  for (const each of ROOMS) sendRoom(options, each);
  sendOver(12, module);
}
