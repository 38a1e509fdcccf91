// A module port that gives packets with offload words, as a guest does, and keeps nothing of what it gets. Options: packets,
// each with a frame in base64 and the words of struct virtio_net_hdr; repeat; offloads, the mask of what it does itself.
import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_FRAME_MAX,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADER_LENGTH,
  BUFFER_HEADROOM,
  BUFFER_NEXT,
  BUFFER_OFFLOAD_FLAGS,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
} from '#build/memory/layout.js';

/** Puts the bytes of `frame` into the chain of buffers at `slot`, which holds as many. */
function fill({ u8, u32 }, slot, frame) {
  for (let done = 0, buffer = u32[slot >>> 2]; done < frame.length; buffer = u32[(buffer + BUFFER_NEXT) >>> 2]) {
    u8.set(frame.subarray(done, done + BUFFER_FRAME_MAX), buffer + BUFFER_HEADROOM);
    done += BUFFER_FRAME_MAX;
  }
}

function request({ u8, u16, u32 }, slot, words) {
  const buffer = u32[slot >>> 2];
  u8[slot + SLOT_FLAGS] |= SLOT_FLAG_OFFLOAD;
  u8[buffer + BUFFER_OFFLOAD_FLAGS] = words.flags;
  u8[buffer + BUFFER_GSO_TYPE] = words.type;
  u16[(buffer + BUFFER_HEADER_LENGTH) >>> 1] = words.headerLength;
  u16[(buffer + BUFFER_GSO_SIZE) >>> 1] = words.size;
  u16[(buffer + BUFFER_CSUM_START) >>> 1] = words.start;
  u16[(buffer + BUFFER_CSUM_OFFSET) >>> 1] = words.offset;
}

export default {
  attach({ arena, cache }, { packets = [], repeat = 1, offloads = 0 }) {
    const { poolAlloc, poolFree, memoryFill } = arena.kernels();
    const once = packets.map(({ frame, request: words }) => ({ frame: Buffer.from(frame, 'base64'), words }));
    const waiting = Array.from({ length: repeat }, () => once).flat();
    return {
      offloads,
      rxBurst(slots, max) {
        let n = 0;
        while (n < max && waiting.length > 0 && poolAlloc(cache, slots + n * 16, 1) === 1) {
          const slot = slots + n * 16;
          const { frame, words } = waiting[0];
          // The chain first, of whatever lies in the directory, then the bytes.
          if (memoryFill(cache, slot, arena.handle.base, Math.min(frame.length, 65536 * 4)) === 0) break;
          fill(arena, slot, frame);
          if (words !== undefined) request(arena, slot, words);
          waiting.shift();
          n++;
        }
        return n;
      },
      txBurst(slots, count) {
        poolFree(cache, slots, count);
        return count;
      },
      info: () => ({ done: waiting.length === 0 }),
      close() {},
    };
  },
};
