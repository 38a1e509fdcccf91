import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import {
  KIND_ARRAY,
  KIND_HASH,
  KIND_LPM_TRIE,
  KIND_LRU_HASH,
  KIND_LRU_PERCPU_HASH,
  KIND_PERCPU_ARRAY,
  KIND_PERCPU_HASH,
} from '#build/bpf/layout.js';
import { KernelBpf, openKernelBpf } from '../../support/kernel-bpf.ts';
import { MapBench } from '../support/maps.ts';

const opened = openKernelBpf();
const kernel = opened instanceof KernelBpf ? opened : undefined;
if (kernel === undefined) console.log(`skipped: ${opened}`);
afterAll(() => kernel?.close());

const same = (bytes: unknown): Uint8Array => bytes as Uint8Array;
const AS_BYTES = { decodeKey: same, encodeKey: same, decodeValue: same, encodeValue: same };

interface Commands {
  bpfMapRead(map: number, key: number, target: number): bigint;
  bpfMapWrite(map: number, key: number, value: number, flags: bigint): bigint;
  bpfMapErase(map: number, key: number): bigint;
}

const text = (keys: readonly Uint8Array[]): string[] => keys.map(String).sort();

const operation = fc.record({
  what: fc.constantFrom('update', 'update', 'update', 'delete', 'lookup', 'keys'),
  key: fc.nat(15),
  value: fc.nat(255),
  flags: fc.constantFrom(0n, 0n, 0n, 1n, 2n, 3n, 4n, 8n, 1n << 32n),
});

/** A key of `bytes` bytes; of a trie, a prefix. */
function keyOf(kind: number, seed: number, bytes: number): Uint8Array {
  const key = Uint8Array.from({ length: bytes }, (_, i) => (i === 0 ? seed : kind === KIND_LPM_TRIE ? 0 : i));
  if (kind !== KIND_LPM_TRIE) return [KIND_ARRAY, KIND_PERCPU_ARRAY].includes(kind) ? key.fill(0, 1) : key;
  // Few lengths, one of them too long, over data that share beginnings.
  const longest = (bytes - 4) * 8;
  const lengths = [0, 1, 7, 8, 9, longest - 1, longest, longest + 1];
  key.set(new Uint8Array(Uint32Array.of(lengths[seed & 7] ?? 0).buffer));
  key[4] = seed & 8 ? 0x80 : 0;
  key[5] = seed;
  return key;
}

