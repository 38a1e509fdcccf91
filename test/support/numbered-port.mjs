// A module port that sends numbered frames of all lengths, a window at most of them on their way, and takes them back in
// their order: throws for one that is not what was sent, or not the next.
// Options: limit, window.
import { BUFFER_HEADROOM, SLOT_LENGTH } from '#build/memory/layout.js';

const LENGTH_MIN = 60;
const LENGTHS = 1400;
const ETHERNET_BYTES = 14;
/** After so long the switch sends to a port that was added. */
const START_MS = 200;

const lengthOf = (number) => LENGTH_MIN + ((number * 37) % LENGTHS);

/** Bytes of which each frame has a stretch: another one for each number. */
const PATTERN = Uint8Array.from({ length: 4096 }, (_, i) => (i * 131 + (i >>> 8)) & 0xff);
const patternOf = (number, length) => PATTERN.subarray(number % 2048, (number % 2048) + length - ETHERNET_BYTES - 4);

export default {
  attach({ arena, cache }, { limit, window = 128 }) {
    const { poolAlloc, poolFree } = arena.kernels();
    const { u8, u16, u32 } = arena;
    const view = new DataView(u8.buffer);
    const header = Uint8Array.of(2, 0, 0, 0, 9, 2, 2, 0, 0, 0, 9, 1, 0x88, 0xb5);
    const start = performance.now() + START_MS;
    let sent = 0;
    let returned = 0;
    const frameAt = (slot) => u32[slot >>> 2] + BUFFER_HEADROOM;
    const check = (slot) => {
      const number = returned++;
      const [at, length] = [frameAt(slot), u16[(slot + SLOT_LENGTH) >>> 1]];
      const found = view.getUint32(at + ETHERNET_BYTES);
      if (found !== number >>> 0) throw new Error(`frame ${found} came back, ${number} is the next`);
      if (length !== lengthOf(number)) throw new Error(`frame ${number} has ${length} bytes, not ${lengthOf(number)}`);
      const payload = u8.subarray(at + ETHERNET_BYTES + 4, at + length);
      if (Buffer.compare(payload, patternOf(number, length)) !== 0) throw new Error(`frame ${number} has other bytes`);
    };
    return {
      rxBurst(slots, max) {
        if (sent === 0 && performance.now() < start) return 0;
        const n = poolAlloc(cache, slots, Math.min(max, limit - sent, window - (sent - returned)));
        for (let i = 0; i < n; i++) {
          const slot = slots + i * 16;
          const at = frameAt(slot);
          const length = lengthOf(sent);
          u8.set(header, at);
          view.setUint32(at + ETHERNET_BYTES, sent);
          u8.set(patternOf(sent, length), at + ETHERNET_BYTES + 4);
          u16[(slot + SLOT_LENGTH) >>> 1] = length;
          sent++;
        }
        return n;
      },
      txBurst(slots, count) {
        for (let i = 0; i < count; i++) check(slots + i * 16);
        poolFree(cache, slots, count);
        return count;
      },
      info: () => ({ done: returned === limit }),
      close() {},
    };
  },
};
