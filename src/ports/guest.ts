import { createGuest, type GuestOptions, guestBytes } from '../guest/create.ts';
import type { GuestApp } from '../guest/wire.ts';
import type { IdleStrategy } from '../lcore/idle.ts';
import { ringDoorbell } from '../lcore/idle.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { parseIpv4, parseIpv6, parseMac } from '../util/addresses.ts';
import { moduleUrl } from '../util/module-url.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { NET_OFFLOAD_FEATURES, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { attachNetQueue } from '../virtio/net-queue.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { type AttachNetQueue, type NetDeviceShare, netDevicePort, shareNetDevice } from './net-device.ts';
import type { PortQueue, PortType } from './port.ts';

/** A guest in this process. */
export interface GuestConfig {
  readonly layout: VirtqueueLayout;
  /** Descriptors of each virtqueue. */
  readonly queueSize: number;
  /** Queue pairs. */
  readonly queues: number;
  readonly mergeable: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly offloads: boolean;
  readonly mtu: number;
  /** Derived from the port's name when missing. */
  readonly mac?: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly app: GuestApp;
  /** Of the guest's thread. */
  readonly cpu?: number;
  readonly idle?: IdleStrategy;
}

/** What the lcores that serve a guest are given. */
interface GuestShare {
  readonly net: NetDeviceShare;
  /** Address of the guest's lcore. */
  readonly lcore: number;
  /** Names of the regions that it takes. */
  readonly regions: readonly string[];
}

/** Net queues of a guest's pairs that have a queue, as they are used here. */
function queuesOf({ pairs }: Pick<NetDeviceShare, 'pairs'>): PortQueue[] {
  return pairs.flatMap(({ receive, send }, pair) => [
    ...(receive === undefined ? [] : [{ netq: receive, kind: 'virtio' as const, pair, sends: false }]),
    ...(send === undefined ? [] : [{ netq: send, kind: 'virtio' as const, pair, sends: true }]),
  ]);
}

/** 48 bits of a name: locally administered, of a station (IEEE 802, 8.4.2). FNV-1a spreads the names. */
export function macOfName(name: string): number {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return 0x02_52 * 2 ** 32 + hash;
}

/** RFC 4291, appendix A: the link-local address of a MAC. */
function linkLocal(mac: number): Uint8Array {
  const byte = (i: number): number => Math.floor(mac / 2 ** (40 - 8 * i)) % 256;
  const interfaceId = [byte(0) ^ 2, byte(1), byte(2), 0xff, 0xfe, byte(3), byte(4), byte(5)];
  return Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, ...interfaceId);
}

/** The features that both sides have. */
function featuresOf({ layout, mergeable, eventIdx, inOrder, indirect, offloads }: GuestConfig): bigint {
  const bits: number[] = [VIRTIO_F.VERSION_1];
  if (layout === 'packed') bits.push(VIRTIO_F.RING_PACKED);
  if (eventIdx) bits.push(VIRTIO_F.RING_EVENT_IDX);
  if (inOrder) bits.push(VIRTIO_F.IN_ORDER);
  if (indirect) bits.push(VIRTIO_F.RING_INDIRECT_DESC);
  if (mergeable) bits.push(VIRTIO_NET_F.MRG_RXBUF);
  return featureMask(...bits) | (offloads ? NET_OFFLOAD_FEATURES : 0n);
}

function optionsOf(name: string, seed: number, config: GuestConfig): GuestOptions {
  const { queueSize, queues, mtu, app, mac: text, ipv4, ipv6 } = config;
  const mac = (text === undefined ? undefined : parseMac(text)) ?? macOfName(name);
  const v4 = ipv4 === undefined ? undefined : parseIpv4(ipv4);
  const v6 = ipv6 === undefined ? undefined : parseIpv6(ipv6);
  const addresses = {
    mac,
    ...(v4 === undefined ? {} : { ipv4: v4 }),
    ipv6: [linkLocal(mac), ...(v6 === undefined ? [] : [v6])],
  };
  const features = featuresOf(config);
  return { name, seed, queueSize, queues, mtu, app, addresses, offered: features, supported: features };
}

/** A guest: a thread with a driver of its own behind real virtqueues, and a port that is its network device. */
export const guestPort: PortType<GuestConfig> = {
  bytes: (config) => guestBytes(optionsOf('port', 0, config)) + (64 << 10),

  create(setup, config) {
    const { arena, name, seed } = setup;
    const { async } = setup;
    const before = new Set(arena.regions().map((region) => region.name));
    const added = (): string[] => arena.regions().flatMap((region) => (before.has(region.name) ? [] : [region.name]));
    try {
      const guest = createGuest(arena, optionsOf(name, seed, config));
      const { cpu, idle } = config;
      const net = shareNetDevice(arena, name, guest.pairs, guest.net.control.address);
      const data: GuestShare = { net, lcore: guest.lcore, regions: added() };
      async?.add(queuesOf(guest));
      const thread = {
        arena: guest.arena,
        address: guest.lcore,
        module: moduleUrl('guest/guest.js'),
        data: guest.wire,
        ...(cpu === undefined ? {} : { cpu }),
        ...(idle === undefined ? {} : { idle }),
      };
      const set = (_: string, value: unknown): void => guest.net.setLink(value === 'up');
      const passive = typeof config.app === 'string';
      return {
        data,
        rxQueues: config.queues,
        pausable: false,
        finite: false,
        passive,
        untrusted: true,
        thread,
        set,
      };
    } catch (error) {
      for (const region of added()) arena.release(region);
      throw error;
    }
  },

  attach(context, data) {
    const { net, lcore } = data as GuestShare;
    const { arena, cache, async } = context;
    const { i32 } = arena;
    const doorbell = (lcore + LCORE_DOORBELL) >>> 2;
    const parked = (lcore + LCORE_PARKED) >>> 2;
    const wake = (): void => ringDoorbell(i32, doorbell, parked);
    if (async !== undefined) {
      const serve: AttachNetQueue = (address, drop) =>
        async.serve(address, { used: wake, drop }) ?? attachNetQueue(arena, address, cache);
      return netDevicePort(context, net, serve);
    }
    const port = netDevicePort(context, net);
    return {
      ...port,
      txBurst(slots, count) {
        const n = port.txBurst(slots, count);
        if (n > 0) wake();
        return n;
      },
    };
  },

  release({ arena, async }, data) {
    async?.close();
    for (const region of (data as GuestShare).regions) arena.release(region);
  },
};
