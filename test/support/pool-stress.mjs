// An lcore that allocates, stamps, passes on and frees buffers, in an order of its own, and checks stamps at each end.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';
import { attachSpscRing } from '#build/ring/index.js';

const { handle, cache, out, into, burst, held, rounds, lcore } = workerData;
const arena = attachArena(handle);
const { u32 } = arena;
const { poolAlloc, poolFree, poolFlush } = arena.kernels();
const [send, receive] = [attachSpscRing(arena, out), attachSpscRing(arena, into)];
/** A word in the headroom of each buffer, where its holder signs. */
const SIGNATURE = 128;
const HELD_MAX = 96;

function sign(slots, n, from, to) {
  for (let i = 0; i < n; i++) {
    const word = (u32[(slots >>> 2) + i * 4] + SIGNATURE) >>> 2;
    if (from !== undefined && u32[word] !== from) return `lcore ${lcore}: signed ${u32[word]} instead of ${from}`;
    u32[word] = to;
  }
  return undefined;
}

function run() {
  let state = lcore + 1;
  const random = (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
  let holding = 0;
  let problem;
  for (let round = 0; round < rounds && problem === undefined; round++) {
    const want = Math.min(1 + random(32), HELD_MAX - holding);
    const got = poolAlloc(cache, held + holding * 16, want);
    problem = sign(held + holding * 16, got, undefined, 1000 + lcore);
    holding += got;
    // Half of what is held goes to the other lcore, which frees it: the recycle ring brings it back.
    const moved = send.push(held, holding >>> 1);
    u32.copyWithin(held >>> 2, (held >>> 2) + moved * 4, (held >>> 2) + holding * 4);
    holding -= moved;
    const freed = Math.min(random(40), holding);
    problem ??= sign(held + (holding - freed) * 16, freed, 1000 + lcore, 0);
    poolFree(cache, held + (holding - freed) * 16, freed);
    holding -= freed;
    const came = receive.pop(burst, 32);
    problem ??= sign(burst, came, 1001 - lcore, 0);
    poolFree(cache, burst, came);
  }
  poolFree(cache, held, holding);
  poolFlush(cache);
  return problem ?? 'done';
}

parentPort.postMessage(run());
