import { Stack } from '../guest/stack.ts';
import { BUFFER_HEADROOM, BURST_MAX, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import { attachDomain } from '../xen/access.ts';
import type { DomainShare } from '../xen/hypervisor.ts';
import { XEN_PAGE_BYTES } from '../xen/layout.ts';
import { VIFQ_GREFS } from '../xen/queue-layout.ts';
import { BurstProgram } from './burst-program.ts';
import type { Contender } from './in-turn.ts';
import { DROP } from './xdp-programs.ts';
import { QUEUE_BUFFERS, RING_SLOTS, type XenLane, type XenSide, type XenWorld } from './xen-world.ts';

export type Way = 'tx' | 'rx';

/** What the receiving end does with packets, beside giving their buffers back. */
export type Use = 'free' | 'stack' | 'program' | 'map';

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
const OWN = { mac: 0x02_00_00_00_00_02, ipv4: 0xc0000202, ipv6: [] };

type UseBurst = (cache: number, burst: number, n: number) => void;

function useOf(world: XenWorld, { front }: XenLane, use: Use): UseBurst | undefined {
  const { arena } = world;
  const { poolFree } = arena.kernels<PoolKernels>();
  const { u8, u16, u32 } = arena;
  if (use === 'program') {
    const program = new BurstProgram(arena, { name: `program ${front.share.txQueue}`, text: DROP, cache: front.cache });
    return (_cache, burst, n) => void program.run(burst, n);
  }
  if (use === 'stack') {
    const stack = new Stack(OWN);
    return (cache, burst, n) => {
      for (let i = 0; i < n; i++) {
        const slot = burst + (i << SLOT_SHIFT);
        const at = (u32[slot >>> 2] as number) + BUFFER_HEADROOM;
        stack.handle(u8, at, u16[(slot + SLOT_LENGTH) >>> 1] as number);
      }
      poolFree(cache, burst, n);
    };
  }
  if (use === 'free') return undefined;
  // The page that a packet's rest lies in: mapped, read and unmapped, a batch a hypercall, as Linux's netback does.
  const { hypervisor } = world.driver;
  const target = hypervisor.takePages(BURST_MAX);
  const grefs = (u32[(front.share.txQueue + VIFQ_GREFS) >>> 2] as number) >>> 2;
  const grants = Array.from({ length: BURST_MAX }, (_, i) => ({
    domid: 1,
    ref: u32[grefs + i] as number,
    readonly: true,
  }));
  return (cache, burst, n) => {
    const mapped = hypervisor.map(grants.slice(0, n), target);
    let seen = 0;
    for (const { address } of mapped) seen += u8[address + XEN_PAGE_BYTES - 1] as number;
    hypervisor.unmap(mapped.map(({ handle }) => handle));
    if (seen < 0) throw new Error('bench xen: no page');
    poolFree(cache, burst, n);
  };
}

/** Packets of `bytes` bytes through one queue, a ring full at a time. */
export function contenderOf(world: XenWorld, lane: XenLane, way: Way, bytes: number, use: Use = 'free'): Contender {
  const [from, to] = way === 'tx' ? [lane.front, lane.back] : [lane.back, lane.front];
  const useBurst = useOf(world, lane, use);
  // What lies in the buffers is sent.
  if (use === 'stack') fill(world, from);
  return {
    give() {
      let sent = 0;
      for (let i = 0; i < BURSTS; i++) sent += world.send(from, BURST_MAX, bytes);
      return sent;
    },
    take: () => void world.receive(to, useBurst),
  };
}

/** Writes a datagram to all buffers that there are. */
function fill({ arena }: XenWorld, { cache }: XenSide): void {
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

/** A request of one packet and its answer: interrupts are asked for before each wait, or nobody is called. */
export function roundTrip(world: XenWorld, { front, back }: XenLane, bytes: number, interrupts: boolean): Contender {
  const { xenEventTakePending } = world.arena.kernels<{ xenEventTakePending(domain: number, port: number): number }>();
  const pass = (from: XenSide, to: XenSide): void => {
    if (interrupts) to.queue.receiver.ring.finalCheck();
    world.send(from, 1, bytes);
    if (interrupts) {
      const { side, txPort, rxPort, data } = to.share;
      xenEventTakePending((data as DomainShare).record, side === 'back' ? txPort : rxPort);
    }
    world.receive(to);
  };
  return {
    give() {
      pass(front, back);
      return 1;
    },
    take: () => pass(back, front),
  };
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
