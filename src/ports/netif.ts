import { type DropWord, dropReporter, type NetifQueue } from '../netif/queue.ts';
import type { Port, PortContext } from './port.ts';

/** The port that is one queue of a network interface of the system. `drops`: what its kernels count. */
export function netifPort({ arena, refuse, lost }: PortContext, queue: NetifQueue, drops: readonly DropWord[]): Port {
  const report = dropReporter(arena, drops, refuse, lost);
  return {
    offloads: queue.offloads,
    rxBurst(slots, max) {
      const n = queue.receive(slots, max);
      report();
      return n;
    },
    txBurst(slots, count) {
      const n = queue.send(slots, count);
      report();
      return n;
    },
    info() {
      const fault = queue.fault();
      return { done: false, pending: queue.unsent(), ...(fault === undefined ? {} : { fault }) };
    },
    close() {
      queue.close();
      report();
    },
  };
}
