import fc from 'fast-check';
import {
  ARP_REPLY,
  ARP_REQUEST,
  buildFrame,
  describe as describeFrame,
  EthernetView,
  type FrameRepr,
  formatIpv6,
  ICMP_ECHO_REQUEST,
  ICMP_UNREACHABLE,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  ICMPV6_UNREACHABLE,
  IcmpView,
  Ipv4View,
  Ipv6View,
  parseIpv4,
  parseIpv6,
  parseMac,
} from 'ringway/packet';
import { expect, test } from 'vitest';
import { Stack } from '#build/guest/stack.js';
import { internetSum, pseudoHeaderSum } from '#build/packet/checksum.js';
import { Random } from '#build/util/random.js';

const OURS = { mac: '02:00:00:00:00:01', v4: '10.0.0.1', local: 'fe80::1', v6: '2001:db8::1' };
const THEIRS = { mac: '02:00:00:00:00:02', v4: '10.0.0.2', v6: '2001:db8::2' };
const ETHERNET = { destination: OURS.mac, source: THEIRS.mac };
const IPV4 = { source: THEIRS.v4, destination: OURS.v4 };
const IPV6 = { source: THEIRS.v6, destination: OURS.v6 };
/** A frame's place in a larger memory: what is around it must not change. */
const AT = 100;
const ROOM = 62;

function makeStack(): Stack {
  return new Stack({
    mac: parseMac(OURS.mac) as number,
    ipv4: parseIpv4(OURS.v4) as number,
    ipv6: [OURS.local, OURS.v6].map((address) => parseIpv6(address) as Uint8Array),
  });
}

/** What the stack answers; undefined for nothing. Checksums and lengths of the answer are right, or this throws. */
function ask(stack: Stack, frame: Uint8Array): Uint8Array | undefined {
  const memory = new Uint8Array(AT + frame.length + ROOM + AT).fill(0xee);
  memory.set(frame, AT);
  const length = stack.handle(memory, AT, frame.length);
  expect([...memory.subarray(0, AT)].every((byte) => byte === 0xee)).toBe(true);
  expect([...memory.subarray(AT + Math.max(frame.length + ROOM, length))].every((byte) => byte === 0xee)).toBe(true);
  if (length === 0) return undefined;
  const reply = memory.slice(AT, AT + length);
  checkSums(reply);
  return reply;
}

function checkSums(frame: Uint8Array): void {
  const { type, payloadAt } = EthernetView.parse(frame) as EthernetView;
  const v4 = type === 0x0800 ? Ipv4View.parse(frame, payloadAt) : undefined;
  const v6 = type === 0x86dd ? Ipv6View.parse(frame, payloadAt) : undefined;
  if (v4 !== undefined) expect(internetSum(frame, v4.at, v4.headerLength)).toBe(0xffff);
  const ip = v4 ?? v6;
  if (ip === undefined) return;
  expect(ip.truncated).toBe(false);
  const protocol = v4?.protocol ?? v6?.nextHeader ?? 0;
  const initial = protocol === 1 ? 0 : pseudoHeaderSum(ip.addresses, protocol, ip.payloadLength);
  expect(internetSum(frame, ip.payloadAt, ip.payloadLength, initial)).toBe(0xffff);
}

/** The frame that the stack should answer with, told as text. */
function expectReply(stack: Stack, question: FrameRepr, answer: FrameRepr): void {
  const reply = ask(stack, buildFrame(question));
  expect(reply === undefined ? undefined : describeFrame(reply)).toBe(describeFrame(buildFrame(answer)));
}

const BACK = { destination: THEIRS.mac, source: OURS.mac };

