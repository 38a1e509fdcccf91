import { TOEPLITZ_KEY_BYTES } from '../packet/layout.ts';
import { nextPowerOfTwo } from '../util/bits.ts';
import { Random } from '../util/random.ts';
import type { VifHash } from '../xen/control-client.ts';
import { HASH_FLAGS } from '../xen/hash.ts';
import { Netfront } from '../xen/netfront.ts';
import { type FrontPath, frontQueueBytes, frontQueuePages } from '../xen/netfront-queue.ts';
import { xenEndType } from './xen-end.ts';
import { xenFeatures } from './xen-port.ts';

/** The frontend of a Xen network device. */
export interface XenNetfrontConfig {
  readonly name: string;
  /** Name of the port that is its backend. */
  readonly backend: string;
  /** Queues at most, 1 to 8. */
  readonly queues: number;
  /** How packets get across, where the backend can. */
  readonly path: FrontPath['kind'];
  /** Bytes of each packet that are staged, each way, 0 to 65,536: with `path` staging. */
  readonly txDataLength: number;
  readonly rxDataLength: number;
  /** Pages of the data ring, as a power of two, 1 to 9: with `path` data-ring. */
  readonly dataRingOrder: number;
  /** Pages of each ring, as a power of two: 0 to 4. */
  readonly ringOrder: number;
  /** The backend is asked for the hash of each packet, and spreads packets over queues by it. */
  readonly hash: boolean;
  /** Checksums, segments and packets of more than a page are taken. */
  readonly offloads: boolean;
}

function pathOf({ path, txDataLength: tx, rxDataLength: rx, dataRingOrder: order }: XenNetfrontConfig): FrontPath {
  if (path === 'staging') return { kind: path, tx, rx };
  return path === 'data-ring' ? { kind: path, order } : { kind: path };
}

/** All that a backend hashes, with a key of the port's own; the hash alone says the queue, however many there are. */
function hashOf(seed: number): VifHash {
  const random = new Random(seed);
  return { flags: HASH_FLAGS, key: new Uint8Array(TOEPLITZ_KEY_BYTES).map(() => random.below(256)), mapping: [] };
}

/** The control ring, and a page for its lists. */
const CONTROL_PAGES = 2;
/** References that no domain gives. */
const RESERVED = 8;

/** A frontend in a domain of its own, with the pages that it grants and no others. */
export const xenNetfrontPort = xenEndType<XenNetfrontConfig>({
  side: 'front',
  domain(config) {
    const pages = CONTROL_PAGES + config.queues * frontQueuePages(config.ringOrder, pathOf(config));
    const grants = nextPowerOfTwo(pages + RESERVED);
    return { pages, grants, mapPages: 1, maptrack: 1, ports: 3 + 2 * config.queues };
  },
  queueBytes: ({ queues, ringOrder }) => queues * frontQueueBytes(ringOrder),
  backend: ({ backend }) => backend,
  make: (config, memory, options, _hash, seed) =>
    new Netfront({
      ...options,
      memory,
      path: pathOf(config),
      ringOrder: config.ringOrder,
      features: xenFeatures(config.offloads),
      ...(config.hash ? { hash: hashOf(seed) } : {}),
    }),
});
