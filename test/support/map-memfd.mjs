// Maps descriptor 3 over a memory of its own, reads a word with WebAssembly that the parent wrote, and answers it.

import { createArena } from '#build/memory/index.js';
import { attachSpscRing } from '#build/ring/index.js';
import { requireSys } from '#build/sys/index.js';

const [offset, length] = process.argv.slice(2).map(Number);
const arena = createArena({ bytes: 2 << 20 });
requireSys('the test').mapFile(arena.handle.memory, offset, length, 3, 0);
const ring = attachSpscRing(arena, offset);
const burst = arena.allocate('burst', 32 * 16);
const got = ring.pop(burst, 32);
console.log(JSON.stringify(Array.from(arena.u32.subarray(burst >>> 2, (burst >>> 2) + got * 4))));