test('it says its MAC to those who ask for its IPv4 address, and to nobody else', () => {
  const stack = makeStack();
  const request = {
    operation: ARP_REQUEST,
    senderMac: THEIRS.mac,
    senderIp: THEIRS.v4,
    targetMac: '00:00:00:00:00:00',
    targetIp: OURS.v4,
  };
  const broadcast = { destination: 'ff:ff:ff:ff:ff:ff', source: THEIRS.mac };
  expectReply(
    stack,
    { ethernet: broadcast, arp: request },
    {
      ethernet: BACK,
      arp: {
        operation: ARP_REPLY,
        senderMac: OURS.mac,
        senderIp: OURS.v4,
        targetMac: THEIRS.mac,
        targetIp: THEIRS.v4,
      },
    },
  );
  expect(ask(stack, buildFrame({ ethernet: broadcast, arp: { ...request, targetIp: '10.0.0.9' } }))).toBeUndefined();
  expect(ask(stack, buildFrame({ ethernet: broadcast, arp: { ...request, operation: ARP_REPLY } }))).toBeUndefined();
  expect(stack.counters).toMatchObject({ arp: 1, ignored: 2 });
});

/** A solicitation (RFC 4861, 4.3) for `target` from `source`. */
function solicitation(target: string, source: string, hopLimit = 255): Uint8Array {
  const bytes = parseIpv6(target) as Uint8Array;
  return buildFrame({
    ethernet: { destination: '33:33:ff:00:00:01', source: THEIRS.mac },
    ipv6: { source, destination: 'ff02::1:ff00:1', hopLimit },
    icmpv6: { type: ICMPV6_NEIGHBOR_SOLICITATION },
    payload: Uint8Array.of(...bytes, 1, 1, 2, 0, 0, 0, 0, 2),
  });
}

test.each([OURS.local, OURS.v6])('it advertises itself to neighbors that solicit %s', (target) => {
  const reply = ask(makeStack(), solicitation(target, THEIRS.v6)) as Uint8Array;
  const ip = Ipv6View.parse(reply, 14) as Ipv6View;
  expect([formatIpv6(ip.source), formatIpv6(ip.destination), ip.hopLimit]).toEqual([target, THEIRS.v6, 255]);
  const icmp = IcmpView.parse(reply, ip.payloadAt, ip.payloadLength) as IcmpView;
  expect(icmp.type).toBe(ICMPV6_NEIGHBOR_ADVERTISEMENT);
  // Solicited and override; the target; option 2 with our MAC.
  expect(reply[icmp.at + 4]).toBe(0x60);
  expect(formatIpv6(reply.slice(icmp.at + 8, icmp.at + 24))).toBe(target);
  expect([...reply.slice(icmp.at + 24)]).toEqual([2, 1, 2, 0, 0, 0, 0, 1]);
});

test('one that looks whether its address is taken gets its answer by multicast', () => {
  const reply = ask(makeStack(), solicitation(OURS.v6, '::')) as Uint8Array;
  const ip = Ipv6View.parse(reply, 14) as Ipv6View;
  expect(formatIpv6(ip.destination)).toBe('ff02::1');
  expect(reply[ip.payloadAt + 4]).toBe(0x20);
});

test('a solicitation that crossed a router is not answered', () => {
  expect(ask(makeStack(), solicitation(OURS.v6, THEIRS.v6, 254))).toBeUndefined();
  expect(ask(makeStack(), solicitation('2001:db8::9', THEIRS.v6))).toBeUndefined();
});

test.each([0, 1, 56, 1472])('it answers a ping of %i bytes', (length) => {
  const payload = Uint8Array.from({ length }, (_, i) => i);
  const stack = makeStack();
  const echo = { identifier: 7, sequence: 9 };
  expectReply(
    stack,
    { ethernet: ETHERNET, ipv4: { ...IPV4, ttl: 3 }, icmp: { type: ICMP_ECHO_REQUEST, ...echo }, payload },
    {
      ethernet: BACK,
      ipv4: { source: OURS.v4, destination: THEIRS.v4, ttl: 64 },
      icmp: { type: 0, ...echo },
      payload,
    },
  );
  expectReply(
    stack,
    { ethernet: ETHERNET, ipv6: IPV6, icmpv6: { type: ICMPV6_ECHO_REQUEST, ...echo }, payload },
    {
      ethernet: BACK,
      ipv6: { source: OURS.v6, destination: THEIRS.v6, hopLimit: 64 },
      icmpv6: { type: ICMPV6_ECHO_REPLY, ...echo },
      payload,
    },
  );
});

