import fc from 'fast-check';
import { buildFrame, formatIpv4, formatIpv6, Ipv4View, internetSum } from 'ringway/packet';
import { expect } from 'vitest';
import { buildRoutes, type Route } from '#build/packet/prefix.js';
import { EVERYTHING, SwitchRig } from '../../support/switch-rig.ts';
import { addressBytes, masked, sameBits } from './packets.ts';

/** The router's own address. */
export const ROUTER = '02:00:00:00:ff:01';
const ROUTER_BYTES = Uint8Array.of(2, 0, 0, 0, 0xff, 1);
const PORTS = 6;

/** The MAC address of the next hop of route `index`. */
export function hopMac(index: number): Uint8Array {
  return Uint8Array.of(0x02, 0x10, 0x20, 0x30, index >>> 8, index & 255);
}

const prefix = (family: 4 | 6): fc.Arbitrary<Route['prefix']> =>
  fc
    .tuple(
      addressBytes(family === 4 ? 4 : 16),
      fc.oneof(fc.integer({ min: 0, max: family === 4 ? 32 : 128 }), fc.constant(family === 4 ? 32 : 128)),
    )
    .map(([bytes, length]) => ({ family, bytes: masked(bytes, length), length }));

/** Routes of both families, and addresses that may or may not be covered by them. */
export const routerCase = fc.record({
  prefixes: fc.uniqueArray(fc.oneof(prefix(4), prefix(6)), {
    maxLength: 40,
    selector: ({ family, bytes, length }) => `${family} ${bytes}/${length}`,
  }),
  /** An address, or one of a prefix that is there with bits behind it. */
  packets: fc.array(
    fc.record({
      bytes: fc.oneof(addressBytes(4), addressBytes(16)),
      near: fc.option(fc.nat(), { nil: undefined }),
      hops: fc.oneof(fc.nat(3), fc.nat(255)),
      vlan: fc.option(fc.record({ id: fc.constantFrom(0, 5), priority: fc.nat(7) }), { nil: undefined }),
      options: fc.nat(10).map((words) => new Uint8Array(words * 4).fill(1)),
      identification: fc.nat(65535),
      shared: fc.boolean(),
    }),
    { minLength: 1, maxLength: 32 },
  ),
});

type RouterCase = typeof routerCase extends fc.Arbitrary<infer Case> ? Case : never;
type Packet = RouterCase['packets'][number];

/** A rig whose switch routes. */
export function makeRouter(routes: readonly Route[], base?: number): SwitchRig {
  const rig = new SwitchRig({
    ports: new Array(PORTS).fill(EVERYTHING),
    buffers: 300,
    ...(base === undefined ? {} : { base }),
  });
  buildRoutes(rig.arena, rig.switch.routes, ROUTER_BYTES, routes);
  return rig;
}

function addressOf({ bytes, near }: Packet, prefixes: RouterCase['prefixes']): Uint8Array {
  const found = near === undefined ? undefined : prefixes[near % Math.max(1, prefixes.length)];
  if (found?.bytes.length !== bytes.length) return bytes;
  return bytes.map((byte, index) => {
    const mask = 0xff00 >>> Math.min(8, Math.max(0, found.length - index * 8));
    return (byte & ~mask) | ((found.bytes[index] ?? 0) & mask);
  });
}

/** An IP packet to the router's MAC address. */
export function packetTo(address: Uint8Array, packet: Pick<Packet, 'hops' | 'vlan' | 'options' | 'identification'>) {
  const { hops, vlan, options, identification } = packet;
  const network =
    address.length === 4
      ? {
          ipv4: {
            source: '192.0.2.1',
            destination: formatIpv4(new DataView(address.buffer).getUint32(0)),
            ttl: hops,
            options,
            identification,
          },
        }
      : { ipv6: { source: '2001:db8::1', destination: formatIpv6(address), hopLimit: hops } };
  return buildFrame({
    ethernet: { destination: ROUTER, source: '02:00:00:00:00:01' },
    vlans: vlan === undefined ? [] : [vlan],
    ...network,
    udp: { sourcePort: 1, destinationPort: 2 },
    payload: Uint8Array.of(1, 2, 3),
  });
}

/** What a router makes of `frame`: without its tag, one hop fewer, new MAC addresses, the checksum computed anew. */
function routed(frame: Uint8Array, tagged: boolean, hop: Uint8Array): Uint8Array {
  const out = Uint8Array.from([...hop, ...ROUTER_BYTES, ...frame.subarray(tagged ? 16 : 12)]);
  const isV4 = out[12] === 0x08;
  const at = isV4 ? 22 : 21;
  out[at] = (out[at] ?? 0) - 1;
  if (isV4) Ipv4View.parse(out, 14)?.fillChecksum();
  return out;
}

/** Routes the packets, and compares with the longest prefix found by looking at every one. */
export function runRouter({ prefixes, packets }: RouterCase, base?: number): void {
  const routes = prefixes.map((prefix, index) => ({ prefix, port: 1 + (index % (PORTS - 1)), mac: hopMac(index) }));
  const rig = makeRouter(routes, base);
  const expected: { to: number; bytes: Uint8Array }[] = [];
  const dropped: Record<string, number> = {};
  const held: [slot: number, bytes: Uint8Array][] = [];
  for (const [index, packet] of packets.entries()) {
    const address = addressOf(packet, prefixes);
    const frame = packetTo(address, packet);
    const slot = rig.load({ port: 0, bytes: frame }, index);
    if (packet.shared) held.push([rig.share(slot), frame]);
    const covering = routes.filter(
      ({ prefix }) => prefix.bytes.length === address.length && sameBits(prefix.bytes, address, prefix.length),
    );
    const best = covering.sort((a, b) => b.prefix.length - a.prefix.length)[0];
    const reason = packet.hops <= 1 ? 'ttl' : best === undefined ? 'no-route' : undefined;
    if (reason !== undefined) dropped[`0 ${reason}`] = (dropped[`0 ${reason}`] ?? 0) + 1;
    else if (best !== undefined) {
      expected.push({ to: best.port, bytes: routed(frame, packet.vlan !== undefined, best.mac) });
    }
  }
  const found = rig.run(packets.length);
  for (const { bytes } of found) {
    if (bytes[12] === 0x08) expect(internetSum(bytes, 14, ((bytes[14] ?? 0) & 15) * 4)).toBe(0xffff);
  }
  const byPort = [...expected].sort((a, b) => a.to - b.to);
  expect(found.map(({ to, bytes }) => ({ to, bytes }))).toEqual(byPort);
  expect(rig.drops()).toEqual(dropped);
  for (const [slot, bytes] of held) expect(rig.bytesOf(slot)).toEqual(bytes);
  rig.release();
  rig.expectNothingHeld();
}
