import type { VirtqueueLayout } from 'ringway/virtio';
import { beforeAll, expect, test } from 'vitest';
import { compileTraced } from '../support/kernels.ts';
import { builtModule, type TracedArena } from '../support/traced.ts';
import { cut, DeviceSide, DriverSide, frameOf, join, NO_DROPS } from './support/net-queue-rig.ts';
import { inside } from './support/watch.ts';

const LAYOUTS: readonly VirtqueueLayout[] = ['split', 'packed'];
/** Of drivers: their buffers are the device's to write, or frames are copied through areas. */
const DRIVERS = LAYOUTS.flatMap((layout) => [[layout, 'zero copy', false] as const, [layout, 'areas', true] as const]);
const HEADER = 12;
const plain = new Uint8Array(HEADER);
const message = (frame: Uint8Array, header: Uint8Array = plain): Uint8Array => join(header, frame);

/** A header with flags, gso_type, and the rest of what 5.1.6 has before num_buffers. */
const offload = (flags: number, gso: number): Uint8Array => Uint8Array.of(flags, gso, 54, 0, 100, 0, 34, 0, 6, 0, 0, 0);

/** Sends frame by frame, and ends the queue between them, all around the ring. */
function putBackAround(layout: VirtqueueLayout, module?: WebAssembly.Module): void {
  const side = new DeviceSide({ layout, module });
  const { driver, net } = side;
  for (let i = 0; i < 16; i++) expect(driver.send([], [2000])).toBeDefined();
  for (let round = 0; round < 40; round++) {
    const frame = frameOf(60 + round, round);
    expect(side.send(frame)).toBe(1);
    // 15 more were taken.
    net.detach();
    expect(driver.receive().map(({ bytes }) => [...bytes.subarray(HEADER)])).toEqual([[...frame]]);
    expect(driver.send([], [2000])).toBeDefined();
  }
  expect(side.successor().take()).toHaveLength(16);
  side.finish();
}

test.each(LAYOUTS)('%s: what was taken ahead is there again for who comes after', (layout) => {
  putBackAround(layout);
});

test.each(LAYOUTS)('%s: what was received from comes back when the queue ends', (layout) => {
  const side = new DeviceSide({ layout });
  for (let i = 0; i < 5; i++) side.driver.send([message(frameOf(100, i))]);
  expect(side.receive()).toHaveLength(5);
  expect(side.driver.receive()).toEqual([]);
  side.finish();
  expect(side.driver.receive()).toHaveLength(5);
  expect(side.successor().take()).toEqual([]);
});

test.each(LAYOUTS)('%s: chains come back by the burst, or after eight polls that find nothing', (layout) => {
  const side = new DeviceSide({ layout, size: 64 });
  const { driver } = side;
  const sendSome = (n: number): void => {
    for (let i = 0; i < n; i++) driver.send([message(frameOf(100, i))]);
  };
  sendSome(3);
  expect(side.receive()).toHaveLength(3);
  for (let poll = 0; poll < 7; poll++) expect([side.receive().length, driver.receive().length]).toEqual([0, 0]);
  expect([side.receive().length, driver.receive().length]).toEqual([0, 3]);
  sendSome(31);
  expect([side.receive().length, driver.receive().length]).toEqual([31, 0]);
  sendSome(1);
  expect([side.receive().length, driver.receive().length]).toEqual([1, 32]);
  side.finish();
});

test.each(DRIVERS)(
  '%s, %s: a driver takes back what was sent when a quarter of the ring is left',
  (layout, _, bounce) => {
    const side = new DriverSide({ layout, bounce });
    const { device } = side;
    expect(side.send(...Array.from({ length: 10 }, (_, i) => frameOf(60, i)))).toBe(10);
    const chains = device.take();
    expect(chains.map(({ bytes }) => [...bytes])).toEqual(chains.map((_, i) => [...message(frameOf(60, i))]));
    device.return(...chains.map((chain) => ({ chain })));
    // Left before the call: 6, 5, 4.
    const left = [11, 12, 13].map((i) => {
      side.send(frameOf(60, i));
      return side.unused();
    });
    expect(left).toEqual([5, 4, 13]);
    side.finish();
  },
);

