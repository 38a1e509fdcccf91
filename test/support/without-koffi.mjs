// Pool and ring work as on a machine without koffi, then the one sentence that says what is missing.
import { createArena, createPool } from '#build/memory/index.js';
import { createSpscRing } from '#build/ring/index.js';
import { requireSys, sysAvailable } from '#build/sys/index.js';

const arena = createArena({ bytes: 1 << 20 });
const pool = createPool(arena, { buffers: 64, caches: 1 });
const ring = createSpscRing(arena, { name: 'work', slots: 64 });
const burst = arena.allocate('burst', 32 * 16);
const { poolAlloc, poolFree } = arena.kernels();
const moved = ring.push(burst, poolAlloc(pool.caches[0], burst, 32));
poolFree(pool.caches[0], burst, ring.pop(burst, moved));
let refusal;
try {
  requireSys('pinning a thread');
} catch ({ code, message }) {
  refusal = { code, message };
}
let unshared;
try {
  createArena({ bytes: 1 << 20, shared: true });
} catch ({ code }) {
  unshared = code;
}
console.log(JSON.stringify({ moved, audit: pool.audit(), available: sysAvailable(), refusal, unshared }));
