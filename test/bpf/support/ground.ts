import { type Arena, createArena } from 'ringway/memory';
import { assemble, programOf } from '#build/bpf/assemble.js';
import { type Execution, interpret, type Outcome } from '#build/bpf/interpreter.js';
import * as layout from '#build/bpf/layout.js';

/** A context with a packet of 64 bytes and one range of 64, which a program may write. */
export interface Ground {
  readonly arena: Arena;
  readonly context: number;
  readonly packet: number;
  readonly range: number;
}

export const PACKET_BYTES = 64;
export const RANGE_BYTES = 64;

/** A ground whose kernels are those of the build, with `kernels` in place of or beside them. */
export function makeGround(
  kernels: Record<string, ((...values: never[]) => number | bigint) | undefined> = {},
): Ground {
  const arena = createArena({ bytes: 64 << 10 });
  const own = arena.kernels<Record<string, unknown>>();
  Object.defineProperty(arena, 'kernels', { value: () => ({ ...own, ...kernels }) });
  const context = arena.allocate('context', layout.CTX_BYTES);
  const packet = arena.allocate('packet', PACKET_BYTES + 256) + 128;
  const range = arena.allocate('range', RANGE_BYTES + 256) + 128;
  const ranges = arena.allocate('ranges', 16);
  const words: [number, number][] = [
    [context + layout.CTX_DATA, packet],
    [context + layout.CTX_DATA_META, packet],
    [context + layout.CTX_DATA_END, packet + PACKET_BYTES],
    [context + layout.CTX_RANGES, ranges],
    [context + layout.CTX_RANGE_COUNT, 1],
    [ranges + layout.RANGE_ADDRESS, range],
    [ranges + layout.RANGE_BYTES, RANGE_BYTES],
    [ranges + layout.RANGE_WRITABLE, 1],
  ];
  for (const [address, value] of words) arena.u32[address >>> 2] = value;
  return { arena, context, packet, range };
}

/** Runs what `text` assembles to. */
export function runText(ground: Ground, text: string, options: Partial<Execution> = {}): Outcome {
  const { arena, context } = ground;
  return interpret({ program: programOf(assemble(text)), maps: [], arena, context, ...options });
}
