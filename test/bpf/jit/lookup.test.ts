import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KIND_HASH, KIND_LRU_HASH } from '#build/bpf/layout.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { definition, Rig } from './support.ts';

// The key is the packet's first bytes: compiled code hashes short ones itself, and must find what the kernels put there.
const text = `ldxw %r2, [%r1+0]
ldxw %r3, [%r1+4]
mov %r4, %r2
add %r4, 24
mov %r0, 0
jgt %r4, %r3, out
lddw %r1, map 0
call 1
jeq %r0, 0, out
ldxdw %r0, [%r0+0]
out: exit`;

test.each(
  [KIND_HASH, KIND_LRU_HASH].flatMap((kind) => Array.from({ length: 18 }, (_, index) => [kind, index + 1] as const)),
)('compiled code finds what a hash of kind %i with keys of %i bytes has', (kind, keyBytes) => {
  const rig = new Rig();
  const given = rig.program(text, [definition('hash', kind, { keyBytes, maxEntries: 8 })]);
  const [map] = given.maps as unknown as [BpfMap<Uint8Array, Uint8Array>];
  const programs = [false, true].map((checked) => rig.compile(given, checked));
  // Few different bytes, so that keys are alike in all but one place.
  const key = fc.uint8Array({ minLength: keyBytes, maxLength: keyBytes, max: 1 });
  fc.assert(
    fc.property(
      fc.uniqueArray(key, { maxLength: 8, selector: String }),
      fc.array(key, { maxLength: 8 }),
      (kept, others) => {
        for (const [index, one] of kept.entries()) map.setBytes(one, Uint8Array.of(index + 1, 0, 0, 0, 0, 0, 0, 0));
        for (const one of [...kept, ...others]) {
          const packet = new Uint8Array(64).fill(0xff);
          packet.set(one);
          const expected = kept.findIndex((other) => String(other) === String(one)) + 1;
          for (const program of programs) {
            rig.place(packet);
            expect(program.run(rig.context, BigInt(rig.context), 0n)).toBe(BigInt(expected));
          }
        }
        for (const one of kept) map.deleteBytes(one);
      },
    ),
    { numRuns: 50 },
  );
});
