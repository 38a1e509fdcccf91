import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVERYTHING, SwitchRig } from '../support/switch-rig.ts';
import { hostileCase, runHostile } from './support/hostile-case.ts';

test('whatever comes in, nothing is lost and nothing else is written', () => {
  fc.assert(
    fc.property(hostileCase, (given) => {
      runHostile(given);
    }),
    { numRuns: 60 },
  );
});

test('a frame changes nothing around it', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 14, maxLength: 80 }),
      fc.integer({ min: 64, max: 1900 }),
      fc.boolean(),
      (bytes, offset, tagged) => {
        if (tagged) bytes.set([0x81, 0, 0, 5].slice(0, bytes.length - 12), 12);
        const rig = new SwitchRig({ ports: [EVERYTHING, { learn: true, vlan: { access: 5 } }, EVERYTHING] });
        const slot = rig.load({ port: 0, bytes, offset });
        const buffer = rig.arena.u32[slot >>> 2] ?? 0;
        const end = offset + bytes.length;
        rig.arena.u8.fill(0xa5, buffer + end, buffer + 2048);
        rig.kernels.switchForward(rig.switch.paths[0] ?? 0, rig.burst, 1, 1);
        // A dropped frame's buffer is filled with something else by then.
        const isHeld = rig.pool.audit().inFlight > 0;
        if (isHeld)
          expect(rig.arena.u8.subarray(buffer + end, buffer + 2048).every((byte) => byte === 0xa5)).toBe(true);
        rig.take();
        rig.expectNothingHeld();
      },
    ),
    { numRuns: 100 },
  );
});
