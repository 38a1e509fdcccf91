import { execFileSync, spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { type Arena, attachArena, Budget, createArena, RingwayError } from 'ringway/memory';
import { expect, test } from 'vitest';
import { ARENA_MAGIC, DIRECTORY_BYTES, GUARD_BYTES, REGIONS_MAX } from '#build/memory/layout.js';
import { testArena } from '../support/arena.ts';
import { runWorkers } from '../support/workers.ts';

function errorOf(run: () => unknown): RingwayError {
  try {
    run();
  } catch (error) {
    if (error instanceof RingwayError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

test('regions are aligned, zeroed, apart by their guards, and reused after release', () => {
  const operation = fc.record({
    release: fc.boolean(),
    which: fc.nat({ max: 7 }),
    bytes: fc.integer({ min: 1, max: 40_000 }),
    align: fc.constantFrom(4, 16, 128, 4096, 65536),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const arena = testArena(256 << 10);
      const model = new Map<string, { address: number; bytes: number }>();
      for (const { release, which, bytes, align } of operations) {
        const name = `region ${which}`;
        if (release || model.has(name)) {
          if (model.delete(name)) arena.release(name);
          else expect(errorOf(() => arena.release(name)).code).toBe('NOT_FOUND');
          continue;
        }
        let address: number;
        try {
          address = arena.allocate(name, bytes, align);
        } catch (error) {
          expect(error).toMatchObject({ code: 'ARENA_FULL' });
          continue;
        }
        expect(address % align).toBe(0);
        expect(arena.u8.subarray(address, address + bytes).every((byte) => byte === 0)).toBe(true);
        arena.u8.fill(0xff, address, address + bytes);
        model.set(name, { address, bytes: Math.ceil(bytes / 4) * 4 });
      }
      const regions = arena.regions();
      expect(regions).toEqual(
        [...model].map(([name, region]) => ({ name, ...region })).sort((a, b) => a.address - b.address),
      );
      let end = arena.handle.base + DIRECTORY_BYTES;
      for (const { address, bytes } of regions) {
        expect(address).toBeGreaterThanOrEqual(end);
        end = address + bytes + GUARD_BYTES;
      }
      expect(end).toBeLessThanOrEqual(arena.bytes);
      expect(arena.damaged()).toEqual([]);
    }),
    { numRuns: 50 },
  );
});

test('a write past the end of a region is noticed', () => {
  const arena = testArena(1 << 20);
  const first = arena.allocate('first', 6);
  arena.allocate('second', 100);
  arena.u8[first + 8] = 1;
  expect(arena.damaged()).toEqual(['first']);
});

test('names may be any text of up to 55 bytes, and are told apart', () => {
  const arena = testArena(1 << 20);
  const names = [
    'a',
    'ab',
    'ring → switch',
    '环形缓冲区',
    '👾'.repeat(13),
    'x'.repeat(55),
    '\ufeffmarked',
    '__proto__',
  ];
  for (const name of names) arena.allocate(name, 4);
  expect(new Set(arena.regions().map(({ name }) => name))).toEqual(new Set(names));
  for (const name of names) arena.release(name);
  expect(arena.regions()).toEqual([]);
});

test.each([
  ['', /region name "" must/],
  ['x'.repeat(56), /must have 1 to 55 bytes/],
  ['👾'.repeat(14), /must have 1 to 55 bytes/],
  ['a\0b', /must have 1 to 55 bytes of UTF-8 without zeroes/],
  ['\ud800', /must have 1 to 55 bytes of UTF-8/],
])('the name %j is refused', (name, message) => {
  const error = errorOf(() => testArena().allocate(name, 4));
  expect(error.code).toBe('BAD_ARGUMENT');
  expect(error.message).toMatch(message);
});

test('sizes, alignments and names that cannot be are refused, with what is allowed', () => {
  const arena = testArena(1 << 20);
  arena.allocate('taken', 64);
  for (const bytes of [0, -4, 1.5, Number.NaN, 2 ** 53]) {
    expect(errorOf(() => arena.allocate('r', bytes)).message).toMatch(
      /region r: .* bytes, must be a whole number from 1/,
    );
  }
  for (const align of [0, 2, 3, 48, 2 ** 32]) {
    expect(errorOf(() => arena.allocate('r', 4, align)).message).toMatch(/alignment .*, must be a power of two from 4/);
  }
  expect(errorOf(() => arena.allocate('taken', 4)).message).toBe(
    'arena: region taken exists already; release it first',
  );
  expect(errorOf(() => arena.region('absent')).message).toBe('arena: no region "absent"; there are: taken');
  const full = errorOf(() => arena.allocate('large', 2 << 20));
  expect(full.code).toBe('ARENA_FULL');
  expect(full.message).toMatch(
    /^arena: region large needs 2097152 bytes .*\n {2}taken: 64 bytes\n {2}of \d+ bytes in all$/,
  );
});

test('the directory holds 1,000 regions, and a released entry serves again', () => {
  const arena = testArena(1 << 20);
  for (let i = 0; i < REGIONS_MAX; i++) arena.allocate(`r${i}`, 4);
  expect(errorOf(() => arena.allocate('one more', 4)).message).toBe('arena: 1000 regions, no more fit its directory');
  arena.release('r500');
  arena.allocate('one more', 4);
  expect(arena.region('one more').bytes).toBe(4);
  expect(arena.damaged()).toEqual([]);
});

test('an arena that does not fit says what its size is the sum of', () => {
  const budget = new Budget()
    .add('guests', 3 * 2 ** 30, 'three guests of 1 GiB')
    .add('pool', 2 * 2 ** 30, '1M buffers');
  const error = errorOf(() => createArena({ bytes: budget.bytes, budget }));
  expect(error.code).toBe('ARENA_FULL');
  expect(error.message).toMatch(
    /^arena: 536\d{7} bytes are wanted, and a memory holds 4294836224\n {2}guests: 3221225728 bytes \(three guests of 1 GiB\)\n {2}pool: /,
  );
  for (const base of [0, 4096, 65537, Number.NaN, 2 ** 32]) {
    expect(errorOf(() => createArena({ bytes: 4, base })).message).toMatch(
      /base .*must be a multiple of 65536 from 65536/,
    );
  }
  for (const bytes of [0, -1, 0.5]) {
    expect(errorOf(() => createArena({ bytes })).message).toMatch(/bytes, must be a whole number from 1 to 4294967296/);
  }
});

test('under a limit of address space the message names it', () => {
  const script = `import { createArena } from 'ringway/memory';
    try { createArena({ bytes: 2 ** 32 - 131072 }); console.log('made'); } catch (error) { console.log(error.message); }`;
  const command = `ulimit -v 4400000; exec "${process.execPath}" --input-type=module -e "${script}"`;
  expect(execFileSync('bash', ['-c', command], { encoding: 'utf8' })).toMatch(/refuses 4294967296 bytes.*ulimit -v/);
});

test('budget terms cover alignment and guards', () => {
  const budget = new Budget().add('a', 100, 'x').add('b', 4096, 'y', 4096).add('c', 1, 'z');
  const arena = createArena({ bytes: budget.bytes });
  arena.allocate('a', 100);
  arena.allocate('b', 4096, 4096);
  arena.allocate('c', 1);
});

function lastWords(arena: Arena): number {
  const { address, bytes } = arena.region('last');
  return address + bytes + GUARD_BYTES;
}

test('regions reach up to the last byte of 4 GiB, guards included', () => {
  const base = 2 ** 32 - 2 ** 20;
  const arena = createArena({ bytes: 2 ** 20 - DIRECTORY_BYTES, base });
  expect(arena.bytes).toBe(2 ** 32);
  const address = arena.allocate('last', 2 ** 20 - DIRECTORY_BYTES - GUARD_BYTES);
  expect(lastWords(arena)).toBe(2 ** 32);
  arena.u32[(address >>> 2) + 1] = 7;
  expect(arena.damaged()).toEqual([]);
  arena.u8[2 ** 32 - 1] = 0;
  expect(arena.damaged()).toEqual(['last']);
});

test.each([65536, 2 ** 31])('a worker attaches to an arena with base %i', async (base) => {
  const arena = createArena({ bytes: 1 << 20, base });
  const address = arena.allocate('shared', 64);
  arena.u32[address >>> 2] = 41;
  expect(await runWorkers('attach-worker.mjs', [{ handle: arena.handle }])).toEqual([
    { address, bytes: 64, seen: 41, regions: 1 },
  ]);
  expect(arena.u32[address >>> 2]).toBe(42);
});

test('a memory without a directory is no arena', () => {
  const { handle } = testArena();
  const error = errorOf(() => attachArena({ ...handle, base: handle.base + 65536 }));
  expect(error.code).toBe('ARENA_LAYOUT');
  expect(error.message).toMatch(/no directory at \d+; was it made with createArena\?/);
  expect(attachArena(handle).u32[(handle.base + ARENA_MAGIC) >>> 2]).toBe(0x57474e52);
});

test.skipIf(process.arch !== 'x64')('a CPU without SIMD is named, in one sentence', () => {
  const { stderr, status } = spawnSync(
    process.execPath,
    ['--no-enable-sse4-1', 'dist/cli/main.js', 'run', 'examples/xen.yaml'],
    { encoding: 'utf8' },
  );
  expect(stderr).toMatch(/^ringway: this CPU has no SSE 4\.1, which ringway needs: .*\n$/);
  expect(status).toBe(1);
});
