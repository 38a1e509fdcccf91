import fc from 'fast-check';
import {
  ArpView,
  buildFrame,
  EthernetView,
  type FrameRepr,
  GeneveView,
  type HeaderView,
  IcmpView,
  Ipv4View,
  Ipv6View,
  internetSum,
  isVlanType,
  pseudoHeaderSum,
  TcpView,
  UdpView,
  VlanView,
  VxlanView,
} from 'ringway/packet';
import { expect, test } from 'vitest';
import { anyFrame, hostileFrame } from './support/frames.ts';

type Parse = (bytes: Uint8Array, at: number, length?: number) => HeaderView | undefined;
const parsers: Record<string, Parse> = {
  ethernet: EthernetView.parse,
  vlan: VlanView.parse,
  arp: ArpView.parse,
  ipv4: Ipv4View.parse,
  ipv6: Ipv6View.parse,
  tcp: TcpView.parse,
  udp: UdpView.parse,
  icmp: IcmpView.parse,
  vxlan: VxlanView.parse,
  geneve: GeneveView.parse,
};

/** Finds each layer of a frame that was built, from the outside in, and compares it with what was asked for. */
function checkLayers(bytes: Uint8Array, repr: FrameRepr, at = 0): void {
  const ethernet = EthernetView.parse(bytes, at);
  let layer: EthernetView | VlanView | undefined = ethernet;
  for (const vlan of repr.vlans ?? []) {
    expect(isVlanType(layer?.type ?? 0)).toBe(true);
    layer = VlanView.parse(bytes, layer?.payloadAt ?? 0);
    expect(layer?.repr()).toEqual(vlan);
  }
  expect(ethernet?.repr()).toMatchObject(repr.ethernet);
  const l3 = layer?.payloadAt ?? 0;
  if (repr.arp !== undefined) {
    expect(layer?.type).toBe(0x0806);
    expect(ArpView.parse(bytes, l3)?.repr()).toEqual(repr.arp);
    return;
  }
  const ipv4 = repr.ipv4 && Ipv4View.parse(bytes, l3);
  const ipv6 = repr.ipv6 && Ipv6View.parse(bytes, l3);
  expect(layer?.type).toBe(ipv4 ? 0x0800 : 0x86dd);
  const ip = ipv4 ?? ipv6;
  expect(ip?.repr()).toMatchObject((repr.ipv4 ?? repr.ipv6) as object);
  expect(ip?.truncated).toBe(false);
  if (ipv4) expect(internetSum(bytes, l3, ipv4.headerLength)).toBe(0xffff);
  const at4 = ip?.payloadAt ?? 0;
  const protocol = ipv4?.protocol ?? ipv6?.upperLayer().protocol ?? 0;
  const length = ip?.payloadLength ?? 0;
  const initial = protocol === 1 ? 0 : pseudoHeaderSum(ip?.addresses ?? bytes, protocol, length);
  expect(internetSum(bytes, at4, length, initial)).toBe(0xffff);
  const upper = repr.tcp
    ? TcpView.parse(bytes, at4, length)
    : repr.udp
      ? UdpView.parse(bytes, at4, length)
      : IcmpView.parse(bytes, at4, length);
  expect(upper?.repr()).toEqual(repr.tcp ?? repr.udp ?? repr.icmp ?? repr.icmpv6);
  const tunnel = repr.vxlan
    ? VxlanView.parse(bytes, upper?.payloadAt ?? 0)
    : repr.geneve && GeneveView.parse(bytes, upper?.payloadAt ?? 0);
  if (tunnel !== undefined) expect(tunnel.repr()).toMatchObject((repr.vxlan ?? repr.geneve) as object);
  const inside = (tunnel ?? upper)?.payloadAt ?? 0;
  if (repr.payload instanceof Uint8Array) expect(bytes.slice(inside)).toEqual(repr.payload);
  else if (repr.payload !== undefined) checkLayers(bytes, repr.payload, inside);
}

test('every layer of a built frame reads back as it was given, with right lengths and checksums', () => {
  fc.assert(
    fc.property(anyFrame, (repr) => checkLayers(buildFrame(repr), repr)),
    { numRuns: 300 },
  );
});

/** All that can be read of a view. */
function readAll(view: HeaderView): unknown[] {
  const values: unknown[] = [];
  for (let at = Object.getPrototypeOf(view); at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (get !== undefined) values.push(name, get.call(view));
    }
  }
  const { repr, upperLayer } = view as unknown as { repr: () => unknown; upperLayer?: () => unknown };
  return [...values, repr.call(view), upperLayer?.call(view)];
}

/** `bytes`, noting the largest index that was read. `subarray` gives a plain part, which is noted as read whole. */
function watched(bytes: Uint8Array): { proxy: Uint8Array; last: () => number } {
  let last = -1;
  const proxy = new Proxy(bytes, {
    get(target, key) {
      if (key === 'length') return target.length;
      if (key === 'subarray') {
        return (from: number, to: number) => {
          if (to > from) last = Math.max(last, to - 1);
          return target.subarray(from, to);
        };
      }
      if (typeof key === 'string' && /^-?\d+$/.test(key)) last = Math.max(last, Number(key));
      return Reflect.get(target, key, target);
    },
  });
  return { proxy, last: () => last };
}