describe.skipIf(kernel === undefined)('the same calls to a map of the kernel and to one of ours', () => {
  const cpus = kernel?.cpus ?? 1;
  test.each([
    ['ARRAY', KIND_ARRAY, 4, 4, 6, 0],
    ['ARRAY, wide', KIND_ARRAY, 4, 21, 6, 0],
    ['PERCPU_ARRAY', KIND_PERCPU_ARRAY, 4, 12, 6, 0],
    ['HASH', KIND_HASH, 4, 8, 8, 0],
    ['HASH without memory beforehand', KIND_HASH, 4, 8, 8, 1],
    ['HASH, odd', KIND_HASH, 7, 5, 8, 0],
    ['PERCPU_HASH', KIND_PERCPU_HASH, 16, 20, 8, 0],
    ['LRU_HASH', KIND_LRU_HASH, 4, 8, 4096, 0],
    ['LRU_PERCPU_HASH', KIND_LRU_PERCPU_HASH, 4, 8, 4096, 0],
    ['LPM_TRIE, IPv4', KIND_LPM_TRIE, 8, 8, 6, 1],
    ['LPM_TRIE, IPv6', KIND_LPM_TRIE, 20, 3, 6, 1],
    ['LPM_TRIE, odd', KIND_LPM_TRIE, 7, 3, 6, 1],
  ])('%s', (_, kind, keyBytes, valueBytes, maxEntries, flags) => {
    const bpf = kernel as KernelBpf;
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
        const bench = new MapBench(65536, 2 << 20);
        const map = bench.create(kind, { keyBytes, valueBytes, maxEntries, flags }, { cpus, codec: AS_BYTES });
        const ours = bench.arena.kernels<Commands>();
        const fd = bpf.createMap(kind, keyBytes, valueBytes, maxEntries, flags);
        const bytes = map.valueBytes;
        for (const { what, key: seed, value: first, flags: how } of operations) {
          const key = keyOf(kind, seed, keyBytes);
          const at = bench.put(key);
          if (what === 'update') {
            // Between one CPU's value and the next there may be bytes that mean nothing.
            const value = Uint8Array.from({ length: bytes }, (_unused, i) =>
              map.cpus === undefined || i % (bytes / cpus) < valueBytes ? first + i : 0,
            );
            expect(Number(ours.bpfMapWrite(map.address, at, bench.put(value, 1024), how))).toBe(
              bpf.update(fd, key, value, how),
            );
          } else if (what === 'delete') {
            expect(Number(ours.bpfMapErase(map.address, at))).toBe(bpf.delete(fd, key));
          } else if (what === 'lookup') {
            bench.put(new Uint8Array(bytes), 1024);
            const errno = Number(ours.bpfMapRead(map.address, at, bench.memory + 1024));
            const found = bench.arena.u8.slice(bench.memory + 1024, bench.memory + 1024 + bytes);
            expect(errno === 0 ? found : errno).toEqual(bpf.lookup(fd, key, bytes));
          } else expect(text([...map.keys()] as Uint8Array[])).toEqual(text(bpf.keys(fd, keyBytes)));
        }
        expect(text([...map.keys()] as Uint8Array[])).toEqual(text(bpf.keys(fd, keyBytes)));
        bpf.close();
      }),
      { numRuns: 60 },
    );
  });

  test('csum_diff gives what the kernel gives', () => {
    const bpf = kernel as KernelBpf;
    const bench = new MapBench(65536, 1 << 20);
    const words = fc.array(fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0xffffffff, 0xffff0000, 0xffff)), {
      maxLength: 6,
    });
    const seeds = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0xffff, 0xffff0000, 0xffffffff));
    fc.assert(
      fc.property(words, words, seeds, fc.nat(3), fc.nat(3), (before, after, seed, lessFrom, lessTo) => {
        const fromBytes = Math.max(0, before.length * 4 - lessFrom);
        const toBytes = Math.max(0, after.length * 4 - lessTo);
        const code: number[] = [];
        const put = (opcode: number, registers: number, offset: number, imm: number): void => {
          code.push(opcode, registers, offset & 255, (offset >> 8) & 255);
          code.push(imm & 255, (imm >>> 8) & 255, (imm >>> 16) & 255, (imm >>> 24) & 255);
        };
        for (const [index, word] of before.entries()) put(0x62, 0x0a, -64 + index * 4, word);
        for (const [index, word] of after.entries()) put(0x62, 0x0a, -32 + index * 4, word);
        for (const [register, bytes, offset] of [
          [1, fromBytes, -64],
          [3, toBytes, -32],
        ] as const) {
          if (bytes === 0) put(0xb7, register, 0, 0);
          else {
            put(0xbf, 0xa0 | register, 0, 0);
            put(0x07, register, 0, offset);
          }
          put(0xb7, register + 1, 0, bytes);
        }
        put(0xb4, 5, 0, seed);
        put(0x85, 0, 0, 28);
        put(0x95, 0, 0, 0);
        const theirs = bpf.run(Uint8Array.from(code), new Uint8Array(64));
        const from = bench.put(new Uint8Array(Uint32Array.from(before).buffer));
        const to = bench.put(new Uint8Array(Uint32Array.from(after).buffer), 1024);
        const ours = bench.kernels.bpfCsumDiff(bench.ctx, from, fromBytes, to, toBytes, seed | 0);
        expect(Number(ours)).toBe(theirs);
      }),
      { numRuns: 400 },
    );
  });
});
