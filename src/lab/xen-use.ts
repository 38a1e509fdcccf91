import { Stack } from '../guest/stack.ts';
import type { Arena } from '../memory/arena.ts';
import { BUFFER_HEADROOM, BURST_MAX, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { attachDomain } from '../xen/access.ts';
import type { DomainShare } from '../xen/hypervisor.ts';
import { XEN_PAGE_BYTES } from '../xen/layout.ts';
import { VIFQ_GREFS } from '../xen/queue-layout.ts';
import { BurstProgram, type BurstProgramShare, shareProgram } from './burst-program.ts';
import { DROP } from './xdp-programs.ts';
import type { UseBurst } from './xen-side.ts';
import type { XenLane, XenWorld } from './xen-world.ts';

/** What the receiving end does with packets, beside giving their buffers back. */
export type Use = 'free' | 'stack' | 'program' | 'map';

/** A use, for the thread of the receiving end: anything that can be posted. */
export type UseShare =
  | { readonly kind: 'free' }
  | { readonly kind: 'stack' }
  | { readonly kind: 'program'; readonly program: BurstProgramShare }
  | {
      readonly kind: 'map';
      readonly data: DomainShare;
      /** Word index of the references that are mapped in turn, and address of BURST_MAX pages of the map area. */
      readonly grefs: number;
      readonly pages: number;
    };

const OWN = { mac: 0x02_00_00_00_00_02, ipv4: 0xc0000202, ipv6: [] };

/** Makes what a use needs of the arena, on the thread that made the world. */
export function shareUse({ arena, driver }: XenWorld, { front, back }: XenLane, use: Use): UseShare {
  if (use === 'program') {
    const name = `program ${front.share.txQueue}`;
    return { kind: use, program: shareProgram(arena, { name, text: DROP, cache: front.cache }) };
  }
  if (use !== 'map') return { kind: use };
  const grefs = (arena.u32[(front.share.txQueue + VIFQ_GREFS) >>> 2] as number) >>> 2;
  return { kind: use, data: back.share.data as DomainShare, grefs, pages: driver.hypervisor.takePages(BURST_MAX) };
}

/** What is done with a burst of packets, on the thread that has `cache`. */
export function attachUse(arena: Arena, share: UseShare, cache: number): UseBurst {
  const { poolFree } = arena.kernels<PoolKernels>();
  const { u8, u16, u32 } = arena;
  if (share.kind === 'program') {
    const program = new BurstProgram(arena, share.program);
    return (burst, n) => void program.run(burst, n);
  }
  if (share.kind === 'stack') {
    const stack = new Stack(OWN);
    return (burst, n) => {
      for (let i = 0; i < n; i++) {
        const slot = burst + (i << SLOT_SHIFT);
        const at = (u32[slot >>> 2] as number) + BUFFER_HEADROOM;
        stack.handle(u8, at, u16[(slot + SLOT_LENGTH) >>> 1] as number);
      }
      poolFree(cache, burst, n);
    };
  }
  if (share.kind === 'free') return (burst, n) => poolFree(cache, burst, n);
  // The page that a packet's rest lies in: mapped, read and unmapped, a batch a hypercall, as Linux's netback does.
  const access = attachDomain(arena, share.data);
  const grants = Array.from({ length: BURST_MAX }, (_, i) => ({
    domid: 1,
    ref: u32[share.grefs + i] as number,
    readonly: true,
  }));
  return (burst, n) => {
    const mapped = access.map(grants.slice(0, n), share.pages);
    let seen = 0;
    for (const { address } of mapped) seen += u8[address + XEN_PAGE_BYTES - 1] as number;
    access.unmap(mapped.map(({ handle }) => handle));
    if (seen < 0) throw new Error('bench xen: no page');
    poolFree(cache, burst, n);
  };
}
