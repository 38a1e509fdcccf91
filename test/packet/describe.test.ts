import fc from 'fast-check';
import { buildFrame, describe, type FrameRepr } from 'ringway/packet';
import { expect, test } from 'vitest';
import { hostileFrame } from './support/frames.ts';

const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const ipv4 = { source: '10.0.0.1', destination: '10.0.0.2' };
const ipv6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const udp = { sourcePort: 1234, destinationPort: 53 };
const payload = new Uint8Array(5);
const arp = { senderMac: ethernet.source, senderIp: '10.0.0.1', targetMac: '00:00:00:00:00:00', targetIp: '10.0.0.2' };

test.each<[string, Omit<FrameRepr, 'ethernet'>]>([
  ['10.0.0.1:1234 > 10.0.0.2:53 udp, 5 bytes', { ipv4, udp, payload }],
  ['[2001:db8::1]:1234 > [2001:db8::2]:53 udp, 0 bytes', { ipv6, udp }],
  [
    'vlan 7 vlan 8 priority 3 10.0.0.1:1234 > 10.0.0.2:53 udp, 0 bytes',
    { ipv4, udp, vlans: [{ id: 7 }, { id: 8, priority: 3 }] },
  ],
  [
    '10.0.0.1:1 > 10.0.0.2:2 tcp S. seq 3 ack 4 win 5, 5 bytes',
    {
      ipv4,
      payload,
      tcp: { sourcePort: 1, destinationPort: 2, flags: 0x12, sequence: 3, acknowledgment: 4, window: 5 },
    },
  ],
  ['arp who-has 10.0.0.2 tell 10.0.0.1', { arp: { ...arp, operation: 1 } }],
  ['arp 10.0.0.1 is-at 02:00:00:00:00:01', { arp: { ...arp, operation: 2 } }],
  ['arp operation 9 from 10.0.0.1', { arp: { ...arp, operation: 9 } }],
  [
    '10.0.0.1 > 10.0.0.2 icmp echo request id 1 seq 2, 5 bytes',
    { ipv4, icmp: { type: 8, identifier: 1, sequence: 2 }, payload },
  ],
  ['10.0.0.1 > 10.0.0.2 icmp type 3 code 1, 0 bytes', { ipv4, icmp: { type: 3, code: 1 } }],
  [
    '2001:db8::1 > 2001:db8::2 icmpv6 who-has fe80::1',
    { ipv6, icmpv6: { type: 135 }, payload: Uint8Array.from([0xfe, 0x80, ...new Array(13).fill(0), 1]) },
  ],
  ['2001:db8::1 > 2001:db8::2 icmpv6 advertises: cut', { ipv6, icmpv6: { type: 136 } }],
  [
    '10.0.0.1 > 10.0.0.2 protocol 17 fragment at 0+, 13 bytes',
    { ipv4: { ...ipv4, moreFragments: true }, udp, payload },
  ],
  ['10.0.0.1 > 10.0.0.2 protocol 89, 5 bytes', { ipv4: { ...ipv4, protocol: 89 }, payload }],
  [
    '10.0.0.1:9 > 10.0.0.2:4789 udp vxlan 42 { 10.0.0.1:1234 > 10.0.0.2:53 udp, 5 bytes }',
    {
      ipv4,
      udp: { sourcePort: 9, destinationPort: 4789 },
      vxlan: { vni: 42 },
      payload: { ethernet, ipv4, udp, payload },
    },
  ],
  [
    '10.0.0.1:9 > 10.0.0.2:6081 udp geneve 43 { arp operation 3 from 10.0.0.1 }',
    {
      ipv4,
      udp: { sourcePort: 9, destinationPort: 6081 },
      geneve: { vni: 43 },
      payload: { ethernet, arp: { ...arp, operation: 3 } },
    },
  ],
])('%s', (line, repr) => {
  expect(describe(buildFrame({ ethernet, ...repr }))).toBe(line);
});

test('other EtherTypes and cut frames', () => {
  const lldp = buildFrame({ ethernet: { ...ethernet, type: 0x88cc }, payload });
  expect(describe(lldp)).toBe('02:00:00:00:00:01 > 02:00:00:00:00:02 type 0x88cc, 5 bytes');
  const frame = buildFrame({ ethernet, ipv4, udp, payload });
  expect(describe(frame.subarray(0, 13))).toBe('ethernet: cut, 13 bytes');
  expect(describe(frame.subarray(0, 20))).toBe('ipv4: cut or malformed, 6 bytes');
  expect(describe(frame.subarray(0, 40))).toBe('10.0.0.1 > 10.0.0.2 udp: cut or malformed, 6 bytes, cut');
  expect(describe(frame.subarray(0, 44))).toBe('10.0.0.1:1234 > 10.0.0.2:53 udp, 2 bytes, cut');
});

test('any bytes give one line', () => {
  fc.assert(
    fc.property(fc.oneof(hostileFrame, fc.uint8Array({ maxLength: 200 })), (frame) => {
      expect(describe(frame)).toMatch(/^[ -~]+$/);
    }),
    { numRuns: 3000 },
  );
});

test('frames in frames in frames end', () => {
  let inner: FrameRepr = { ethernet, ipv4, udp };
  for (let i = 0; i < 20; i++) {
    inner = { ethernet, ipv4, udp: { sourcePort: 1, destinationPort: 4789 }, vxlan: { vni: i }, payload: inner };
  }
  expect(describe(buildFrame(inner)).match(/vxlan/g)).toHaveLength(4);
});
