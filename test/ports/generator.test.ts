import fc from 'fast-check';
import { formatMac, internetSum, parsePrefix, pseudoHeaderSum } from 'ringway/packet';
import { expect, test } from 'vitest';
import { aliasTable, zipfWeights } from '#build/ports/alias.js';
import { type GeneratorConfig, generatorPort } from '#build/ports/generator.js';
import type { Port } from '#build/ports/port.js';
import { type Packet, PortBench } from '../support/port-bench.ts';

const BASE: GeneratorConfig = {
  name: 'load',
  queues: 1,
  flows: 64,
  zipf: 0,
  size: 60,
  srcMacs: 1,
  dstMacs: 1,
  src: '198.18.0.0/16',
  dst: '198.19.0.0/16',
  protocol: 'udp',
};
const IPV6 = { src: '2001:2:0:1::/64', dst: '2001:2:0:2::/64' };

/** Makes the port, one `Port` a queue, and what checks that all was given back. */
function generator(config: Partial<GeneratorConfig>, seed = 1) {
  const bench = new PortBench();
  const before = bench.arena.regions().length;
  const share = bench.create(generatorPort, { ...BASE, ...config }, seed);
  const ports = Array.from({ length: share.rxQueues }, (_, queue) => bench.attach(generatorPort, share, { queue }));
  return {
    bench,
    share,
    port: ports[0] as Port,
    ports,
    close(): unknown[] {
      for (const port of ports) port.close();
      generatorPort.release?.(bench.setup(), share.data);
      return [...bench.leftovers(), ...(bench.arena.regions().length === before ? [] : ['a region'])];
    },
  };
}

function take(bench: PortBench, port: Port, n: number): Packet[] {
  const packets: Packet[] = [];
  while (packets.length < n) packets.push(...bench.receive(port, Math.min(32, n - packets.length)));
  return packets;
}

const u16 = (frame: Uint8Array, at: number): number => (frame[at] ?? 0) * 256 + (frame[at + 1] ?? 0);

/** What is wrong with a frame's lengths and checksums, computed again from its bytes. */
function problemsOf(frame: Uint8Array, isV6: boolean, isTcp: boolean): string[] {
  const l4 = isV6 ? 54 : 34;
  const length = frame.length - l4;
  const addresses = isV6 ? frame.subarray(22, 54) : frame.subarray(26, 34);
  const protocol = isTcp ? 6 : 17;
  const checks: Record<string, boolean> = {
    type: u16(frame, 12) === (isV6 ? 0x86dd : 0x0800),
    version: frame[14] === (isV6 ? 0x60 : 0x45),
    length: isV6 ? u16(frame, 18) === length : u16(frame, 16) === frame.length - 14,
    protocol: frame[isV6 ? 20 : 23] === protocol,
    header: isV6 || internetSum(frame, 14, 20) === 0xffff,
    transport: internetSum(frame, l4, length, pseudoHeaderSum(addresses, protocol, length)) === 0xffff,
    udpLength: isTcp || u16(frame, l4 + 4) === length,
    tcpOffset: !isTcp || (frame[l4 + 12] ?? 0) >>> 4 === 5,
    udpChecksum: isTcp || u16(frame, l4 + 6) !== 0,
  };
  return Object.keys(checks).filter((name) => !checks[name]);
}

test('lengths and checksums of every frame are right, for both families, protocols and all sizes', () => {
  const sizes = fc.oneof(fc.constantFrom(60, 61, 74, 1514, 1792, 1793, 3584, 9000), fc.integer({ min: 60, max: 9000 }));
  const config = fc.record({
    isV6: fc.boolean(),
    isTcp: fc.boolean(),
    size: sizes,
    flows: fc.constantFrom(1, 7, 300),
    seed: fc.nat(0xffffffff),
  });
  fc.assert(
    fc.property(config, ({ isV6, isTcp, size, flows, seed }) => {
      const { bench, port, close } = generator(
        { ...(isV6 ? IPV6 : {}), protocol: isTcp ? 'tcp' : 'udp', size, flows },
        seed,
      );
      for (const { frame } of take(bench, port, 64)) {
        // Headers over IPv6 need more than the smallest frame has.
        expect(frame.length).toBe(Math.max(size, 60, isV6 ? (isTcp ? 74 : 62) : 0));
        expect(problemsOf(frame, isV6, isTcp)).toEqual([]);
      }
      expect(close()).toEqual([]);
    }),
    { numRuns: 60 },
  );
});

