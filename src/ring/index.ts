/**
 * Bursts of 16-byte slots from one thread to another, through memory that both see.
 *
 * @example
 * import { createArena } from 'ringway/memory';
 * import { createSpscRing } from 'ringway/ring';
 *
 * const arena = createArena({ bytes: 1 << 20 });
 * const ring = createSpscRing(arena, { name: 'work', slots: 1024 });
 * const burst = arena.allocate('burst', 32 * 16);
 * const sent = ring.push(burst, 32);
 * const got = ring.pop(burst, 32);
 *
 * @module
 */
export {
  attachMpscRing,
  attachSpscRing,
  createMpscRing,
  createSpscRing,
  mpscRingBytes,
  type Ring,
  type RingOptions,
  spscRingBytes,
} from './ring.ts';
