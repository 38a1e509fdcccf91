// One side of a ring under stress. A slot carries its producer, its serial, and both again.
import { parentPort, workerData } from 'node:worker_threads';
import { attachArena } from '#build/memory/index.js';
import { attachMpscRing, attachSpscRing } from '#build/ring/index.js';

const { handle, kind, ring: address, role, burst, slots, producers } = workerData;
const { u32 } = attachArena(handle);
const ring = (kind === 'spsc' ? attachSpscRing : attachMpscRing)(attachArena(handle), address);
const at = burst >>> 2;

function produce() {
  for (let next = 1; next <= slots; ) {
    const n = Math.min(1 + (next % 32), slots + 1 - next);
    for (let i = 0; i < n; i++) {
      u32[at + i * 4] = u32[at + i * 4 + 2] = role;
      u32[at + i * 4 + 1] = u32[at + i * 4 + 3] = next + i;
    }
    next += ring.push(burst, n);
  }
  return 'done';
}

function consume() {
  const arrived = Array.from({ length: producers }, () => 0);
  for (let left = slots * producers; left > 0; ) {
    const n = ring.pop(burst, 32);
    for (let i = 0; i < n; i++) {
      const [producer, serial, again, twice] = u32.subarray(at + i * 4, at + i * 4 + 4);
      const expected = ++arrived[producer];
      if (serial !== expected || again !== producer || twice !== serial) {
        return `producer ${producer}: got ${serial} (${again}, ${twice}) instead of ${expected}`;
      }
    }
    left -= n;
  }
  return 'done';
}

parentPort.postMessage(role === 'consumer' ? consume() : produce());
