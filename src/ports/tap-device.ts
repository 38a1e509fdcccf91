import { closeTap, openTap, TapQueue, type TapShare, tapBytes, tapDrops } from '../netif/tap.ts';
import { netifPort } from './netif.ts';

/** A tap of the system. */
export interface TapConfig {
  /** Its name: 1 to 15 bytes. */
  readonly interface: string;
  readonly queues: number;
  /** Checksums and segmentation may be left to the other side. */
  readonly offloads: boolean;
}

/** The far end of a network interface of this system: what the system sends by it is received here. */
export const tapDevicePort = netifPort<TapConfig, TapShare>({
  bytes: ({ queues }) => tapBytes(queues),
  open: ({ arena, name }, config) => openTap(arena, name, { ...config, name: config.interface }),
  serve: ({ arena, queue, cache }, share) => new TapQueue(arena, share, queue, cache),
  drops: tapDrops,
  close: ({ arena, name }, share) => closeTap(arena, name, share),
});
