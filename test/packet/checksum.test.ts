import fc from 'fast-check';
import { internetChecksum, internetSum, type PacketKernels, updateChecksum, updateChecksum32 } from 'ringway/packet';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';

test('known sums: the example of RFC 1071 3, and an IPv4 header', () => {
  expect(internetSum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8)).toBe(0xddf2);
  const header = Buffer.from('45000073000040004011b861c0a80001c0a800c7', 'hex');
  expect(internetSum(header, 0, 20)).toBe(0xffff);
  header.fill(0, 10, 12);
  expect(internetChecksum(header, 0, 20)).toBe(0xb861);
});

test('the kernel finds the sums that TypeScript finds, in parts too', () => {
  const arena = testArena(1 << 20);
  const { packetChecksum } = arena.kernels<PacketKernels>();
  const at = arena.allocate('bytes', 600 << 10);
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(20),
      fc.nat(0xffff),
      fc.nat(150),
      (bytes, shift, initial, half) => {
        arena.u8.fill(0xdb, at, at + 400);
        arena.u8.set(bytes, at + shift);
        const sum = internetSum(bytes, 0, bytes.length, initial);
        expect(packetChecksum(at + shift, bytes.length, initial)).toBe(sum);
        const cut = Math.min(half * 2, bytes.length & ~1);
        const first = packetChecksum(at + shift, cut, initial);
        expect(packetChecksum(at + shift + cut, bytes.length - cut, first)).toBe(sum);
      },
    ),
    { numRuns: 1000 },
  );
  // The largest sums there are: no lane may overflow.
  const all = 600 << 10;
  for (const byte of [0xff, 0x80, 0x7f, 0]) {
    arena.u8.fill(byte, at, at + all);
    for (const length of [all, all - 1, (1 << 18) + 16]) {
      expect(packetChecksum(at, length, 0xffff)).toBe(internetSum(arena.u8, at, length, 0xffff));
    }
  }
});

test('an updated checksum is that of the changed header', () => {
  // RFC 1624, 4: the case in which the older equation went wrong.
  expect(updateChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), fc.nat(0xffffffff), (bytes, after) => {
      // All zeroes have the other form of 0; headers are not all zeroes.
      bytes[0] = 0x45;
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const checksum = internetChecksum(bytes, 0, 8);
      const before = view.getUint32(4);
      view.setUint32(4, after);
      expect(updateChecksum32(checksum, before, after)).toBe(internetChecksum(bytes, 0, 8));
    }),
  );
});
