import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createArena, openArena } from 'ringway/memory';
import { expect, test } from 'vitest';
import * as layout from '#build/memory/layout.js';
import { sysAvailable } from '#build/sys/index.js';

const unavailable = sysAvailable() ? false : 'koffi is not here, or this is not Linux';
if (unavailable) console.warn(`skipped: ${unavailable}`);

test.skipIf(unavailable).each([65536, 2 ** 31])(
  'what one memory of a shared arena has, the other has too, at %i',
  (base) => {
    const arena = createArena({ bytes: 1 << 20, base, shared: true });
    const words = arena.allocate('words', 64);
    arena.u32[words >>> 2] = 4711;
    const other = openArena(arena.handle.path ?? '', { base });
    expect(other.handle.memory).not.toBe(arena.handle.memory);
    expect(other.region('words')).toEqual({ name: 'words', address: words, bytes: 64 });
    expect(Atomics.add(other.u32, words >>> 2, 1)).toBe(4711);
    expect([arena.u32[words >>> 2], other.bytes, other.damaged()]).toEqual([4712, arena.bytes, []]);
  },
);

test.skipIf(unavailable)('what is not such an arena is refused', () => {
  expect(createArena({ bytes: 65536 }).handle.path).toBeUndefined();
  expect(() => openArena('/proc/self/fd/999')).toThrow(/ENOENT.*does the process that made it still run/);
  const arena = createArena({ bytes: 1 << 20, shared: true });
  const { base, path = '' } = arena.handle;
  expect(() => openArena(path, { base: 2 * 65536 })).toThrow(/no directory at 131072/);
  arena.u32[(base + layout.ARENA_BUILD) >>> 2] = 1;
  expect(() => openArena(path)).toThrow(/made by another build/);
  arena.u32[(base + layout.ARENA_MAGIC) >>> 2] = 1;
  expect(() => openArena(path)).toThrow(/no directory/);
  const folder = mkdtempSync(join(tmpdir(), 'ringway-'));
  writeFileSync(join(folder, 'short'), 'x');
  expect(() => openArena(join(folder, 'short'))).toThrow(/1 bytes, which no arena has/);
  rmSync(folder, { recursive: true });
});
