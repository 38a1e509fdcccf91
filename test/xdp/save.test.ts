import fc from 'fast-check';
import { expect, test } from 'vitest';
import { saveMemory } from '#build/xdp/save.js';

test('memory is as it was, whatever was written to it, each time', () => {
  const BYTES = 200_001;
  const writes = fc.array(fc.tuple(fc.integer({ min: 0, max: BYTES - 1 }), fc.integer({ min: 0, max: 255 })), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(writes, writes, writes, (before, after, later) => {
      const memory = new Uint8Array(new SharedArrayBuffer(BYTES));
      for (const [at, byte] of before) memory[at] = byte;
      const copy = memory.slice();
      const restore = saveMemory(memory);
      for (const round of [after, later]) {
        for (const [at, byte] of round) memory[at] = byte;
        restore();
        expect(Buffer.compare(memory, copy)).toBe(0);
      }
    }),
    { numRuns: 50 },
  );
});
