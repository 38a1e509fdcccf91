import type { Arena } from 'ringway/memory';
import {
  NETRING_BYTES,
  NETRING_GIVE,
  NETRING_TAKE,
  SRING_REQ_EVENT,
  SRING_REQ_PROD,
  SRING_RSP_EVENT,
  SRING_RSP_PROD,
} from '#build/xen/layout.js';
import { GATHER_BYTES } from '#build/xen/queue-layout.js';
import { createNetRing, initSharedRing, type NetRing, type NetRingKind } from '#build/xen/ring.js';
import { testArena } from '../../support/arena.ts';

export const RING_ARENA_BYTES = 1 << 20;

/** Bytes of what either side puts into a ring. */
export const RECORD_BYTES = {
  tx: { request: 12, response: 4 },
  rx: { request: 8, response: 8 },
  ctrl: { request: 16, response: 12 },
} as const;

export interface RingKernels {
  xenRingPushRequests(ring: number, source: number, n: number): number;
  xenRingTakeRequests(ring: number, target: number, max: number): number;
  xenRingPushResponses(ring: number, source: number, n: number): number;
  xenRingTakeResponses(ring: number, target: number, max: number): number;
  xenRingNeedsNotify(ring: number): number;
  xenRingFinalCheck(ring: number): number;
  xenTxGather(ring: number, gather: number, max: number, pieces: number): number;
  xenRxGather(ring: number, gather: number, max: number, pieces: number): number;
}

export interface RingRig {
  readonly arena: Arena;
  readonly kind: NetRingKind;
  readonly sring: number;
  readonly pages: number;
  readonly front: NetRing;
  readonly back: NetRing;
  /** Room for 64 records, of each side. */
  readonly frontRecords: number;
  readonly backRecords: number;
  readonly gather: number;
  /** Both sides start at `index`, as if so many had gone through. */
  startAt(index: number): void;
}

/** A ring with both sides. */
export function makeRingRig(
  kind: NetRingKind,
  options: { order?: number; arena?: Arena; backArena?: Arena; base?: number } = {},
): RingRig {
  const { order = 0, arena = testArena(RING_ARENA_BYTES, options.base) } = options;
  const { backArena = arena } = options;
  const pages = 2 ** order;
  const sring = arena.allocate('sring', 4096 * pages, 4096);
  initSharedRing(arena, sring);
  const front = createNetRing(arena, { name: 'front', kind, side: 'front', sring, order });
  const back = createNetRing(backArena, { name: 'back', kind, side: 'back', sring, order });
  const { u32 } = arena;
  return {
    arena,
    kind,
    sring,
    pages,
    front,
    back,
    frontRecords: arena.allocate('front records', 64 * 16),
    backRecords: arena.allocate('back records', 64 * 16),
    gather: arena.allocate('gather', GATHER_BYTES),
    startAt(index) {
      for (const { address } of [front, back]) {
        u32.fill(0, (address + NETRING_GIVE - 8) >>> 2, (address + NETRING_BYTES) >>> 2);
        u32[(address + NETRING_GIVE) >>> 2] = index;
        u32[(address + NETRING_TAKE) >>> 2] = index;
      }
      for (const word of [SRING_REQ_PROD, SRING_RSP_PROD]) u32[(sring + word) >>> 2] = index;
      for (const word of [SRING_REQ_EVENT, SRING_RSP_EVENT]) u32[(sring + word) >>> 2] = index + 1;
    },
  };
}
