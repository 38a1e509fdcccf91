// A module port that does what a peer may do: gives frames of all kinds when it likes to, asks for checksums and segments
// with words that may be any, and takes what it likes.
// Options: seed, give and take (0 to 1), limit, throwIn (the name of the method that throws), lines.

import {
  BUFFER_CSUM_OFFSET,
  BUFFER_CSUM_START,
  BUFFER_FRAME_MAX,
  BUFFER_GSO_SIZE,
  BUFFER_GSO_TYPE,
  BUFFER_HEADROOM,
  BUFFER_OFFLOAD_FLAGS,
  SLOT_FLAG_OFFLOAD,
  SLOT_FLAGS,
} from '#build/memory/layout.js';
import { buildFrame } from '#build/packet/index.js';

function randomOf(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const MACS = [
  'ff:ff:ff:ff:ff:ff',
  '02:00:00:00:01:00',
  '02:00:00:00:02:00',
  '02:00:00:00:09:01',
  '01:80:c2:00:00:00',
  '33:33:00:00:00:01',
];

const ROUTER = MACS[3];

function frames() {
  const all = [new Uint8Array(0), new Uint8Array(10), new Uint8Array(14), new Uint8Array(60)];
  for (const [i, destination] of MACS.entries()) {
    const ethernet = { destination, source: MACS[1 + (i % 3)] };
    const ipv4 = { source: '10.0.0.1', destination: `198.18.${i}.1`, ttl: 1 + i * 20 };
    const udp = { sourcePort: 1000 + i, destinationPort: 53 };
    for (const payload of [new Uint8Array(20), new Uint8Array(4000)]) {
      all.push(buildFrame({ ethernet, ipv4, udp, payload }));
      for (const id of [0, 10, 20, 30]) all.push(buildFrame({ ethernet, vlans: [{ id }], ipv4, udp, payload }));
    }
  }
  // To the router: one that has no hops left, and one that no route has.
  for (const [destination, ttl] of [
    ['198.18.0.9', 1],
    ['10.9.9.9', 9],
  ]) {
    const ethernet = { destination: ROUTER, source: MACS[1] };
    all.push(buildFrame({ ethernet, ipv4: { source: '10.0.0.1', destination, ttl, protocol: 99 } }));
  }
  return all;
}

/** Asks for datagrams or a checksum of a UDP frame, or for whatever. */
function askFor({ u8, u16, u32 }, slot, random) {
  const buffer = u32[slot >>> 2];
  const isTagged = u8[buffer + BUFFER_HEADROOM + 12] === 0x81;
  const isSound = random(2) === 0;
  u8[slot + SLOT_FLAGS] |= SLOT_FLAG_OFFLOAD;
  u8[buffer + BUFFER_OFFLOAD_FLAGS] = isSound ? 1 : random(256);
  u8[buffer + BUFFER_GSO_TYPE] = random(2) === 0 ? 0 : isSound ? 5 : random(256);
  u16[(buffer + BUFFER_GSO_SIZE) >>> 1] = isSound ? 100 + random(3000) : random(65536);
  u16[(buffer + BUFFER_CSUM_START) >>> 1] = isSound ? (isTagged ? 38 : 34) : random(2000);
  u16[(buffer + BUFFER_CSUM_OFFSET) >>> 1] = isSound ? 6 : random(2000);
}

export default {
  attach({ arena, cache }, { seed = 1, give = 0.5, take = 1, limit = Number.POSITIVE_INFINITY, throwIn }) {
    const random = randomOf(seed);
    const all = frames();
    const { poolAlloc, poolFree, memoryFill } = arena.kernels();
    // Whatever lies in the directory is as good a payload as any.
    const filler = arena.handle.base;
    let made = 0;
    const happens = (probability) => random(1000) < probability * 1000;
    const maybeThrow = (method) => {
      if (throwIn === method) throw new Error(`${method} of an odd port went wrong`);
    };
    return {
      // Changes while it runs, as a guest's does that starts anew.
      get offloads() {
        return seed % 2 === 0 ? 0 : random(256);
      },
      rxBurst(slots, max) {
        maybeThrow('rxBurst');
        if (!happens(give)) return 0;
        const want = Math.min(1 + random(max), limit - made);
        let n = 0;
        while (n < want && poolAlloc(cache, slots + n * 16, 1) === 1) {
          const frame = all[random(all.length)];
          const slot = slots + n * 16;
          if (memoryFill(cache, slot, filler, frame.length) === 0) break;
          arena.u8.set(frame.subarray(0, BUFFER_FRAME_MAX), arena.u32[slot >>> 2] + BUFFER_HEADROOM);
          if (happens(0.3)) askFor(arena, slot, random);
          n++;
        }
        made += n;
        return n;
      },
      txBurst(slots, count) {
        maybeThrow('txBurst');
        const taken = happens(take) ? count : take === 0 ? 0 : random(count + 1);
        poolFree(cache, slots, taken);
        return taken;
      },
      info: () => ({ done: made >= limit }),
      close: () => maybeThrow('close'),
    };
  },
};
