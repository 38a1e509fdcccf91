import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import { CTRLREQ_BYTES, CTRLRSP_BYTES } from './control-layout.ts';
import {
  NETRING_BROKEN,
  NETRING_BROKEN_EXTRA,
  NETRING_BROKEN_FRAME,
  NETRING_BROKEN_GSO,
  NETRING_BROKEN_ID,
  NETRING_BROKEN_INDEX,
  NETRING_BROKEN_PAGE,
  NETRING_BROKEN_SHORT,
  NETRING_BROKEN_SLOTS,
  NETRING_BYTES,
  NETRING_FRONT,
  NETRING_GIVE,
  NETRING_REQUEST,
  NETRING_RESPONSE,
  NETRING_SIZE,
  NETRING_SLOT,
  NETRING_SRING,
  NETRING_TAKE,
  NETRX_BYTES,
  NETTX_BYTES,
  RXRSP_BYTES,
  SRING_ORDER_MAX,
  SRING_REQ_EVENT,
  SRING_REQ_PROD,
  SRING_RSP_EVENT,
  SRING_RSP_PROD,
  SRING_SLOTS,
  TXRSP_BYTES,
  XEN_PAGE_BYTES,
} from './layout.ts';

/** The rings of a network device: packets of the frontend, packets to it, and its control ring. */
export type NetRingKind = 'tx' | 'rx' | 'ctrl';

const BYTES = {
  tx: { request: NETTX_BYTES, response: TXRSP_BYTES },
  rx: { request: NETRX_BYTES, response: RXRSP_BYTES },
  ctrl: { request: CTRLREQ_BYTES, response: CTRLRSP_BYTES },
} as const;

const RULES: ReadonlyMap<number, string> = new Map([
  [NETRING_BROKEN_INDEX, 'an index moved back, or by more than the ring holds'],
  [NETRING_BROKEN_SHORT, 'slots that were announced are not there'],
  [NETRING_BROKEN_SLOTS, 'a packet of too many slots'],
  [NETRING_BROKEN_PAGE, 'bytes outside their page'],
  [NETRING_BROKEN_EXTRA, 'extra information of no known type, or too much'],
  [NETRING_BROKEN_GSO, 'segments of 0 bytes, or of no known protocol'],
  [NETRING_BROKEN_ID, 'an answer to what was not asked'],
  [NETRING_BROKEN_FRAME, 'a frame of the data ring that is not there, or of another length than its slot says'],
]);

/** What a ring is on one side. */
export interface NetRingOptions {
  /** Names the side's region in the arena. */
  readonly name: string;
  readonly kind: NetRingKind;
  readonly side: 'front' | 'back';
  /** Arena address of the shared ring: pages that follow each other. */
  readonly sring: number;
  /** Pages of it, as a power of two: 0 (the default) to 4. */
  readonly order?: number;
}

/** One side of a ring. */
export interface NetRing {
  /** Address of its state in the arena, which kernels work on. */
  readonly address: number;
  readonly slots: number;
  /** True when what was given since the last call calls for an event to the other side. */
  needsNotify(): boolean;
  /** Asks for an event when the other side publishes more. True when there is more already. */
  finalCheck(): boolean;
  /** The rule that the other side broke; undefined while it behaves. */
  broken(): string | undefined;
  /** Requests out and not answered: those that fit no more (frontend), or that wait for an answer (backend). */
  outstanding(): number;
}

/** Slots of a ring of `order`: the largest power of two that fits its pages (io/ring.h). */
export function netRingSlots(kind: NetRingKind, order = 0): number {
  const fit = Math.floor((XEN_PAGE_BYTES * 2 ** order - SRING_SLOTS) / BYTES[kind].request);
  return 2 ** (31 - Math.clz32(fit));
}

/** Makes the ring at `sring` an empty one: the frontend does, before it tells anybody. */
export function initSharedRing(arena: Arena, sring: number): void {
  arena.u8.fill(0, sring, sring + SRING_SLOTS);
  for (const [offset, value] of [
    [SRING_REQ_PROD, 0],
    [SRING_REQ_EVENT, 1],
    [SRING_RSP_PROD, 0],
    [SRING_RSP_EVENT, 1],
  ] as const) {
    Atomics.store(arena.u32, (sring + offset) >>> 2, value);
  }
}

/**
 * Makes one side of a ring. A backend goes on where the ring's responses are, so that one that comes back to a frontend that
 * stayed answers what waits.
 * @throws RingwayError `BAD_ARGUMENT` when the pages or the order cannot be, `ARENA_FULL`.
 */
export function createNetRing(arena: Arena, options: NetRingOptions): NetRing {
  const { name, kind, side, sring, order = 0 } = options;
  if (!Number.isInteger(order) || order < 0 || order > SRING_ORDER_MAX) {
    throw new RingwayError(
      'BAD_ARGUMENT',
      `${name}: order ${order}, must be a whole number from 0 to ${SRING_ORDER_MAX}`,
    );
  }
  if (sring % XEN_PAGE_BYTES !== 0 || sring < XEN_PAGE_BYTES || sring + XEN_PAGE_BYTES * 2 ** order > arena.bytes) {
    throw new RingwayError('BAD_ARGUMENT', `${name}: no ${2 ** order} pages of a ring lie at ${sring}`);
  }
  const address = arena.allocate(name, NETRING_BYTES);
  const set = (offset: number, value: number): void => {
    arena.u32[(address + offset) >>> 2] = value;
  };
  set(NETRING_SRING, sring);
  set(NETRING_SIZE, netRingSlots(kind, order));
  set(NETRING_SLOT, BYTES[kind].request);
  set(NETRING_REQUEST, BYTES[kind].request);
  set(NETRING_RESPONSE, BYTES[kind].response);
  set(NETRING_FRONT, side === 'front' ? 1 : 0);
  const start = side === 'front' ? 0 : Atomics.load(arena.u32, (sring + SRING_RSP_PROD) >>> 2);
  set(NETRING_GIVE, start);
  set(NETRING_TAKE, start);
  return attachNetRing(arena, address);
}

/** Works on the side of a ring at `address`, from this thread. */
export function attachNetRing(arena: Arena, address: number): NetRing {
  const get = (offset: number): number => arena.u32[(address + offset) >>> 2] ?? 0;
  const isFront = get(NETRING_FRONT) !== 0;
  const { xenRingNeedsNotify, xenRingFinalCheck } = arena.kernels<{
    xenRingNeedsNotify(ring: number): number;
    xenRingFinalCheck(ring: number): number;
  }>();
  return {
    address,
    slots: get(NETRING_SIZE),
    needsNotify: () => xenRingNeedsNotify(address) !== 0,
    finalCheck: () => xenRingFinalCheck(address) !== 0,
    broken: () => RULES.get(get(NETRING_BROKEN)),
    outstanding: () => (isFront ? get(NETRING_GIVE) - get(NETRING_TAKE) : get(NETRING_TAKE) - get(NETRING_GIVE)) >>> 0,
  };
}
