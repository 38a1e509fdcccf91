// The application's end of a channel, on a thread of its own: copies slots that carry their serial through the engine,
// checks each as it comes back, and spoils its source.
import { parentPort, workerData } from 'node:worker_threads';
import { attachVchan } from '#build/dma/index.js';
import { attachArena } from '#build/memory/index.js';

const { handle, address, source, target, slots, slotBytes, total } = workerData;
const arena = attachArena(handle);
const vchan = attachVchan(arena, address);
const { u32 } = arena;

function run() {
  const words = slotBytes >>> 2;
  let sent = 0;
  let back = 0;
  while (back < total) {
    const room = Math.min(slots - (sent - back), total - sent, vchan.burstCapacity(), 1 + (sent % 40));
    for (let i = 0; i < room; i++) {
      const at = (sent % slots) * slotBytes;
      // The first and the last word of the bytes that are copied: a different number each time.
      const bytes = 8 + ((sent * 4) % (slotBytes - 8));
      u32[(source + at) >>> 2] = sent;
      u32[(source + at + bytes - 4) >>> 2] = ~sent;
      u32[(target + at) >>> 2] = u32[(target + at + bytes - 4) >>> 2] = 0xeeeeeeee;
      const index = vchan.copy(target + at, source + at, bytes);
      if (index !== (sent & 0xffff)) return `index ${index} of operation ${sent}`;
      sent++;
    }
    vchan.submit();
    const n = vchan.completed(64);
    if (vchan.hasError) return `operation ${back + n} failed`;
    for (let i = 0; i < n; i++) {
      const at = (back % slots) * slotBytes;
      const bytes = 8 + ((back * 4) % (slotBytes - 8));
      const [first, last] = [u32[(target + at) >>> 2], u32[(target + at + bytes - 4) >>> 2]];
      if (first !== back || last !== ~back >>> 0) return `operation ${back}: ${first}, ${last}`;
      u32.fill(0xdddddddd, (source + at) >>> 2, ((source + at) >>> 2) + words);
      back++;
    }
  }
  return 'done';
}

parentPort.postMessage(run());
