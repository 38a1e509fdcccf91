import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CTX_CPU,
  CTX_DATA,
  CTX_DATA_END,
  CTX_LOG,
  KIND_HASH,
  KIND_PERF_EVENT_ARRAY,
  KIND_RINGBUF,
} from '#build/bpf/layout.js';
import { createLog, formatLog, type LogEntry, readLog } from '#build/bpf/maps/log.js';
import type { BpfMap } from '#build/bpf/maps/map.js';
import { type PerfEvent, readPerf, readRingbuf } from '#build/bpf/maps/readers.js';
import { BASES } from '../../support/arena.ts';
import { MapBench } from '../support/maps.ts';

const [E2BIG, EAGAIN, EFAULT, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP] = [-7, -11, -14, -22, -2, -28, -95];

function ringBench(base: number, maxEntries = 256): { bench: MapBench; map: BpfMap } {
  const bench = new MapBench(base, 1 << 20);
  const map = bench.create(KIND_RINGBUF, { keyBytes: 0, valueBytes: 0, maxEntries });
  bench.setRanges(bench.create(KIND_HASH), map);
  return { bench, map };
}

const takenBy = (bytes: number): number => Math.ceil((bytes + 8) / 8) * 8;

describe.each(BASES)('ring buffer, regions above %i', (base) => {
  test('what is submitted arrives, in order, once; what does not fit is counted', () => {
    const operation = fc.record({
      what: fc.constantFrom('reserve', 'reserve', 'output', 'submit', 'discard', 'read', 'readOne'),
      bytes: fc.oneof(fc.nat(40), fc.nat(260)),
      which: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 100 }), (operations) => {
        const { bench, map } = ringBench(base);
        const { kernels, ctx, arena } = bench;
        /** Records in order of reservation. */
        let records: { at: number; bytes: Uint8Array; state: 'busy' | 'ready' | 'discarded' }[] = [];
        let fill = 0;
        let serial = 0;
        let lost = 0;
        const read = (limit: number): void => {
          const got: Uint8Array[] = [];
          const counts = readRingbuf(map, (data) => got.push(data), limit);
          const expected: Uint8Array[] = [];
          while (expected.length < limit && records[0] !== undefined && records[0].state !== 'busy') {
            const { bytes, state } = records.shift() as (typeof records)[number];
            fill -= takenBy(bytes.length);
            if (state === 'ready') expected.push(bytes);
          }
          // Discarded ones behind the last one are passed over only when somebody looks for another.
          expect(got).toEqual(expected);
          expect(counts).toEqual({ records: got.length, lost, damaged: 0 });
          lost = 0;
        };
        for (const { what, bytes: size, which } of operations) {
          const content = new Uint8Array(size).fill(++serial);
          const fits = takenBy(size) <= 256 && fill + takenBy(size) <= 255;
          if (what === 'reserve') {
            const at = kernels.bpfRingbufReserve(ctx, map.address, BigInt(size), 0n) >>> 0;
            expect(at !== 0).toBe(fits);
            if (fits) {
              arena.u8.set(content, at);
              records.push({ at, bytes: content, state: 'busy' });
              fill += takenBy(size);
            } else lost++;
          } else if (what === 'output') {
            const result = Number(kernels.bpfRingbufOutput(ctx, map.address, bench.put(content), size, 1n));
            expect(result).toBe(fits ? 0 : EAGAIN);
            if (fits) {
              records.push({ at: 0, bytes: content, state: 'ready' });
              fill += takenBy(size);
            } else lost++;
          } else if (what === 'submit' || what === 'discard') {
            const busy = records.filter(({ state }) => state === 'busy');
            const record = busy[which % Math.max(1, busy.length)];
            if (record === undefined) continue;
            if (what === 'submit') kernels.bpfRingbufSubmit(ctx, record.at, 0n);
            else kernels.bpfRingbufDiscard(ctx, record.at, 0n);
            // A second time changes nothing.
            kernels.bpfRingbufDiscard(ctx, record.at, 0n);
            record.state = what === 'submit' ? 'ready' : 'discarded';
          } else read(what === 'read' ? Number.POSITIVE_INFINITY : 1);
          expect(kernels.bpfRingbufQuery(ctx, map.address, 0n)).toBe(BigInt(fill));
        }
        for (const record of records) {
          if (record.state !== 'busy') continue;
          kernels.bpfRingbufSubmit(ctx, record.at, 0n);
          record.state = 'ready';
        }
        read(Number.POSITIVE_INFINITY);
        records = [];
        expect(arena.damaged()).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  test('a program that writes over headers spoils its own records and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(30), fc.option(fc.nat(0xffffffff), { nil: undefined }), fc.boolean()), {
          maxLength: 60,
        }),
        (records) => {
          const { bench, map } = ringBench(base, 1024);
          const { kernels, ctx, arena } = bench;
          for (const [bytes, header, before] of records) {
            const at = kernels.bpfRingbufReserve(ctx, map.address, BigInt(bytes), 0n) >>> 0;
            expect(at).not.toBe(0);
            const isAsItWas = header === bytes || (before && header === (bytes | 0x80000000) >>> 0);
            const spoil = header !== undefined && !isAsItWas;
            arena.u8.fill(7, at, at + bytes);
            if (header !== undefined && before) arena.u32[(at - 8) >>> 2] = header;
            kernels.bpfRingbufSubmit(ctx, at, 0n);
            if (header !== undefined && !before) arena.u32[(at - 8) >>> 2] = header;
            const got: Uint8Array[] = [];
            const counts = readRingbuf(map, (data) => got.push(data));
            expect(got).toEqual(spoil ? [] : [new Uint8Array(bytes).fill(7)]);
            expect(counts.damaged).toBe(spoil ? 1 : 0);
            expect(kernels.bpfRingbufQuery(ctx, map.address, 0n)).toBe(0n);
          }
          expect(arena.damaged()).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('an address that is no record of the ring ends none', () => {
    const { bench, map } = ringBench(base);
    const { kernels, ctx } = bench;
    const at = kernels.bpfRingbufReserve(ctx, map.address, 64n, 0n) >>> 0;
    const [range] = map.ranges();
    for (const address of [
      0,
      8,
      at + 8,
      at - 8,
      at + 4,
      at + 1,
      ctx,
      map.address,
      0xffffffff,
      (range?.address ?? 0) + 512,
    ]) {
      kernels.bpfRingbufSubmit(ctx, address, 0n);
      kernels.bpfRingbufDiscard(ctx, address, 0n);
    }
    expect(readRingbuf(map, () => {}).records).toBe(0);
    kernels.bpfRingbufSubmit(ctx, at, 0n);
    expect(readRingbuf(map, () => {}).records).toBe(1);
  });

  test('flags, other maps, and what can be asked', () => {
    const { bench, map } = ringBench(base);
    const { kernels, ctx } = bench;
    const other = bench.create(KIND_HASH);
    const data = bench.put(new Uint8Array(4));
    expect(kernels.bpfRingbufReserve(ctx, map.address, 8n, 1n)).toBe(0);
    expect(kernels.bpfRingbufReserve(ctx, other.address, 8n, 0n)).toBe(0);
    expect(kernels.bpfRingbufReserve(ctx, map.address, 0x1_0000_0000n, 0n)).toBe(0);
    expect(Number(kernels.bpfRingbufOutput(ctx, map.address, data, 4, 4n))).toBe(EINVAL);
    expect(Number(kernels.bpfRingbufOutput(ctx, other.address, data, 4, 0n))).toBe(EINVAL);
    expect(Number(kernels.bpfRingbufOutput(ctx, map.address, data, 4, 3n))).toBe(0);
    expect([0n, 1n, 2n, 3n, 4n].map((what) => kernels.bpfRingbufQuery(ctx, map.address, what))).toEqual([
      16n,
      256n,
      0n,
      16n,
      0n,
    ]);
    expect(() => map.get(0)).toThrow(/readRingbuf/);
    expect(() => readPerf(map, () => {})).toThrow(/map m: readPerf reads a PERF_EVENT_ARRAY, this is a RINGBUF/);
  });
});

describe.each(BASES)('events by CPU, regions above %i', (base) => {
  test('data and packet bytes arrive by CPU; what does not fit is lost and counted', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cpu: fc.nat(1), bytes: fc.nat(90), packet: fc.nat(70), read: fc.boolean() }), {
          maxLength: 60,
        }),
        (events) => {
          const bench = new MapBench(base, 1 << 20);
          const map = bench.create(
            KIND_PERF_EVENT_ARRAY,
            { keyBytes: 4, valueBytes: 4, maxEntries: 0 },
            { ringBytes: 256 },
          );
          const { kernels, ctx, arena } = bench;
          const packet = Uint8Array.from({ length: 60 }, (_, i) => 200 + (i % 50));
          const at = bench.put(packet, 512);
          bench.set(CTX_DATA, at);
          bench.set(CTX_DATA_END, at + 60);
          const expected: PerfEvent[][] = [[], []];
          const lost = [0, 0];
          const fill = [0, 0];
          const read = (): void => {
            const got: PerfEvent[] = [];
            expect(readPerf(map, (event) => got.push(event))).toEqual(lost);
            expect(got).toEqual(expected.flat());
            for (const cpu of [0, 1]) [expected[cpu], lost[cpu], fill[cpu]] = [[], 0, 0];
          };
          for (const { cpu, bytes, packet: more, read: now } of events) {
            const content = Uint8Array.from({ length: bytes }, (_, i) => i + bytes);
            bench.set(CTX_CPU, cpu);
            const index = bytes & 1 ? BigInt(cpu) : 0xffffffffn;
            const flags = (BigInt(more) << 32n) | index;
            const result = Number(kernels.bpfPerfEventOutput(ctx, ctx, map.address, flags, bench.put(content), bytes));
            const taken = Math.ceil((bytes + more + 4) / 8) * 8;
            if (more > 60) expect(result).toBe(EFAULT);
            else if ((fill[cpu] ?? 0) + taken > 256) {
              expect(result).toBe(ENOSPC);
              lost[cpu] = (lost[cpu] ?? 0) + 1;
            } else {
              expect(result).toBe(0);
              fill[cpu] = (fill[cpu] ?? 0) + taken;
              expected[cpu]?.push({ cpu, data: Uint8Array.of(...content, ...packet.subarray(0, more)) });
            }
            if (now) read();
          }
          read();
          expect(arena.damaged()).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('errors', () => {
    const bench = new MapBench(base, 1 << 20);
    const map = bench.create(KIND_PERF_EVENT_ARRAY, { maxEntries: 3 });
    const { kernels, ctx } = bench;
    const output = (flags: bigint, of = map): number =>
      Number(kernels.bpfPerfEventOutput(ctx, ctx, of.address, flags, bench.put(new Uint8Array(4)), 4));
    expect(output(3n)).toBe(E2BIG);
    expect(output(2n)).toBe(ENOENT);
    expect(output(1n)).toBe(EOPNOTSUPP);
    expect(output(1n << 52n)).toBe(EINVAL);
    expect(output(0n, bench.create(KIND_HASH))).toBe(EINVAL);
    expect(output(0n)).toBe(0);
  });
});

describe('the log', () => {
  test('lines of all programs, put together when they are read', () => {
    const bench = new MapBench();
    const { kernels, ctx, arena } = bench;
    const log = createLog(arena, 'log');
    bench.set(CTX_LOG, log);
    bench.set(CTX_CPU, 1);
    const text = (format: string): [number, number] => {
      const bytes = new TextEncoder().encode(`${format}\0`);
      return [bench.put(bytes), bytes.length];
    };
    expect(kernels.bpfTracePrintk(ctx, ...text('port %d of %u'), -3n, 7n, 0n)).toBe(13n);
    const numbers = bench.put(new Uint8Array(BigUint64Array.of(1n, 2n, 3n, 4n).buffer), 1024);
    expect(kernels.bpfTraceVprintk(ctx, ...text('%d %d %d %llx'), numbers, 32)).toBe(13n);
    const entries: LogEntry[] = [];
    expect(readLog(arena, log, (entry) => entries.push(entry))).toBe(0);
    expect(entries).toEqual([
      { program: 0, cpu: 1, text: 'port -3 of 7' },
      { program: 0, cpu: 1, text: '1 2 3 4' },
    ]);
    const errno = (result: bigint): number => Number(result);
    expect(errno(kernels.bpfTracePrintk(ctx, text('no end')[0], 5, 0n, 0n, 0n))).toBe(EINVAL);
    expect(errno(kernels.bpfTracePrintk(ctx, ...text('%d %d %d %d'), 0n, 0n, 0n))).toBe(EINVAL);
    expect(errno(kernels.bpfTracePrintk(ctx, ...text('caf\u00e9'), 0n, 0n, 0n))).toBe(EINVAL);
    expect(errno(kernels.bpfTraceVprintk(ctx, ...text('%d'), numbers, 4))).toBe(EINVAL);
    expect(errno(kernels.bpfTraceVprintk(ctx, ...text('%d'), numbers, 104))).toBe(EINVAL);
    expect(errno(kernels.bpfTraceVprintk(ctx, ...text('%d'), 0, 8))).toBe(EINVAL);
    expect(errno(kernels.bpfTraceVprintk(ctx, ...text('100%%'), 0, 0))).toBe(5);
    for (let i = 0; i < 3000; i++) kernels.bpfTracePrintk(ctx, ...text('again'), 0n, 0n, 0n);
    entries.length = 0;
    const lost = readLog(arena, log, (entry) => entries.push(entry));
    expect([entries[0]?.text, entries.length + lost]).toEqual(['100%', 3001]);
    expect(lost).toBeGreaterThan(0);
    expect(arena.damaged()).toEqual([]);
  });

  test.each([
    ['%d %i', [0xffffffffn, 0x80000000n], '-1 -2147483648'],
    ['%u %x %X', [0xffffffffffn, 0xabcn, 0xabcn], '4294967295 abc ABC'],
    ['%lld %llu', [(1n << 64n) - 1n, (1n << 64n) - 1n], '-1 18446744073709551615'],
    ['%ld|%5d|%-5d|%05d', [-7n, 42n, 42n, -42n], '-7|   42|42   |-0042'],
    ['%#x %08lx', [255n, 255n], '0xff 000000ff'],
    ['%c%c', [104n, 105n], 'hi'],
    ['%s %p', [1n, 0x1234n], '(s) 0x0000000000001234'],
    ['%pI4 %pI6 %pks', [1n, 2n, 3n], '0x0000000000000001 0x0000000000000002 0x0000000000000003'],
    ['50%% of %d', [2n], '50% of 2'],
    ['%d %d', [1n], '1 %d'],
    ['%q %', [1n], '%q %'],
  ] as const)('%s', (format, numbers, expected) => {
    expect(formatLog(format, numbers)).toBe(expected);
  });
});
