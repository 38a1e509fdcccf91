import type { Arena } from '../memory/arena.ts';
import type { Hypervisor } from './hypervisor.ts';
import type { XenStore } from './store-client.ts';
import type { VifFeatures, VifQueueShare } from './vif-queue.ts';
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
  /** Queues at most: 1 to 16. The end with fewer decides. */
  readonly queues: number;
  /** What this end takes: all by default. */
  readonly features?: Partial<VifFeatures>;
  /** Uses an event channel for each ring, where the other end can, too: true by default. */
  readonly splitEventChannels?: boolean;
  /** Called when the queues are there: `attachVifQueue` serves each, on any thread. */
  readonly onConnect?: (queues: readonly VifQueueShare[]) => void | Promise<void>;
  /** Called before they go: nobody uses them once it is settled. */
  readonly onDisconnect?: () => void | Promise<void>;
  /** Called with what went wrong: the other end was not connected, or is let go. */
  readonly onError?: (error: unknown) => void;
}

/** How a packet's bytes get across, beside copies by grant, which any two ends can. */
export type VifPath = 'staging' | 'persistent' | 'control' | 'data-ring';

/** Keys by which a backend says that it can, as 1. */
export const PATH_KEYS = {
  staging: 'feature-staging-grants',
  persistent: 'feature-persistent',
  control: 'feature-ctrl-ring',
  'data-ring': 'feature-data-ring',
} as const satisfies Record<VifPath, string>;

/** Key of the most pages of a ring, as a power of two, that a backend takes; `RING-ring-page-order` says what a frontend has. */
export const RING_ORDER_KEY = 'max-ring-page-order';

/** Key of the backend's directory by which Xen's tools limit what the frontend sends. */
export const RATE_KEY = 'rate';

/** Keys by which the backend says that it leaves bytes before a packet, and the frontend how many: at any time, by Reconfiguring. */
export const HEADROOM_KEYS = { back: 'feature-xdp-headroom', front: 'xdp-headroom' } as const;

/** Keys by which the backend says that it drops multicast that nobody wants, and the frontend that it is to: before it connects. */
export const MULTICAST_KEYS = { back: 'feature-multicast-control', front: 'request-multicast-control' } as const;

/** Key by which a frontend says the reference of a queue's data ring: that of its index page. */
export const DATA_RING_KEY = 'data-ring-ref';

/** Keys of features that both ends write, and what they stand for. Checksums over IPv4 can be left to anybody who does not say NO_CSUM_KEY. */
const FEATURE_KEYS = {
  sg: 'feature-sg',
  gsoTcpv4: 'feature-gso-tcpv4',
  gsoTcpv6: 'feature-gso-tcpv6',
  csum: 'feature-ipv6-csum-offload',
} as const satisfies Record<keyof VifFeatures, string>;

/** Says as 1 that checksums are to be there. */
const NO_CSUM_KEY = 'feature-no-csum-offload';

/** All features, less those that are switched off. */
export function allFeatures(features: Partial<VifFeatures> = {}): VifFeatures {
  return { sg: true, gsoTcpv4: true, gsoTcpv6: true, csum: true, ...features };
}

/** What an end writes of what it takes. */
export function featureKeys(features: VifFeatures): Record<string, number> {
  const keys: Record<string, number> = { [NO_CSUM_KEY]: features.csum ? 0 : 1 };
  for (const [name, key] of Object.entries(FEATURE_KEYS)) keys[key] = features[name as keyof VifFeatures] ? 1 : 0;
  return keys;
}

/**
 * What the end whose directory is `path` takes. Segments do not fit a page, so that they need scatter-gather, and they need checksums.
 * Who does those of IPv4 alone gets none to do.
 */
export async function readFeatures(store: XenStore, path: string): Promise<VifFeatures> {
  const has = async (key: string): Promise<boolean> => (await readNumber(store, `${path}/${key}`, 1, 0)) === 1;
  const sg = await has(FEATURE_KEYS.sg);
  const csum = (await has(FEATURE_KEYS.csum)) && !(await has(NO_CSUM_KEY));
  return {
    sg,
    gsoTcpv4: sg && csum && (await has(FEATURE_KEYS.gsoTcpv4)),
    gsoTcpv6: sg && csum && (await has(FEATURE_KEYS.gsoTcpv6)),
    csum,
  };
}

/** Directory of a queue: that of the device when there is one alone. */
export function queuePath(device: string, queue: number, queues: number): string {
  return queues === 1 ? device : `${device}/queue-${queue}`;
}