test('buffers that were used before show in no frame', () => {
  const { bench, port, close } = generator({
    size: [
      { size: 200, weight: 1 },
      { size: 4000, weight: 1 },
    ],
  });
  for (const { frame } of take(bench, port, 2000)) {
    if (frame.subarray(42).some((byte) => byte !== 0)) throw new Error('the payload is not all zeroes');
  }
  expect(close()).toEqual([]);
});

/** Sum of (observed - expected)^2 / expected. */
function chiSquare(observed: readonly number[], weights: readonly number[]): number {
  const n = observed.reduce((sum, count) => sum + count, 0);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return observed.reduce((sum, count, i) => {
    const expected = (n * (weights[i] ?? 0)) / total;
    return sum + (count - expected) ** 2 / expected;
  }, 0);
}

/** What chi square exceeds once in 1,000 times, for 15 and 2 degrees of freedom. */
const CRITICAL_15 = 37.7;
const CRITICAL_2 = 13.8;

test.each([0, 0.8, 1.1, 2])('flows are as frequent as Zipf’s law with exponent %s says', (zipf) => {
  const { bench, port, close } = generator({ flows: 16, zipf });
  const counts = new Array<number>(16).fill(0);
  for (const { flow, frame } of take(bench, port, 40_000)) {
    counts[flow - 1] = (counts[flow - 1] ?? 0) + 1;
    if (u16(frame, 34) !== 49152 + flow - 1) throw new Error('the source port is not the flow’s');
  }
  expect(chiSquare(counts, zipfWeights(16, zipf))).toBeLessThan(CRITICAL_15);
  expect(close()).toEqual([]);
});

test('sizes come as often as they weigh, whatever the flow', () => {
  const { bench, port, close } = generator({ flows: 2, zipf: 1, size: 'imix' });
  const counts = [1, 2].map(() => [0, 0, 0]);
  for (const { flow, frame } of take(bench, port, 40_000)) {
    const row = counts[flow - 1] as number[];
    const size = [60, 590, 1514].indexOf(frame.length);
    row[size] = (row[size] as number) + 1;
  }
  for (const row of counts) expect(chiSquare(row, [7, 4, 1])).toBeLessThan(CRITICAL_2);
  expect(close()).toEqual([]);
});

test('an alias table gives each entry its share exactly', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 50 }), (weights) => {
      fc.pre(weights.some((weight) => weight > 0));
      const shares = new Array<number>(weights.length).fill(0);
      aliasTable(weights).forEach(({ threshold, other }, index) => {
        const keep = (threshold === 0xffffffff ? 2 ** 32 : threshold) / 2 ** 32;
        shares[index] = (shares[index] ?? 0) + keep;
        shares[other] = (shares[other] ?? 0) + 1 - keep;
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (const [i, weight] of weights.entries()) {
        expect((shares[i] ?? 0) / weights.length).toBeCloseTo(weight / total, 6);
      }
    }),
  );
});

test('the rate holds in virtual time, and what was missed is made up for a little', () => {
  const { bench, port, close } = generator({ rate: 5000 });
  let made = 0;
  for (let step = 0; step <= 1000; step++) {
    bench.setTime(step * 1e6);
    for (let n = 32; n === 32; made += n) n = bench.receive(port).length;
  }
  expect(Math.abs(made - 5000)).toBeLessThanOrEqual(1);
  bench.setTime(60e9);
  expect(bench.receiveAll(port)).toHaveLength(50);
  port.set?.('rate', 100);
  bench.receiveAll(port);
  bench.setTime(61e9);
  expect(Math.abs(bench.receiveAll(port, 1).length - 32)).toBeLessThanOrEqual(1);
  port.set?.('rate', undefined);
  expect(bench.receive(port)).toHaveLength(32);
  expect(() => port.set?.('limit', 1)).toThrow(/only its rate can/);
  expect(close()).toEqual([]);
});

test('a slow rate gives single packets when their time has come', () => {
  const { bench, port, close } = generator({ rate: 2 });
  const at: number[] = [];
  for (let ms = 0; ms <= 2000; ms += 50) {
    bench.setTime(ms * 1e6);
    for (const _ of bench.receive(port)) at.push(ms);
  }
  expect(at).toHaveLength(4);
  for (const [i, ms] of at.entries()) expect(Math.abs(ms - (i + 1) * 500)).toBeLessThanOrEqual(50);
  expect(close()).toEqual([]);
});

