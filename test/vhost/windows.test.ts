import { afterEach, beforeEach, expect, test } from 'vitest';
import { requireSys, sysAvailable } from '#build/sys/index.js';
import { GuestWindows } from '#build/vhost/windows.js';
import { testArena } from '../support/arena.ts';

const MIB = 1 << 20;
const arena = testArena();
const before = arena.regions();
const isAvailable = sysAvailable();
if (!isAvailable) console.warn('windows.test.ts is skipped: koffi is not here, or this is not Linux');

let windows: GuestWindows;
const fds: number[] = [];
const file = (): number => {
  const fd = requireSys('the test').memfdCreate('ringway-test', 2 * MIB, { seal: true });
  fds.push(fd);
  return fd;
};
beforeEach(() => {
  if (isAvailable) windows = new GuestWindows(arena, 'test');
});
afterEach(() => {
  if (!isAvailable) return;
  windows.close();
  for (const fd of fds.splice(0)) requireSys('the test').closeFd(fd);
  expect(arena.regions()).toEqual(before);
});

const region = { guest: 0n, user: 0x7f00_0000_0000n, bytes: BigInt(MIB), offset: 0n };

// As QEMU before 9 does with several pairs of queues: each of its devices does it, over one socket.
test.skipIf(!isAvailable)('a region that is added and taken out by each pair of queues is there once', () => {
  const fd = file();
  windows.add(region, fd);
  windows.add(region, fd);
  expect(windows.bytes).toBe(MIB);
  expect(windows.remove(region)).toBe(true);
  expect(windows.bytes).toBe(0);
  // The first device has another region before the second one takes the old one out.
  const larger = { ...region, bytes: 2n * BigInt(MIB) };
  windows.add(larger, fd);
  expect(windows.remove(region)).toBe(true);
  windows.add(larger, fd);
  expect(windows.bytes).toBe(2 * MIB);
  expect(windows.remove(region)).toBe(false);
});

test.skipIf(!isAvailable)('a region that meets another is refused, be it of the same size in another file', () => {
  const fd = file();
  windows.add(region, fd);
  for (const [other, of] of [
    [region, file()],
    [{ ...region, offset: 4096n }, fd],
    [{ ...region, guest: 4096n }, fd],
    [{ ...region, bytes: 4096n }, fd],
  ] as const) {
    expect(() => windows.add(other, of)).toThrow(/meets the region of 1048576 bytes at 0x0/);
  }
  expect(windows.bytes).toBe(MIB);
});
