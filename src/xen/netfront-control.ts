import type { Arena } from '../memory/arena.ts';
import { ControlClient } from './control-client.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { FrontendMemory } from './netfront-queue.ts';
import { createNetRing, initSharedRing } from './ring.ts';
import { unwind } from './staging.ts';

/** The control ring of a frontend, and what the other end is told of it. */
export interface FrontControl {
  readonly client: ControlClient;
  readonly keys: Readonly<Record<string, number>>;
  /** Gives it back; grants that are still in use are counted and their pages kept. */
  release(): number;
}

/** Makes a control ring, with a page that lists are handed over in. @throws RingwayError `ARENA_FULL`, `BUSY` */
export function makeFrontControl(
  arena: Arena,
  hypervisor: Hypervisor,
  { name, backend, memory }: { readonly name: string; readonly backend: number; readonly memory: FrontendMemory },
): FrontControl {
  const undo: (() => void)[] = [];
  let kept = 0;
  try {
    const share = (): { address: number; ref: number } => {
      const address = memory.allocPages(1);
      let ref: number | undefined;
      undo.push(() => {
        if (ref === undefined || memory.grants.end(ref)) memory.freePages(address);
        else kept++;
      });
      ref = memory.grants.grant(backend, address);
      return { address, ref };
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
    const release = (): number => {
      unwind(undo);
      return kept;
    };
    return { client, keys: { 'ctrl-ring-ref': sring.ref, 'event-channel-ctrl': port }, release };
  } catch (error) {
    unwind(undo);
    throw error;
  }
}
