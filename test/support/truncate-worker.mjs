// Touches what is gone, from a thread of its own, which cannot install the handler.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';
import { surviveTruncation } from '#build/sys/index.js';

const { handle, gone } = workerData;
const { u8 } = attachArena(handle);
parentPort.postMessage([u8[gone], surviveTruncation()]);
