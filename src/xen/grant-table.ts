import type { Arena } from '../memory/arena.ts';
import { RingwayError } from '../util/errors.ts';
import type { GrantTable } from './hypervisor.ts';
import {
  DOMAIN_FRAMES,
  DOMAIN_GRANT_COUNT,
  DOMAIN_GRANTS,
  DOMAIN_MEMORY,
  GRANTS_RESERVED,
  GTF_READONLY,
  XEN_PAGE_BYTES,
} from './layout.ts';

interface GrantKernels {
  xenGrantAccess(grants: number, ref: number, domid: number, frame: number, flags: number): void;
  xenEndAccess(grants: number, ref: number): number;
}

/** The grant table of the domain whose record is at `record`. */
export function attachGrantTable(arena: Arena, record: number, name: string): GrantTable {
  const { xenGrantAccess, xenEndAccess } = arena.kernels<GrantKernels>();
  const get = (offset: number): number => arena.u32[(record + offset) >>> 2] ?? 0;
  const address = get(DOMAIN_GRANTS);
  const count = get(DOMAIN_GRANT_COUNT);
  const [memory, frames] = [get(DOMAIN_MEMORY), get(DOMAIN_FRAMES)];
  /** The lowest come first, as a guest's would. */
  const free = Array.from({ length: count - GRANTS_RESERVED }, (_, i) => count - 1 - i);
  const given = new Set<number>();
  return {
    address,
    count,
    grant(domid, page, { readonly = false } = {}) {
      const frame = (page - memory) / XEN_PAGE_BYTES;
      if (!Number.isInteger(frame) || frame < 0 || frame >= frames) {
        throw new RingwayError('BAD_ARGUMENT', `${name}: ${page} is the address of none of its ${frames} pages`);
      }
      const ref = free.pop();
      if (ref === undefined) {
        throw new RingwayError('BUSY', `${name}: all ${count - GRANTS_RESERVED} grant references are in use`);
      }
      given.add(ref);
      xenGrantAccess(address, ref, domid, frame, readonly ? GTF_READONLY : 0);
      return ref;
    },
    end(ref) {
      if (!given.has(ref)) throw new RingwayError('BAD_ARGUMENT', `${name}: reference ${ref} is not granted`);
      if (xenEndAccess(address, ref) === 0) return false;
      given.delete(ref);
      free.push(ref);
      return true;
    },
    get inUse() {
      return given.size;
    },
  };
}
