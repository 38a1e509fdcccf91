import { type Arena, createArena } from 'ringway/memory';

/** Where test arenas put their regions: RINGWAY_TEST_BASE=2147483648 runs the suites above 2 GiB. */
const base = Number(process.env.RINGWAY_TEST_BASE ?? 65536);

/** An arena over the test build of the kernels, which traps on double frees and foreign addresses. */
export function testArena(bytes = 8 << 20): Arena {
  return createArena({ bytes, base, debug: true });
}
