import type { Arena } from '../memory/arena.ts';
import { ControlClient } from './control-client.ts';
import type { Hypervisor } from './hypervisor.ts';
import { createNetRing, initSharedRing } from './ring.ts';
import type { SharedPages } from './shared-pages.ts';
import { unwind } from './staging.ts';

/** The control ring of a frontend, and what the other end is told of it. */
export interface FrontControl {
  readonly client: ControlClient;
  readonly keys: Readonly<Record<string, number>>;
  /** Gives it back, but for the pages. */
  release(): void;
}

/** Makes a control ring, with a page that lists are handed over in. @throws RingwayError `ARENA_FULL`, `BUSY` */
export function makeFrontControl(
  arena: Arena,
  hypervisor: Hypervisor,
  { name, backend, shared }: { readonly name: string; readonly backend: number; readonly shared: SharedPages },
): FrontControl {
  const undo: (() => void)[] = [];
  try {
    const share = (): { address: number; ref: number } => {
      const address = shared.alloc(1);
      return { address, ref: shared.grant(address, false) };
    };
    const sring = share();
    const page = share();
    initSharedRing(arena, sring.address);
    const region = `${name} control ring`;
    const ring = createNetRing(arena, { name: region, kind: 'ctrl', side: 'front', sring: sring.address });
    undo.push(() => arena.release(region));
    const port = hypervisor.events.allocUnbound(backend);
    undo.push(() => hypervisor.events.close(port));
    const client = new ControlClient(arena, hypervisor, { name, ring, port, page });
    undo.push(() => client.close());
    return {
      client,
      keys: { 'ctrl-ring-ref': sring.ref, 'event-channel-ctrl': port },
      release: () => unwind(undo),
    };
  } catch (error) {
    unwind(undo);
    throw error;
  }
}
