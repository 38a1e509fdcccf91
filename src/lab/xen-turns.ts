import { BUFFER_HEADROOM, BURST_MAX, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import { attachDomain } from '../xen/access.ts';
import type { DomainShare } from '../xen/hypervisor.ts';
import type { Contender } from './in-turn.ts';
import type { XenSide } from './xen-side.ts';
import { attachUse, shareUse, type Use } from './xen-use.ts';
import { QUEUE_BUFFERS, RING_SLOTS, type XenLane, type XenWorld } from './xen-world.ts';

export type Way = 'tx' | 'rx';

/** What a turn of an end does: a whole ring of packets, so that the other end finds many. */
const BURSTS = RING_SLOTS / BURST_MAX;

/** 64 bytes for the stack, which parses all headers and makes both sums, and drops them: the second one is wrong. */
const DATAGRAM = buildFrame({
  ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
  ipv4: { source: '192.0.2.1', destination: '192.0.2.2' },
  udp: { sourcePort: 1024, destinationPort: 9 },
  payload: new Uint8Array(22),
});
DATAGRAM[DATAGRAM.length - 1] = 1;

/** The end that sends, and the one that receives. */
export const endsOf = ({ front, back }: XenLane, way: Way): readonly [XenSide, XenSide] =>
  way === 'tx' ? [front, back] : [back, front];

/** Packets of `bytes` bytes through one queue, a ring full at a time. */
export function contenderOf(world: XenWorld, lane: XenLane, way: Way, bytes: number, use: Use = 'free'): Contender {
  const [from, to] = endsOf(lane, way);
  const useBurst = attachUse(world.arena, shareUse(world, lane, use), to.cache);
  // What lies in the buffers is sent.
  if (use === 'stack') fill(world, from);
  return {
    give() {
      let sent = 0;
      for (let i = 0; i < BURSTS; i++) sent += from.send(BURST_MAX, bytes);
      return sent;
    },
    take() {
      while (to.receive(useBurst) > 0);
    },
  };
}

/** Writes a datagram to all buffers that there are. */
export function fill({ arena }: XenWorld, { cache }: XenSide): void {
  const { poolAlloc, poolFree } = arena.kernels<PoolKernels>();
  const slots = arena.allocate('bench fill', QUEUE_BUFFERS << SLOT_SHIFT);
  let n = 0;
  const slotAt = (i: number): number => slots + (i << SLOT_SHIFT);
  for (let more = BURST_MAX; more === BURST_MAX && n < QUEUE_BUFFERS; n += more) {
    more = poolAlloc(cache, slotAt(n), BURST_MAX);
    for (let i = n; i < n + more; i++) {
      arena.u8.set(DATAGRAM, (arena.u32[slotAt(i) >>> 2] as number) + BUFFER_HEADROOM);
    }
  }
  for (let i = 0; i < n; i += BURST_MAX) poolFree(cache, slotAt(i), Math.min(BURST_MAX, n - i));
  arena.release('bench fill');
}

/** ns of one copy of a batch of 32 of the last burst by this Xen: what is taken off where a model says what it costs. */
export function ownCopyNs(world: XenWorld, { back }: XenLane, way: Way): number {
  const batch = way === 'tx' ? back.share.txBatch : back.share.rxBatch;
  if (batch === undefined) return 0;
  const access = attachDomain(world.arena, back.share.data as DomainShare);
  const run = (n: number): number => {
    const from = performance.now();
    for (let i = 0; i < n; i++) access.copy(batch, BURST_MAX);
    return ((performance.now() - from) * 1e6) / n / BURST_MAX;
  };
  run(20_000);
  return Math.min(...Array.from({ length: 9 }, () => run(500)));
}