const SHAPES: readonly (readonly [what: string, lengths: readonly number[], headerBytes?: 10 | 12])[] = [
  ['header and frame in one', []],
  ['the header alone', [12]],
  ['the header cut', [5]],
  ['the header in three, the last with frame', [1, 2]],
  ['the frame cut', [12, 1, 13]],
  ['a buffer of no bytes before all', [0, 12]],
  ['a buffer of no bytes in the header', [6, 0, 6]],
  ['a buffer of no bytes in the frame', [20, 0]],
  ['a legacy header of 10 bytes', [], 10],
  ['a legacy header that is cut', [9, 2], 10],
];

const shaped = LAYOUTS.flatMap((layout) =>
  [0, 4].flatMap((indirect) =>
    SHAPES.map(([what, lengths, headerBytes = 12]) => [layout, indirect, what, lengths, headerBytes] as const),
  ),
);

test.each(shaped)('%s, tables of %i: a frame arrives whole with %s', (layout, indirect, _, lengths, headerBytes) => {
  const side = new DeviceSide({ layout, headerBytes, ...(indirect === 0 ? {} : { indirect }) });
  // Of one buffer, and of three.
  for (const length of [14, 60, 1514, 4000]) {
    const frame = frameOf(length, length);
    const bytes = message(frame, new Uint8Array(headerBytes));
    expect(side.driver.send(cut(bytes, lengths))).toBeDefined();
    expect(side.receive().map((got) => Buffer.compare(got, frame))).toEqual([0]);
  }
  expect(side.net.drops()).toEqual(NO_DROPS);
  side.finish();
});

/** Sends frames that are refused between frames that are not. */
function refuse(layout: VirtqueueLayout, module?: WebAssembly.Module): void {
  // Something else was agreed on: with nothing at all no header is looked at.
  const side = new DeviceSide({ layout, size: 32, offloads: 1 << 1, module });
  const good = frameOf(60);
  const long = (length: number): readonly Uint8Array[] => cut(message(frameOf(length)), Array(16).fill(4096));
  const bad: readonly (readonly Uint8Array[])[] = [
    [plain.subarray(0, 1)],
    [plain.subarray(0, 11)],
    [plain],
    [message(frameOf(13))],
    [plain, frameOf(13)],
    long(65_551),
    [message(good, offload(1, 0))],
    [message(good, offload(1, 1))],
    [message(good, offload(0, 4))],
    [plain.subarray(0, 4), join(plain.subarray(0, 8), frameOf(13))],
  ];
  for (const [i, pieces] of bad.entries()) {
    side.driver.send(pieces);
    side.driver.send([message(good)]);
    expect(side.receive().map((frame) => [...frame])).toEqual([[...good]]);
    expect(side.net.drops()).toEqual({ ...NO_DROPS, bad: i + 1 });
    side.net.detach();
    expect(side.driver.receive()).toHaveLength(2);
  }
  side.driver.send(long(65_550));
  expect(side.receive().map(({ length }) => length)).toEqual([65_550]);
  side.finish();
}

test.each(LAYOUTS)('%s: what is too short, too long, or asks for what was not agreed on is refused', (layout) => {
  refuse(layout);
});

test.each(LAYOUTS)('%s: when nothing was agreed on, what a header asks for is ignored', (layout) => {
  const side = new DeviceSide({ layout, size: 32 });
  const good = frameOf(60);
  const whole = message(good, offload(1, 1));
  for (const pieces of [[whole], cut(whole, [5, 7, 60])]) {
    side.driver.send(pieces);
    expect(side.receive().map((frame) => [...frame])).toEqual([[...good]]);
  }
  expect(side.net.drops()).toEqual(NO_DROPS);
  side.net.detach();
  side.finish();
});

