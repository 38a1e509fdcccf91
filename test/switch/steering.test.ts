import fc from 'fast-check';
import { buildFrame, type FrameRepr } from 'ringway/packet';
import { describe, expect, test } from 'vitest';
import type { CompiledRule, Match } from '#build/switch/steering.js';
import { EVERYTHING, portsOf, type RigOptions, SwitchRig } from '../support/switch-rig.ts';
import { BROADCAST, ethernet } from './support/ethernet.ts';
import { runSteering, steeringCase } from './support/steering-case.ts';
import { everyKeyOf, isMatch } from './support/steering-model.ts';

const MACS = { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' };
const V4 = { source: '10.1.2.3', destination: '192.0.2.200' };
const V6 = { source: '2001:db8::1', destination: 'fe80::ff00:1' };
const payload = Uint8Array.from({ length: 20 }, (_, index) => index);
const FRAMES: Record<string, FrameRepr> = {
  tcp4: {
    ethernet: MACS,
    ipv4: { ...V4, options: new Uint8Array(8).fill(1) },
    tcp: { sourcePort: 80, destinationPort: 81 },
  },
  udp6: { ethernet: MACS, ipv6: V6, udp: { sourcePort: 1000, destinationPort: 53 }, payload },
  sctp4: { ethernet: MACS, ipv4: { ...V4, protocol: 132 }, payload },
  'udp4 behind two tags': {
    ethernet: MACS,
    vlans: [{ id: 100, priority: 3 }, { id: 200 }],
    ipv4: V4,
    udp: { sourcePort: 5, destinationPort: 6 },
  },
  'tcp6 behind extension headers': {
    ethernet: MACS,
    vlans: [{ id: 7 }],
    ipv6: { ...V6, nextHeader: 0 },
    payload: Uint8Array.from([
      60,
      0,
      1,
      4,
      0,
      0,
      0,
      0,
      6,
      1,
      ...new Array<number>(14).fill(0),
      0,
      80,
      1,
      187,
      ...payload,
    ]),
  },
  'a fragment': {
    ethernet: MACS,
    ipv4: { ...V4, fragmentOffset: 8, moreFragments: true, protocol: 17 },
    payload,
  },
  arp: {
    ethernet: MACS,
    arp: {
      operation: 1,
      senderMac: MACS.source,
      senderIp: V4.source,
      targetMac: '00:00:00:00:00:00',
      targetIp: V4.destination,
    },
  },
};

const TO_PORT = 2;

function makeRig(rules: readonly Partial<CompiledRule>[] = [], options: Partial<RigOptions> = {}): SwitchRig {
  const rig = new SwitchRig({ ports: [EVERYTHING, EVERYTHING, EVERYTHING], ...options });
  rig.steering.replace(
    rules.map((rule, index) => ({ match: { flowType: 'ether' }, action: { port: TO_PORT }, hits: index, ...rule })),
  );
  return rig;
}

describe.each(Object.entries(FRAMES))('%s', (_, repr) => {
  const whole = buildFrame(repr);
  const keys = Object.entries(everyKeyOf(whole, 128, 16)) as [keyof Match, unknown][];

  test.each(keys)('by %s, cut anywhere: matched exactly when its bytes say so', (key, value) => {
    const match = { [key]: value } as Match;
    const rig = makeRig([{ match, action: { drop: true } }]);
    let expected = 0;
    for (let length = 14; length <= whole.length; length++) {
      // What was cut off lies behind the frame: reading on would find it.
      const cut = { port: 0, bytes: whole.slice(0, length), behind: whole.slice(length) };
      const passed = rig.forward([cut]).length > 0;
      expect(passed, `${length} bytes`).toBe(!isMatch(match, cut.bytes));
      if (!passed) expected++;
    }
    expect(rig.steering.hits(0)).toBe(expected);
    expect(rig.drops()).toEqual(expected === 0 ? {} : { '0 steered': expected });
  });
});

test('the first rule that matches decides, for any rules and frames', () => {
  fc.assert(
    fc.property(steeringCase, (given) => {
      runSteering(given);
    }),
    { numRuns: 150 },
  );
});

test('a match of everything at once fits a rule', () => {
  const repr = FRAMES.udp6 as FrameRepr;
  const whole = buildFrame(repr);
  const u32 = [0, 4, 8, 12, 16, 20, 24, 28].flatMap((at) => everyKeyOf(whole, 128, at).u32 ?? []);
  const rig = makeRig([{ match: { ...everyKeyOf(whole, 128, 0), u32 } }]);
  expect(portsOf(rig.forward([{ port: 0, bytes: whole }]))).toEqual([TO_PORT]);
});

describe('actions', () => {
  test('a port gets the frame as it came, whatever its VLANs, even the one that it came from', () => {
    const rig = makeRig([{ match: { vlan: 9 } }], {
      ports: [EVERYTHING, EVERYTHING, { learn: true, vlan: { access: 3 } }],
    });
    const frame = ethernet(1, 2, 9);
    for (const port of [0, 2]) {
      expect(rig.forward([{ port, bytes: frame }]).map(({ to, bytes }) => [to, bytes])).toEqual([[TO_PORT, frame]]);
    }
    // It went past the MAC table.
    expect(rig.switch.stats().learned).toBe(0);
  });

  test('a rule is for the port that it names', () => {
    const rig = makeRig([{ inPort: 1, action: { drop: true } }]);
    expect(portsOf(rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }]))).toEqual([1, 2]);
    expect(rig.forward([{ port: 1, bytes: ethernet(2, BROADCAST) }])).toEqual([]);
  });

  test('another lcore gets the packet with the port that it came from, and does not ask the rules again', () => {
    const rig = makeRig([{ action: { lcore: 1 } }], { lcores: 2 });
    rig.switch.addMirror(0, 2, 'rx');
    const frame = ethernet(1, BROADCAST);
    const deliveries = rig.forward([{ port: 0, bytes: frame }]);
    expect(deliveries.map(({ to, lcore, from }) => ({ to, lcore, from }))).toEqual([
      { to: 2, lcore: false, from: 0 },
      { to: 1, lcore: true, from: 0 },
    ]);
    // What entered was mirrored where it entered.
    expect(portsOf(rig.forward([{ port: 0, bytes: frame }], 1, 0))).toEqual([1, 2]);
    expect(rig.steering.hits(0)).toBe(1);
  });

  test('an lcore that is told to send packets to itself goes on with them', () => {
    const rig = makeRig([{ action: { lcore: 1 } }], { lcores: 2 });
    expect(portsOf(rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }], 1))).toEqual([1, 2]);
    expect(rig.steering.hits(0)).toBe(1);
  });

  test('an lcore that is behind costs what does not fit, on the account of the port it came from', () => {
    const rig = makeRig([{ action: { lcore: 1 } }], { lcores: 2 });
    for (let burst = 0; burst < 5; burst++) {
      for (let i = 0; i < 32; i++) rig.load({ port: 1, bytes: ethernet(1, 2) }, i);
      rig.kernels.switchForward(rig.switch.paths[0] ?? 0, rig.burst, 32, 1);
    }
    expect(rig.take().length).toBe(128);
    expect(rig.drops()).toEqual({ '1 lcore-full': 32 });
    rig.expectNothingHeld();
  });
});

