import fc from 'fast-check';
import { buildFrame, type FrameRepr, formatIpv4, formatIpv6, formatMac } from 'ringway/packet';

const u8 = fc.nat(255);
const u16 = fc.nat(65535);
const u24 = fc.nat(0xffffff);
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const mac = fc.nat(2 ** 48 - 1).map(formatMac);
const ipv4Address = u32.map(formatIpv4);
const ipv6Address = fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatIpv6);
const words = (most: number): fc.Arbitrary<Uint8Array> =>
  fc.nat(most / 4).chain((n) => fc.uint8Array({ minLength: n * 4, maxLength: n * 4 }));
const payload = fc.uint8Array({ maxLength: 60 });

const ethernet = fc.record({ destination: mac, source: mac });
const vlans = fc.array(fc.record({ id: fc.nat(4095), priority: fc.nat(7), dropEligible: fc.boolean() }), {
  maxLength: 2,
});
const ipv4 = fc.record({
  source: ipv4Address,
  destination: ipv4Address,
  ttl: u8,
  dscp: fc.nat(63),
  ecn: fc.nat(3),
  identification: u16,
  dontFragment: fc.boolean(),
  options: words(40),
});
const ipv6 = fc.record({
  source: ipv6Address,
  destination: ipv6Address,
  hopLimit: u8,
  trafficClass: u8,
  flowLabel: fc.nat(0xfffff),
});
const arp = fc.record({ operation: u16, senderMac: mac, senderIp: ipv4Address, targetMac: mac, targetIp: ipv4Address });
const tcp = fc.record({
  sourcePort: u16,
  destinationPort: u16,
  sequence: u32,
  acknowledgment: u32,
  flags: u8,
  window: u16,
  urgent: u16,
  options: words(40),
});
const udp = fc.record({ sourcePort: u16, destinationPort: u16 });
const icmp = fc.record({ type: u8, code: u8, identifier: u16, sequence: u16 });
const vxlan = fc.record({ vni: u24 });
const geneve = fc.record({ vni: u24, oam: fc.boolean(), critical: fc.boolean(), options: words(252) });

const network = fc.oneof(fc.record({ ipv4 }), fc.record({ ipv6 }));
const simple: fc.Arbitrary<FrameRepr> = fc
  .tuple(
    fc.record({ ethernet, vlans, payload }),
    network,
    fc.oneof(fc.record({ tcp }), fc.record({ udp }), fc.record({ icmp }), fc.record({ icmpv6: icmp })),
  )
  .map(([outer, middle, inner]) => ({ ...outer, ...middle, ...inner }));
const arpFrame: fc.Arbitrary<FrameRepr> = fc.record({ ethernet, vlans, arp });
const tunnel: fc.Arbitrary<FrameRepr> = fc
  .tuple(
    fc.record({ ethernet, vlans, udp, payload: simple }),
    network,
    fc.oneof(fc.record({ vxlan }), fc.record({ geneve })),
  )
  .map(([{ udp: ports, ...outer }, middle, inner]) => ({
    ...outer,
    ...middle,
    ...inner,
    udp: { ...ports, destinationPort: 'vxlan' in inner ? 4789 : 6081 },
  }));

/** Any frame that the builder can express. */
export const anyFrame: fc.Arbitrary<FrameRepr> = fc.oneof({ weight: 4, arbitrary: simple }, arpFrame, tunnel);

const EXTENSIONS = [0, 43, 44, 51, 60, 135, 139, 140];
const extension = fc.record({
  next: fc.constantFrom(...EXTENSIONS, 6, 17, 132, 59),
  body: fc.uint8Array({ maxLength: 22 }),
});

/** IPv6 packets with extension headers that may be chained rightly, cut, or of lengths that are made up. */
export const extendedFrame: fc.Arbitrary<FrameRepr> = fc
  .tuple(
    fc.record({ ethernet, vlans }),
    ipv6,
    fc.constantFrom(...EXTENSIONS),
    fc.array(extension, { maxLength: 11 }),
    fc.boolean(),
  )
  .map(([outer, header, first, chain, right]) => {
    const bytes = chain.flatMap(({ next, body }) => {
      const length = right ? 8 : 2 + body.length;
      return [next, right ? 0 : body.length >>> 3, ...body, ...new Array<number>(24).fill(0)].slice(0, length);
    });
    return { ...outer, ipv6: { ...header, nextHeader: first }, payload: Uint8Array.from(bytes) };
  });

/** Bytes of a frame, of which some may have been changed, up to where it may have been cut, and those behind. */
export const cutFrame: fc.Arbitrary<{ bytes: Uint8Array; behind: Uint8Array }> = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: anyFrame }, extendedFrame),
    fc.array(fc.tuple(fc.nat(120), u8), { maxLength: 4 }),
    fc.nat(400),
  )
  .map(([repr, changes, length]) => {
    const bytes = buildFrame(repr);
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return { bytes: bytes.slice(0, length), behind: bytes.slice(length) };
  });

/** The frame alone, as it may have been changed and cut. */
export const hostileFrame: fc.Arbitrary<Uint8Array> = cutFrame.map(({ bytes }) => bytes);