test('what was agreed on is kept, when it lies in the frame', () => {
  const side = new DeviceSide({ layout: 'packed', offloads: 1 | (1 << 1) });
  const send = (header: Uint8Array): boolean | undefined => {
    side.driver.send([message(frameOf(60), header)]);
    const n = side.net.receive(side.slots, 32);
    const kept = n === 0 ? undefined : side.isOffload(0);
    side.free(n);
    return kept;
  };
  // csum_start 34 and csum_offset 6: NEEDS_CSUM, TCPV4, TCPV4 without NEEDS_CSUM, TCPV6, a type that is not, DATA_VALID.
  const headers = [offload(1, 0), offload(1, 1), offload(0, 1), offload(1, 4), offload(1, 9), offload(2, 0)];
  expect(headers.map(send)).toEqual([true, true, undefined, undefined, undefined, false]);
  const end = (start: number): Uint8Array => Uint8Array.of(1, 0, 0, 0, 0, 0, start, 0, 6, 0, 0, 0);
  expect([52, 53].map((start) => send(end(start)))).toEqual([true, undefined]);
  side.finish();
});

test.each(LAYOUTS)('%s: a device without buffers loses frames, and nothing else', (layout) => {
  const side = new DeviceSide({ layout, size: 32, left: 8 });
  const { driver, net } = side;
  for (let i = 0; i < 12; i++) driver.send([message(frameOf(100, i))]);
  const n = net.receive(side.slots, 32);
  expect([n, net.drops()]).toEqual([8, { ...NO_DROPS, empty: 4 }]);
  expect(side.frames(n).map((frame) => [...frame])).toEqual(Array.from({ length: 8 }, (_, i) => [...frameOf(100, i)]));
  // One that takes more buffers than there are gives back those that it had.
  driver.send(cut(message(frameOf(20_000)), Array(5).fill(4096)));
  driver.send([message(frameOf(100))]);
  expect(side.receive().map(({ length }) => length)).toEqual([100]);
  expect(net.drops()).toEqual({ ...NO_DROPS, empty: 5 });
  side.finish();
  expect(driver.receive()).toHaveLength(14);
});

test.each(LAYOUTS)('%s: a driver without buffers gives the device as many as there are', (layout) => {
  const side = new DriverSide({ layout, left: 8 });
  const { device } = side;
  expect(side.receive()).toEqual([]);
  const chains = device.take();
  expect(chains).toHaveLength(8);
  device.return(...chains.map((chain, i) => ({ chain, bytes: message(frameOf(60, i), plain) })));
  const n = side.net.receive(side.slots, 32);
  expect([n, device.take()]).toEqual([8, []]);
  expect(side.frames(n)).toHaveLength(8);
  side.receive();
  expect(device.take()).toHaveLength(8);
  side.finish();
});

const header = (buffers: number): Uint8Array => Uint8Array.of(...plain.subarray(0, 10), buffers & 255, buffers >> 8);

test.each(LAYOUTS)('%s: frames of several chains each go with one publication a burst', (layout) => {
  const side = new DeviceSide({ layout, size: 64, mergeable: true, module: builtModule() });
  const { driver, queue } = side;
  for (let i = 0; i < 40; i++) driver.send([], [1000]);
  const frames = [2000, 60, 1500, 3900, 988, 989].map((length, i) => frameOf(length, i));
  const rings = driver.regions.slice(1);
  const published: number[] = [];
  (side.arena as TracedArena).onAccess((address, bytes, kind) => {
    if (kind === 'atomic store' && inside(rings, address, bytes)) published.push(address);
  });
  queue.setNotify(false);
  published.length = 0;
  expect(side.send(...frames)).toBe(6);
  expect(published).toHaveLength(1);
  const used = driver.receive().map(({ bytes }) => bytes);
  const counts = [3, 1, 2, 4, 1, 2];
  expect(used).toHaveLength(13);
  for (const [i, frame] of frames.entries()) {
    const from = counts.slice(0, i).reduce((sum, n) => sum + n, 0);
    const whole = join(...used.slice(from, from + (counts[i] as number)));
    expect(whole.subarray(10, 12)).toEqual(Uint8Array.of(counts[i] as number, 0));
    expect(Buffer.compare(whole.subarray(HEADER), frame)).toBe(0);
  }
  side.finish();
});