test('a limit is shared out over the queues', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 16 }), (limit, queues) => {
      const { bench, ports, share, close } = generator({ limit, queues });
      expect(share).toMatchObject({ rxQueues: queues, finite: true, pausable: true });
      const counts = ports.map((port) => bench.receiveAll(port).length);
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(limit);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
      expect(ports.every((port) => port.info().done && port.info().progress === 1)).toBe(true);
      expect(close()).toEqual([]);
    }),
    { numRuns: 20 },
  );
});

test('a seed makes the same packets again, another seed and another queue make others', () => {
  const config = { zipf: 1, size: 'imix', queues: 2, srcMacs: 8 } as const;
  const frames = (seed: number, queue = 0): string[] => {
    const { bench, ports } = generator(config, seed);
    return take(bench, ports[queue] as Port, 300).map(({ frame }) => Buffer.from(frame).toString('hex'));
  };
  expect(frames(7)).toEqual(frames(7));
  expect(frames(7)).not.toEqual(frames(8));
  expect(frames(7)).not.toEqual(frames(7, 1));
});

test('addresses count up from the first, over the end of a byte, within their prefix', () => {
  const { bench, port, close } = generator({
    flows: 600,
    srcMac: '02:00:00:00:00:fe',
    srcMacs: 300,
    dstMac: '02:00:00:00:01:00',
    dstMacs: 4,
    src: '10.0.0.0/30',
    dst: '10.1.255.0/24',
  });
  const [src, dst] = [parsePrefix('10.0.0.0/30'), parsePrefix('10.1.255.0/24')];
  const seen = { srcMac: new Set<string>(), dstMac: new Set<string>(), src: new Set<string>(), dst: new Set<string>() };
  for (const { frame, flow } of take(bench, port, 20_000)) {
    const srcMac = Buffer.from(frame.subarray(6, 12)).readUIntBE(0, 6);
    expect(srcMac).toBe(0x0200000000fe + ((flow - 1) % 300));
    seen.srcMac.add(formatMac(srcMac));
    seen.dstMac.add(formatMac(Buffer.from(frame.subarray(0, 6)).readUIntBE(0, 6)));
    seen.src.add(frame.subarray(26, 30).join('.'));
    seen.dst.add(frame.subarray(30, 34).join('.'));
  }
  expect([...seen.dstMac].sort()).toEqual([0, 1, 2, 3].map((i) => `02:00:00:00:01:0${i}`));
  expect(seen.srcMac.size).toBe(300);
  expect([...seen.src].sort()).toEqual([0, 1, 2, 3].map((i) => `10.0.0.${i}`));
  expect(seen.dst.size).toBe(256);
  expect([...seen.dst].every((address) => address.startsWith('10.1.255.'))).toBe(true);
  expect([src, dst].every((prefix) => prefix !== undefined)).toBe(true);
  expect(close()).toEqual([]);
});

test('what a generator is sent is dropped; what it cannot make is refused by name', () => {
  const { bench, port, close } = generator({});
  expect(bench.send(port, [{ frame: new Uint8Array(60) }])).toBe(1);
  expect(close()).toEqual([]);
  expect(() => generator({ src: 'here' })).toThrow(/ports\.load\.src: here is no prefix/);
  expect(() => generator({ dst: IPV6.dst })).toThrow(/ports\.load: src .* and dst .* must be of one family/);
  expect(() => generator({ srcMac: 'x' })).toThrow(/ports\.load\.srcMac: x is no MAC address/);
});

test('a pool that runs dry gives fewer packets, jumbo ones too, and loses no buffer', () => {
  const bench = new PortBench(64);
  const share = bench.create(generatorPort, {
    ...BASE,
    size: [
      { size: 60, weight: 1 },
      { size: 9000, weight: 1 },
    ],
    limit: 500,
  });
  const port = bench.attach(generatorPort, share);
  let made = 0;
  for (let n = bench.receive(port).length; n > 0; n = bench.receive(port).length) made += n;
  expect(made).toBe(500);
  expect(port.info()).toEqual({ done: true, progress: 1 });
  expect(bench.leftovers()).toEqual([]);
});