test.each(Object.entries(parsers))(
  '%s: nothing outside of the given length is read, whatever the bytes say',
  (_, parse) => {
    fc.assert(
      fc.property(hostileFrame, fc.nat(60), fc.nat(100), (frame, at, length) => {
        const { proxy, last } = watched(frame);
        const view = parse(proxy, at, length);
        if (at + length > frame.length) {
          expect(view).toBeUndefined();
          return;
        }
        if (view !== undefined) {
          readAll(view);
          expect(view.payloadLength).toBeGreaterThanOrEqual(0);
        }
        expect(last()).toBeLessThan(at + length);
      }),
      { numRuns: 400 },
    );
  },
);

test.each(Object.entries(parsers))('%s: what was found does not depend on the bytes around it', (_, parse) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(255), (header, poison) => {
      const alone = parse(header, 0);
      const shared = new Uint8Array(new SharedArrayBuffer(header.length + 20)).fill(poison);
      shared.set(header, 10);
      const among = parse(shared, 10, header.length);
      const strip = (view: HeaderView | undefined): unknown =>
        view && (view as unknown as { repr: () => object }).repr();
      expect(strip(among)).toEqual(strip(alone));
    }),
  );
});

test('setters change their field and no other', () => {
  fc.assert(
    fc.property(anyFrame, (repr) => {
      const bytes = buildFrame({ ...repr, vlans: [{ id: 1 }] });
      const vlan = VlanView.parse(bytes, 14) as VlanView;
      vlan.priority = 5;
      vlan.dropEligible = true;
      vlan.id = 4095;
      expect(vlan.repr()).toEqual({ id: 4095, priority: 5, dropEligible: true });
      const ipv4 = Ipv4View.parse(bytes, 18);
      if (ipv4 === undefined) return;
      const before = ipv4.repr();
      ipv4.ecn = 3;
      ipv4.dscp = 46;
      ipv4.ttl = 9;
      ipv4.destination = 0xffffffff;
      expect(ipv4.repr()).toEqual({ ...before, ecn: 3, dscp: 46, ttl: 9, destination: '255.255.255.255' });
    }),
  );
});

const ends = { source: '2001:db8::1', destination: '2001:db8::2' };
const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
const upperLayer = (nextHeader: number, ...payload: number[]): unknown => {
  const bytes = buildFrame({ ethernet, ipv6: { ...ends, nextHeader }, payload: Uint8Array.from(payload) });
  return Ipv6View.parse(bytes, 14)?.upperLayer();
};

test('IPv6 extension headers are walked to their end, and not for ever', () => {
  const pad = [0, 0, 0, 0, 0, 0];
  expect(upperLayer(0, 43, 0, ...pad, 17, 0, ...pad, 1, 2)).toEqual({ protocol: 17, at: 70, isFragment: false });
  expect(upperLayer(51, 6, 1, ...pad, 0, 0, 0, 0)).toEqual({ protocol: 6, at: 66, isFragment: false });
  expect(upperLayer(44, 6, 0, 0, 8, 0, 0, 0, 1)).toEqual({ protocol: 6, at: undefined, isFragment: true });
  expect(upperLayer(44, 6, 0, 0, 0, 0, 0, 0, 1)).toEqual({ protocol: 6, at: 62, isFragment: false });
  expect(upperLayer(0, 17, 200, ...pad)).toEqual({ protocol: 17, at: undefined, isFragment: false });
  expect(upperLayer(0, 0, 0, 0)).toEqual({ protocol: 0, at: undefined, isFragment: false });
  const chain = Array.from({ length: 9 }, () => [60, 0, ...pad]).flat();
  expect(upperLayer(60, ...chain)).toEqual({ protocol: 60, at: undefined, isFragment: false });
});

test('the builder names the field that is wrong', () => {
  const ipv4 = { source: '10.0.0.1', destination: '10.0.0.2' };
  const udp = { sourcePort: 1, destinationPort: 2 };
  const refusals: [FrameRepr, RegExp][] = [
    [{ ethernet }, /ethernet.type is needed/],
    [{ ethernet: { ...ethernet, source: '2:0', type: 1 } }, /ethernet.source "2:0" is no MAC address/],
    [{ ethernet, ipv4: { ...ipv4, source: '10.0.0.256' }, udp }, /ipv4.source "10.0.0.256" is no IPv4 address/],
    [{ ethernet, ipv4 }, /ipv4.protocol is needed/],
    [{ ethernet, ipv4: { ...ipv4, ttl: 256 }, udp }, /ipv4.ttl 256 must be from 0 to 255/],
    [{ ethernet, ipv4: { ...ipv4, fragmentOffset: 4 }, udp }, /multiple of 8/],
    [
      { ethernet, ipv4: { ...ipv4, options: new Uint8Array(3) }, udp },
      /ipv4.options of 3 bytes, must be a multiple of 4/,
    ],
    [{ ethernet, ipv4, udp, payload: new Uint8Array(65_520) }, /ipv4 length 65548 must be from 0 to 65535/],
    [{ ethernet, udp }, /need ipv4 or ipv6/],
    [{ ethernet, ipv4, ipv6: ends, udp }, /only one of arp, ipv4 and ipv6/],
    [{ ethernet, ipv4, udp, tcp: udp }, /only one of tcp/],
    [{ ethernet, ipv4, vxlan: { vni: 1 } }, /inside udp/],
    [{ ethernet, vlans: [{ id: 1 }, { id: 2 }, { id: 3 }], ipv4, udp }, /3 VLAN tags/],
  ];
  for (const [repr, message] of refusals) expect(() => buildFrame(repr)).toThrow(message);
});
