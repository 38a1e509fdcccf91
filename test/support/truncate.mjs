// Maps a memfd over part of an arena, truncates it, touches it as the argument says, and answers what it saw.

import { once } from 'node:events';
import { ftruncateSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { createArena } from '#build/memory/index.js';
import { guardWindow, requireSys, surviveTruncation } from '#build/sys/index.js';
import { accessKernel } from './access-kernel.mjs';

const [kind] = process.argv.slice(2);
const PAGES = 8;
const LENGTH = PAGES * 4096;
const WINDOW = 1 << 20;
const OTHER = WINDOW + LENGTH;
const sys = requireSys('the test');
const { handle, u8, u32, i32 } = createArena({ bytes: 2 << 20 });
const { memory } = handle;
const support = surviveTruncation();
if (!support.supported) throw new Error(support.reason);
const flags = [65536 + 4096, 65536 + 4100];
const maps = [WINDOW, OTHER].map((offset, i) => {
  const fd = sys.memfdCreate('ringway-test', LENGTH, { seal: false });
  const release = kind === 'unguarded' ? () => {} : guardWindow(memory, offset, LENGTH, flags[i]);
  sys.mapFile(memory, offset, LENGTH, fd, 0);
  u8.fill(7, offset, offset + LENGTH);
  return { fd, release };
});
const gone = WINDOW + 4096 * 3;
ftruncateSync(maps[0].fd, 4096);
const kernel = accessKernel(memory);

const accesses = {
  load: () => u8[gone],
  store: () => {
    u8[gone + 5] = 9;
    return u8[gone + 5];
  },
  fill: () => u8.fill(3, WINDOW, OTHER).at(gone),
  copyWithin: () => u8.copyWithin(gone, OTHER, OTHER + 8192).at(gone + 8191),
  'Atomics.add': () => Atomics.add(i32, gone / 4, 5) + Atomics.load(u32, gone / 4),
  'kernel load': () => kernel.load(gone),
  'kernel store': () => {
    kernel.store(gone, 6);
    return u8[gone];
  },
  'kernel vector': () => kernel.vector(gone, OTHER),
  'kernel copy from': () => kernel.copy(65536 + 8192, WINDOW, LENGTH) + u8[65536 + 8192],
  'kernel copy to': () => kernel.copy(WINDOW, OTHER, LENGTH) + u8[OTHER - 1],
  'kernel atomic': () => kernel.add(gone, 4) + kernel.add(gone, 1),
  worker: async () => {
    const url = new URL('./truncate-worker.mjs', import.meta.url);
    const [seen] = await once(new Worker(url, { workerData: { handle, gone } }), 'message');
    return seen;
  },
  unguarded: () => u8[gone],
  released: () => {
    maps[0].release();
    return u8[gone];
  },
  sent: () => process.kill(process.pid, 'SIGBUS'),
  'two at once': () => {
    ftruncateSync(maps[1].fd, 0);
    return u8[gone] + u8[OTHER];
  },
};
const seen = await accesses[kind]();
console.log(
  JSON.stringify({ seen, flags: flags.map((at) => u32[at / 4]), other: u8[OTHER + LENGTH - 1], gone: u8[gone + 64] }),
);
