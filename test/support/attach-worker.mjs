// Attaches to the arena it is given, checks a region and answers what it sees; then writes into it.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';

const arena = attachArena(workerData.handle);
const { address, bytes } = arena.region('shared');
const seen = arena.u32[address >>> 2];
arena.u32[address >>> 2] = seen + 1;
parentPort.postMessage({ address, bytes, seen, regions: arena.regions().length });
