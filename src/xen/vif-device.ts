import type { Arena } from '../memory/arena.ts';
import type { EventChannels, Hypervisor } from './hypervisor.ts';
import type { XenStore } from './store-client.ts';
import type { VifFeatures, VifQueue } from './vif-queue.ts';
import { readNumber } from './xenbus.ts';

/** What an end of a network device is made with. */
export interface VifOptions {
  /** Names its regions in the arena. */
  readonly name: string;
  readonly arena: Arena;
  readonly hypervisor: Hypervisor;
  /** Domains of the ends, and the device's number among the frontend's. */
  readonly frontend: number;
  readonly backend: number;
  readonly index: number;
  /** For each queue that may be, the buffer cache of the thread that serves it: 1 to 16. */
  readonly caches: readonly number[];
  /** What this end takes: all by default. */
  readonly features?: Partial<VifFeatures>;
  /** Uses an event channel for each ring, where the other end can, too: true by default. */
  readonly splitEventChannels?: boolean;
  /** Called when the queues are there. */
  readonly onConnect?: (queues: readonly VifQueue[]) => void | Promise<void>;
  /** Called before they go: nobody uses them once it is settled. */
  readonly onDisconnect?: () => void | Promise<void>;
}

/** Keys of features that both ends write, and what they stand for. */
export const FEATURE_KEYS = {
  sg: 'feature-sg',
  gsoTcpv4: 'feature-gso-tcpv4',
  gsoTcpv6: 'feature-gso-tcpv6',
} as const satisfies Record<keyof VifFeatures, string>;

/** All features, less those that are switched off. */
export function allFeatures(features: Partial<VifFeatures> = {}): VifFeatures {
  return { sg: true, gsoTcpv4: true, gsoTcpv6: true, ...features };
}

/** What the end whose directory is `path` takes. Segments do not fit a page, so that they need scatter-gather. */
export async function readFeatures(store: XenStore, path: string): Promise<VifFeatures> {
  const has = async (key: string): Promise<boolean> => (await readNumber(store, `${path}/${key}`, 1, 0)) === 1;
  const sg = await has(FEATURE_KEYS.sg);
  return {
    sg,
    gsoTcpv4: sg && (await has(FEATURE_KEYS.gsoTcpv4)),
    gsoTcpv6: sg && (await has(FEATURE_KEYS.gsoTcpv6)),
  };
}

/** Directory of a queue: that of the device when there is one alone. */
export function queuePath(device: string, queue: number, queues: number): string {
  return queues === 1 ? device : `${device}/queue-${queue}`;
}

/** A queue whose sides send events when they have something for the other end. */
export function withEvents(queue: VifQueue, events: EventChannels, txPort: number, rxPort: number): VifQueue {
  const notify = (): void => {
    const tx = queue.tx.needsNotify();
    const rx = queue.rx.needsNotify();
    if (tx) events.send(txPort);
    if (rx && !(tx && txPort === rxPort)) events.send(rxPort);
  };
  notify();
  return {
    ...queue,
    receive(slots, max) {
      const n = queue.receive(slots, max);
      notify();
      return n;
    },
    send(slots, count) {
      const n = queue.send(slots, count);
      notify();
      return n;
    },
  };
}
