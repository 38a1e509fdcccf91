import { type Arena, createArena } from 'ringway/memory';

/** Where the directory lies, so that regions follow: at the bottom, and where u32 addresses are negative as i32. */
export const BASES = [65536, 2 ** 31];

/** An arena over the test build of the kernels, which traps on double frees and foreign addresses. */
export function testArena(bytes = 8 << 20, base = 65536): Arena {
  return createArena({ bytes, base, debug: true });
}
