import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { ftruncateSync, readSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { createArena } from 'ringway/memory';
import { attachSpscRing, spscRingBytes } from 'ringway/ring';
import { expect, test } from 'vitest';
import { requireSys, sysAvailable } from '#build/sys/index.js';

const support = (name: string): string => fileURLToPath(new URL(`../support/${name}`, import.meta.url));
const unavailable = sysAvailable() ? false : 'koffi is not here, or this is not Linux';
if (unavailable) console.warn(`skipped: ${unavailable}`);
/** SPSC_SIZE of src/ring/layout.ts: the test makes a ring by hand in pages that an arena does not own. */
const SPSC_SIZE = 8;

test('without koffi everything but system calls works, and one sentence says what is missing', () => {
  const args = ['--import', support('hide-koffi.mjs'), support('without-koffi.mjs')];
  const answer = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
  expect(answer).toEqual({
    moved: 32,
    audit: { buffers: 64, free: 64, inFlight: 0 },
    available: false,
    refusal: {
      code: 'UNSUPPORTED',
      message:
        "pinning a thread needs Linux and the optional dependency koffi (`npm install koffi`), and here Cannot find module 'koffi'",
    },
    unshared: 'UNSUPPORTED',
  });
});

test.skipIf(unavailable)('kernels of two instances and of two processes share the pages of one memfd', () => {
  const sys = requireSys('the test');
  const offset = 1 << 20;
  const length = 65536;
  const fd = sys.memfdCreate('ringway-test', length, { seal: true });
  const [one, two] = [createArena({ bytes: 2 << 20 }), createArena({ bytes: 2 << 20 })];
  for (const arena of [one, two]) sys.mapFile(arena.handle.memory, offset, length, fd, 0);
  expect(spscRingBytes(64)).toBeLessThan(length);
  one.u32[(offset + SPSC_SIZE) >>> 2] = 64;
  const burst = one.allocate('burst', 32 * 16);
  one.u32.set([11, 12, 13, 14, 21, 22, 23, 24], burst >>> 2);
  expect(attachSpscRing(one, offset).push(burst, 2)).toBe(2);

  const child = execFileSync(process.execPath, [support('map-memfd.mjs'), `${offset}`, `${length}`], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit', fd],
  });
  expect(JSON.parse(child)).toEqual([11, 12, 13, 14, 21, 22, 23, 24]);

  const ring = attachSpscRing(two, offset);
  expect([ring.slots, ring.fill()]).toEqual([64, 0]);
  one.u8[offset + length - 1] = 77;
  expect(two.u8[offset + length - 1]).toBe(77);

  sys.unmap(two.handle.memory, offset, length);
  expect(two.u8[offset + length - 1]).toBe(0);
  expect(one.u8[offset + length - 1]).toBe(77);
  sys.closeFd(fd);
  expect(one.u8[offset + length - 1]).toBe(77);
});

// As QEMU's dirty log is: a bit for each page of a guest.
test.skipIf(unavailable)('a file that ends within a page is mapped up to the end of that page', () => {
  const sys = requireSys('the test');
  const { memory } = createArena({ bytes: 1 << 20 }).handle;
  const fd = sys.memfdCreate('ringway-test', 6144, { seal: true });
  sys.mapFile(memory, 65536, 8192, fd, 0);
  const bytes = new Uint8Array(memory.buffer, 65536, 8192);
  expect(bytes.every((byte) => byte === 0)).toBe(true);
  bytes[6143] = 1;
  const last = new Uint8Array(1);
  readSync(fd, last, 0, 1, 6143);
  expect(last[0]).toBe(1);
  expect(() => sys.mapFile(memory, 65536, 12_288, fd, 0)).toThrow(/12288 bytes at 0 end past its 8192 bytes/);
  sys.closeFd(fd);
  sys.unmap(memory, 65536, 8192);
});

test.skipIf(unavailable)('a window that is misaligned or too long is refused with the numbers', () => {
  const sys = requireSys('the test');
  const { memory } = createArena({ bytes: 1 << 20 }).handle;
  const fd = sys.memfdCreate('ringway-test', 65536, { seal: false });
  expect(() => sys.mapFile(memory, 65537, 4096, fd, 0)).toThrow(/at 65537 .*multiples of the page size 4096/);
  expect(() => sys.mapFile(memory, 65536, 4097, fd, 0)).toThrow(
    /4097 bytes at 65536 .*multiples of the page size 4096/,
  );
  expect(() => sys.mapFile(memory, 65536, 4096, fd, 100)).toThrow(/descriptor \d+: .*at 100, .*page size 4096/);
  expect(() => sys.mapFile(memory, 65536, 8192, fd, 61440)).toThrow(/8192 bytes at 61440 end past its 65536 bytes/);
  expect(() => sys.mapFile(memory, 1 << 30, 4096, fd, 0)).toThrow(/end past its \d+ bytes/);
  expect(() => sys.mapFile(memory, 65536, 4096, 99_999, 0)).toThrow(/descriptor 99999 is not an open file/);
  expect(() => sys.unmap(memory, 10, 4096)).toThrow(/multiples of the page size 4096/);
  expect(() => sys.adviseHugePages(memory, 0, 0)).toThrow(/from 1 byte at 0/);
  sys.closeFd(fd);
  expect(() => sys.closeFd(fd)).toThrow(expect.objectContaining({ code: 'SYSTEM', message: `close(${fd}): EBADF` }));
  expect(() => sys.memfdCreate('ringway-test', 0, { seal: true })).toThrow(/0 bytes, must be a whole number from 1/);
});

test.skipIf(unavailable)('a sealed memfd keeps its size', () => {
  const sys = requireSys('the test');
  const fd = sys.memfdCreate('ringway-test', 65536, { seal: true });
  expect(() => ftruncateSync(fd, 4096)).toThrow(/EPERM/);
  sys.closeFd(fd);
});

test.skipIf(unavailable)('huge pages can be wished for', () => {
  requireSys('the test').adviseHugePages(createArena({ bytes: 4 << 20 }).handle.memory, 0, 4 << 20);
});

test.skipIf(unavailable)('a worker is pinned, and only that worker', async () => {
  const before = requireSys('the test').currentCpus();
  const cpu = before.at(-1) ?? 0;
  const worker = new Worker(support('pin-worker.mjs'), { workerData: cpu });
  const [cpus] = await once(worker, 'message');
  expect(cpus).toEqual([cpu]);
  expect(requireSys('the test').currentCpus()).toEqual(before);
  expect(() => requireSys('the test').pinThread(1023)).toThrow('sched_setaffinity(cpu 1023): EINVAL');
  expect(() => requireSys('the test').pinThread(1.5)).toThrow(/cpu 1.5, must be from 0 to 1023/);
});
