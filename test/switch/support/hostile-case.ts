import fc from 'fast-check';
import { expect } from 'vitest';
import { buildRoutes } from '#build/packet/prefix.js';
import type { SwitchPort } from '#build/switch/switch.js';
import { cutFrame } from '../../packet/support/frames.ts';
import { START, SwitchRig } from '../../support/switch-rig.ts';

const ROUTER = Uint8Array.of(2, 0, 0, 0, 0, 1);
const PORTS: SwitchPort[] = [
  { learn: true, vlan: { trunk: 'all' } },
  { learn: true, vlan: { access: 5 } },
  { learn: true, vlan: { trunk: [5, 6], native: 6 } },
  { learn: true, vlan: { trunk: 'all', native: 5 }, storm: 10_000 },
  { learn: true, vlan: { access: 6 } },
];

const bytes = fc.oneof(
  cutFrame.map((frame) => frame.bytes),
  fc.uint8Array({ maxLength: 64 }),
  fc.uint8Array({ minLength: 1500, maxLength: 1700 }),
);

/** Frames of any bytes at any place in their buffers, some of them addressed to the router or to a group. */
export const hostileCase = fc.record({
  seed: fc.nat(),
  bursts: fc.array(
    fc.record({
      lcore: fc.nat(1),
      frames: fc.array(
        fc.record({
          port: fc.nat(PORTS.length - 1),
          bytes,
          destination: fc.constantFrom('own', 'router', 'group', 'reserved'),
          offset: fc.integer({ min: 64, max: 2048 }),
          shared: fc.boolean(),
        }),
        { minLength: 1, maxLength: 32 },
      ),
    }),
    { minLength: 1, maxLength: 8 },
  ),
  /** Buffers that somebody else has: with all of them gone no copy can be made. */
  taken: fc.constantFrom(0, 0, 180, 190),
});

type HostileCase = typeof hostileCase extends fc.Arbitrary<infer Case> ? Case : never;

const GROUPS = { own: undefined, router: ROUTER, group: [1, 0, 94, 0, 0, 1], reserved: [1, 0x80, 0xc2, 0, 0, 0] };

function makeRig(): SwitchRig {
  const rig = new SwitchRig({ ports: PORTS, lcores: 2, buffers: 256, macs: 64 });
  rig.switch.addMirror(0, 4, 'rx');
  rig.switch.addMirror(1, 3, 'tx');
  const everything = (family: 4 | 6) => ({ family, bytes: new Uint8Array(family === 4 ? 4 : 16), length: 0 });
  buildRoutes(rig.arena, rig.switch.routes, ROUTER, [
    { prefix: everything(4), port: 1, mac: ROUTER },
    { prefix: everything(6), port: 2, mac: ROUTER },
  ]);
  rig.steering.replace([
    { match: { srcPort: 0 }, action: { lcore: 1 }, hits: 0 },
    { match: { dstIp: '128.0.0.0/1' }, action: { port: 3 }, hits: 1 },
    { match: { u32: [{ value: 0xff, mask: 0xff, at: 252 }] }, action: { drop: true }, hits: 2 },
  ]);
  return rig;
}

/** Sends the frames, and checks that nothing is lost, that no shared bytes change, and that no region is overrun. */
export function runHostile({ bursts, taken }: HostileCase): void {
  const rig = makeRig();
  rig.setTime(START);
  const others = rig.arena.allocate('others', 256 * 16);
  const gone = rig.kernels.poolAlloc(rig.cache(), others, taken);
  for (const { lcore, frames } of bursts) {
    const held: [slot: number, bytes: Uint8Array][] = [];
    for (const [index, { port, bytes: own, destination, offset, shared }] of frames.entries()) {
      const frame = own.slice();
      frame.set((GROUPS[destination] ?? []).slice(0, frame.length));
      const place = { offset: Math.min(offset, 2048 - frame.length), behind: new Uint8Array(0) };
      const slot = rig.load({ port, bytes: frame, ...place }, index, lcore);
      if (shared) held.push([rig.share(slot), frame]);
    }
    rig.run(frames.length, lcore);
    for (const [slot, before] of held) expect(rig.bytesOf(slot)).toEqual(before);
    rig.release(lcore);
    rig.kernels.poolFlush(rig.cache(lcore));
  }
  rig.kernels.poolFree(rig.cache(), others, gone);
  rig.expectNothingHeld();
}
