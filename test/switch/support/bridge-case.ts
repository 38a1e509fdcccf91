import fc from 'fast-check';
import { expect } from 'vitest';
import type { PortVlans, SwitchPort } from '#build/switch/switch.js';
import { START, SwitchRig } from '../../support/switch-rig.ts';
import { BridgeModel } from './bridge-model.ts';
import { stationBytes } from './ethernet.ts';

const AGEING = 10;
/** Few, so that ports share them. 4095 is reserved, and no port carries it. */
const VLANS = [1, 2, 5, 4094];

const vlans: fc.Arbitrary<PortVlans> = fc.oneof(
  fc.record({ access: fc.constantFrom(...VLANS) }),
  fc.record(
    {
      trunk: fc.oneof(fc.constant('all' as const), fc.uniqueArray(fc.constantFrom(...VLANS), { minLength: 1 })),
      native: fc.constantFrom(...VLANS),
    },
    { requiredKeys: ['trunk'] },
  ),
);

const port: fc.Arbitrary<SwitchPort> = fc.record({ learn: fc.boolean().map((no) => !no), vlan: vlans });

const address = fc.oneof(
  { weight: 8, arbitrary: fc.nat(5).map(stationBytes) },
  { weight: 2, arbitrary: fc.constant(new Uint8Array(6).fill(255)) },
  { weight: 1, arbitrary: fc.nat(17).map((last) => Uint8Array.of(1, 0x80, 0xc2, 0, 0, last)) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 6, maxLength: 6 }) },
);

const tag = fc
  .tuple(fc.constantFrom(0x8100, 0x8100, 0x88a8), fc.constantFrom(0, 0, 4095, ...VLANS), fc.nat(15))
  .map(([type, id, priority]) => [type >>> 8, type & 255, (priority << 4) | (id >>> 8), id & 255]);

const payload = fc.oneof(
  { weight: 6, arbitrary: fc.nat(80) },
  // Around the ends of the first and second buffer.
  { weight: 1, arbitrary: fc.integer({ min: 1760, max: 1800 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3560, max: 3600 }) },
  { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 65_535 }) },
);

/** Frames with none, one or two tags; some are cut, even within the Ethernet header. */
const frame = fc
  .tuple(address, address, fc.array(tag, { maxLength: 2 }), payload, fc.option(fc.nat(24), { freq: 8, nil: undefined }))
  .map(([destination, source, tags, length, cut]) =>
    Uint8Array.from([
      ...destination,
      ...source,
      ...tags.flat(),
      0x88,
      0xb5,
      ...Array.from({ length }, (_, index) => (index * 31) & 255),
    ]).subarray(0, cut),
  );

const mirror = fc.record({ from: fc.nat(), to: fc.nat(), direction: fc.constantFrom('rx' as const, 'tx' as const) });

/** A switch, and bursts of frames with seconds between them. */
export const bridgeCase = fc.record({
  ports: fc.array(port, { minLength: 1, maxLength: 6 }),
  mirrors: fc.oneof(fc.constant([]), fc.array(mirror, { maxLength: 4 })),
  bursts: fc.array(
    fc.record({
      wait: fc.oneof(fc.constant(0), fc.nat(AGEING + 2)),
      frames: fc.array(
        fc.record({
          from: fc.nat(),
          bytes: frame,
          // Where a program, or a tag that was taken away, may leave a frame: with and without room in front.
          offset: fc.option(fc.integer({ min: 64, max: 300 }), { nil: undefined }),
          shared: fc.boolean(),
        }),
        { minLength: 1, maxLength: 12 },
      ),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});

type BridgeCase = typeof bridgeCase extends fc.Arbitrary<infer Case> ? Case : never;

const line = (to: number, bytes: Uint8Array): string => `${to}: ${Buffer.from(bytes).toString('hex')}`;

/** Sends the frames through a switch and a model, and compares what leaves where, and what is dropped why. */
export function runBridge({ ports, mirrors, bursts }: BridgeCase, base?: number): void {
  const rig = new SwitchRig({ ports, ageing: AGEING, buffers: 1500, ...(base === undefined ? {} : { base }) });
  const model = new BridgeModel(ports, AGEING);
  for (const { from, to, direction } of mirrors) {
    rig.switch.addMirror(from % ports.length, to % ports.length, direction);
    model.addMirror(from % ports.length, to % ports.length, direction);
  }
  const dropped: Record<string, number> = {};
  let now = START;
  for (const { wait, frames } of bursts) {
    now += wait;
    rig.setTime(now);
    model.now = now;
    const expected: string[] = [];
    const held: [slot: number, bytes: Uint8Array][] = [];
    for (const [index, { from, bytes, offset, shared }] of frames.entries()) {
      const port = from % ports.length;
      const place = offset !== undefined && bytes.length <= 1700 ? { offset } : {};
      const slot = rig.load({ port, bytes, ...place }, index);
      if (shared) held.push([rig.share(slot), bytes]);
      const verdict = model.forward(port, bytes);
      expected.push(...verdict.sent.map((copy) => line(copy.to, copy.bytes)));
      if (verdict.dropped === undefined) continue;
      const key = `${port} ${verdict.dropped}`;
      dropped[key] = (dropped[key] ?? 0) + 1;
    }
    const found = rig.run(frames.length).map(({ to, bytes }) => line(to, bytes));
    expect(found.sort()).toEqual(expected.sort());
    expect(rig.drops()).toEqual(dropped);
    // Whoever else holds a packet still has what came in.
    for (const [slot, bytes] of held) expect(rig.bytesOf(slot)).toEqual(bytes);
    rig.release();
    rig.expectNothingHeld();
  }
}