test('it sends UDP back to where it came from', () => {
  const payload = new TextEncoder().encode('hello');
  const ports = { sourcePort: 40_000, destinationPort: 7 };
  const back = { sourcePort: 7, destinationPort: 40_000 };
  const stack = makeStack();
  expectReply(
    stack,
    { ethernet: ETHERNET, ipv4: IPV4, udp: ports, payload },
    { ethernet: BACK, ipv4: { source: OURS.v4, destination: THEIRS.v4, ttl: 64 }, udp: back, payload },
  );
  expectReply(
    stack,
    { ethernet: ETHERNET, ipv6: IPV6, udp: ports, payload },
    { ethernet: BACK, ipv6: { source: OURS.v6, destination: THEIRS.v6, hopLimit: 64 }, udp: back, payload },
  );
});

test('a UDP port at which nobody listens is unreachable', () => {
  const udp = { sourcePort: 40_000, destinationPort: 9 };
  const payload = new Uint8Array(1400);
  const v4 = ask(makeStack(), buildFrame({ ethernet: ETHERNET, ipv4: IPV4, udp, payload })) as Uint8Array;
  // IPv4 header and 8 bytes come back (RFC 792).
  expect(v4.length).toBe(14 + 20 + 8 + 20 + 8);
  expect([...v4.slice(34, 36)]).toEqual([ICMP_UNREACHABLE, 3]);
  const v6 = ask(makeStack(), buildFrame({ ethernet: ETHERNET, ipv6: IPV6, udp, payload })) as Uint8Array;
  expect(v6.length).toBe(14 + 1280);
  expect([...v6.slice(54, 56)]).toEqual([ICMPV6_UNREACHABLE, 4]);
});

test('what is for others, cut, or damaged is ignored', () => {
  const stack = makeStack();
  const frame = buildFrame({
    ethernet: ETHERNET,
    ipv4: IPV4,
    udp: { sourcePort: 1, destinationPort: 7 },
    payload: new Uint8Array(30).fill(1),
  });
  const other = frame.slice();
  other[5] = 9;
  expect(ask(stack, other)).toBeUndefined();
  for (let length = 0; length < frame.length; length++) expect(ask(stack, frame.slice(0, length))).toBeUndefined();
  // Any byte of IP or UDP, changed: some checksum finds it, except for the MACs and the type before it.
  for (let at = 14; at < frame.length; at++) {
    const damaged = frame.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    expect(ask(stack, damaged)).toBeUndefined();
  }
  expect(ask(stack, frame)).toBeDefined();
});

test('no bytes make it write outside the frame, or throw', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (seed) => {
      const random = new Random(seed);
      const stack = makeStack();
      for (let i = 0; i < 50; i++) {
        const frame = buildFrame({
          ethernet: ETHERNET,
          ...(random.below(2) === 0 ? { ipv4: IPV4 } : { ipv6: IPV6 }),
          ...[
            { udp: { sourcePort: 1, destinationPort: random.below(9) } },
            { tcp: { sourcePort: 1, destinationPort: 2, flags: random.below(64), sequence: random.next() } },
            { icmp: { type: random.below(12) } },
            { icmpv6: { type: 128 + random.below(9) } },
          ][random.below(4)],
          payload: new Uint8Array(random.below(80)),
        } as FrameRepr);
        for (let hits = random.below(4); hits > 0; hits--) frame[14 + random.below(frame.length - 14)] = random.next();
        const memory = new Uint8Array(AT + frame.length + ROOM + AT).fill(0xee);
        memory.set(frame, AT);
        const length = stack.handle(memory, AT, frame.length, random.below(2) === 0);
        expect(length).toBeLessThanOrEqual(frame.length + ROOM);
        expect(memory.subarray(0, AT).every((byte) => byte === 0xee)).toBe(true);
        expect(memory.subarray(AT + frame.length + ROOM).every((byte) => byte === 0xee)).toBe(true);
      }
    }),
    { numRuns: 60 },
  );
});