describe('rules', () => {
  test('are replaced as a whole, and keep their hit counters', () => {
    const rig = makeRig([{ action: { drop: true }, hits: 7 }]);
    const frame = { port: 0, bytes: ethernet(1, BROADCAST) };
    expect(rig.forward([frame])).toEqual([]);
    rig.steering.replace([]);
    expect(rig.forward([frame]).length).toBe(2);
    rig.steering.replace([{ match: { etherType: 0x88b5 }, action: { port: 1 }, hits: 7 }]);
    expect(portsOf(rig.forward([frame]))).toEqual([1]);
    expect(rig.steering.hits(7)).toBe(2);
  });

  test('are 256 at most, and the last one counts as well', () => {
    const never: CompiledRule = { match: { vlan: 4000 }, action: { drop: true }, hits: 0 };
    const rig = makeRig();
    rig.steering.replace([...new Array(255).fill(never), { match: { vlan: 0 }, action: { port: 1 }, hits: 255 }]);
    expect(portsOf(rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }]))).toEqual([1]);
    expect(rig.steering.hits(255)).toBe(1);
    expect(() => rig.steering.replace(new Array(257).fill(never))).toThrow(/257 rules, at most 256 fit/);
  });

  test.each<[Match, RegExp]>([
    [{ srcMac: '02:00' }, /02:00 is no MAC address/],
    [{ dstIp: '10.0.0.0/33' }, /10\.0\.0\.0\/33 is no prefix/],
    [
      { u32: Array.from({ length: 29 }, (_, index) => ({ value: 0, mask: 255, at: index * 4 })) },
      /a rule of 29 words, at most 28 fit/,
    ],
  ])('that cannot be are refused, and those in force stay: %j', (match, message) => {
    const rig = makeRig([{ action: { drop: true } }]);
    expect(() => rig.steering.replace([{ match, action: { port: 1 }, hits: 1 }])).toThrow(message);
    expect(rig.forward([{ port: 0, bytes: ethernet(1, BROADCAST) }])).toEqual([]);
  });
});
