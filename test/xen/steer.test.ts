import { createArena, createPool, type PoolKernels } from 'ringway/memory';
import { buildFrame } from 'ringway/packet';
import { expect, test } from 'vitest';
import { VIFHASH_BYTES, VIFSTEER_BYTES } from '#build/xen/control-layout.js';
import { HashSettings } from '#build/xen/hash.js';

/** Key and packets of Microsoft's "Verifying the RSS Hash Calculation": hashes over addresses and ports, and over addresses alone. */
const KEY = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
);
const PACKETS = [
  { source: '66.9.149.187', destination: '161.142.100.80', ports: [2794, 1766], tcp: 0x51ccc178, ip: 0x323e8fc2 },
  { source: '199.92.111.2', destination: '65.69.140.83', ports: [14230, 4739], tcp: 0xc626b0ea, ip: 0xd718262a },
] as const;

const words = (address: string): Uint8Array => Uint8Array.from(address.split('.').map(Number));

/** Ethernet, IPv4 and TCP headers. */
function tcpFrame({ source, destination, ports }: (typeof PACKETS)[number]): Uint8Array {
  const payload = new Uint8Array(40);
  payload.set([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6]);
  payload.set(words(source), 12);
  payload.set(words(destination), 16);
  payload.set(
    ports.flatMap((port) => [port >> 8, port & 255]),
    20,
  );
  payload[32] = 0x50;
  return buildFrame({
    ethernet: { destination: '02:00:00:00:00:01', source: '02:00:00:00:00:02', type: 0x800 },
    payload,
  });
}

test.each([
  ['addresses and ports', 3, 'tcp'],
  ['addresses alone', 1, 'ip'],
] as const)(
  'what the frontend maps decides by the hash over %s, and without one flows are spread',
  (_, flags, hashOf) => {
    const arena = createArena({ bytes: 1 << 20 });
    const pool = createPool(arena, { buffers: 64, caches: 1 });
    const k = arena.kernels<
      PoolKernels & { xenVifSteer(state: number, slots: number, n: number, queues: number, work: number): void }
    >();
    const [slots, scratch, work, state] = [
      arena.allocate('slots', 512),
      arena.allocate('scratch', 2048),
      arena.allocate('work', VIFSTEER_BYTES),
      arena.allocate('state', VIFHASH_BYTES),
    ];
    k.poolAlloc(pool.caches[0] ?? 0, slots, PACKETS.length);
    for (const [i, packet] of PACKETS.entries()) {
      const frame = tcpFrame(packet);
      arena.u8.set(frame, scratch);
      k.memoryFill(pool.caches[0] ?? 0, slots + i * 16, scratch, frame.length);
    }
    const buffers = (): (number | undefined)[] => PACKETS.map((_packet, i) => arena.u32[(slots + i * 16) >>> 2]);
    const [first, second] = buffers();
    const counts = (n: number): number[] => [...arena.u32.subarray(work >>> 2, (work >>> 2) + n)];
    const settings = new HashSettings(arena, state, 3);
    const steer = (queues: number): number[] => {
      k.xenVifSteer(state, slots, PACKETS.length, queues, work);
      return counts(queues);
    };
    const total = (all: readonly number[]): number => all.reduce((sum, n) => sum + n, 0);
    // Nothing is set: whatever it is, all packets have a queue.
    expect(total(steer(3))).toBe(2);
    settings.setAlgorithm(1);
    settings.setKey(KEY);
    settings.setFlags(flags);
    const hashes = PACKETS.map((packet) => packet[hashOf]);
    // No mapping: the hash modulo the queues.
    const expected = [0, 0, 0];
    for (const hash of hashes) expected[hash % 3] = (expected[hash % 3] ?? 0) + 1;
    expect(steer(3)).toEqual(expected);
    // 97 entries, no power of two; the first packet's leads to queue 2, the second's to queue 1.
    settings.setMappingSize(97);
    settings.setMapping((hashes[0] ?? 0) % 97, [2]);
    settings.setMapping((hashes[1] ?? 0) % 97, [1]);
    expect(steer(3)).toEqual([0, 1, 1]);
    expect(buffers()).toEqual([second, first]);
    // Queues that are not served are queue 0.
    expect(steer(2)).toEqual([1, 1]);
    settings.reset();
    expect(total(steer(2))).toBe(2);
  },
);