test.each(LAYOUTS)('%s: a frame that one chain cannot hold takes several, and says how many', (layout) => {
  const side = new DeviceSide({ layout, mergeable: true });
  const { driver } = side;
  for (let i = 0; i < 10; i++) driver.send([], [1526]);
  const frames = [frameOf(60), frameOf(4000), frameOf(1514, 1), frameOf(1515), frameOf(3040), frameOf(3041)];
  expect(side.send(...frames)).toBe(5);
  const used = driver.receive().map(({ bytes }) => bytes);
  expect(used.map(({ length }) => length)).toEqual([72, 1526, 1526, 960, 1526, 1526, 1, 1526, 1526]);
  for (const [frame, from, count] of [
    [0, 0, 1],
    [1, 1, 3],
    [2, 4, 1],
    [3, 5, 2],
    [4, 7, 2],
  ] as const) {
    const whole = join(...used.slice(from, from + count));
    expect(Buffer.compare(whole, message(frames[frame] as Uint8Array, header(count)))).toBe(0);
  }
  // Three more buffers would be needed, of which one is there: it is nobody's yet.
  for (let i = 0; i < 2; i++) driver.send([], [1526]);
  expect(side.send(frameOf(3041))).toBe(1);
  expect(driver.receive()).toHaveLength(3);
  side.finish();
});

test.each(LAYOUTS)('%s: a frame that no chain can hold is dropped and counted', (layout) => {
  const side = new DeviceSide({ layout });
  side.driver.send([], [1526]);
  side.driver.send([frameOf(30)], [4000]);
  expect(side.send(frameOf(1515), frameOf(1514), frameOf(60))).toBe(3);
  expect(side.net.drops()).toEqual({ ...NO_DROPS, long: 2 });
  side.finish();
});

test.each(DRIVERS)('%s, %s: a device that lies about the buffers of a frame loses that frame', (layout, _, bounce) => {
  const side = new DriverSide({ layout, mergeable: true, bounce });
  const { device, net } = side;
  const good = frameOf(60, 5);
  /** What comes of buffers with these bytes. */
  const give = (...parts: readonly Uint8Array[]): number[][] => {
    side.receive();
    const chains = device.take(parts.length);
    device.return(...chains.map((chain, i) => ({ chain, bytes: parts[i] as Uint8Array })));
    return side.receive().map((frame) => [...frame]);
  };
  const ok = message(good, header(1));
  const long = frameOf(1500);
  expect(give(message(long, header(3)), long, long)).toEqual([[...long, ...long, ...long]]);
  const cases: readonly Uint8Array[][] = [
    [message(good, header(0))],
    [message(good, header(148))],
    [message(good, header(65_535))],
    [message(frameOf(13), header(1))],
    [header(1)],
    [header(1).subarray(0, 5)],
    [new Uint8Array(0)],
    [message(long, header(2)), new Uint8Array(0)],
    [message(long, header(3)), long, new Uint8Array(0)],
    [message(good, offload(1, 0))],
  ];
  for (const [i, parts] of cases.entries()) {
    expect(give(...parts, ok)).toEqual([[...good]]);
    expect(net.drops()).toEqual({ ...NO_DROPS, bad: i + 1 });
  }
  // 147 buffers are the most; what is left half done is freed at the end.
  expect(give(message(long, header(147)), ok)).toEqual([]);
  side.finish();
  expect(net.drops().bad).toBe(cases.length + 1);
});

let planted: (file: string, from: string, to: string) => Promise<WebAssembly.Module>;
beforeAll(() => {
  planted = (file, from, to) =>
    compileTraced({ folders: ['virtio', 'memory'], mutations: [{ file: `virtio/${file}.kernel.ts`, from, to }] });
});

test('a wrap counter that is not put back is found', async () => {
  const from = 'store<u32>(queue, load<u32>(queue, VQ_TAKE_WRAP) ^ 1, VQ_TAKE_WRAP);';
  const module = await planted('side', from, '');
  expect(() => putBackAround('packed', module)).toThrow();
});

test('a frame whose length is not checked is found', async () => {
  const from = 'if (bytes > headerBytes + NET_FRAME_MAX || bytes < headerBytes + NET_FRAME_MIN) {';
  const module = await planted('net-device', from, 'if (bytes === 0) {');
  for (const layout of LAYOUTS) expect(() => refuse(layout, module)).toThrow();
});
