import { createGuest, type GuestMachine, type GuestOptions, guestBytes } from '../guest/create.ts';
import type { GuestApp } from '../guest/wire.ts';
import type { IdleStrategy } from '../lcore/idle.ts';
import { ringDoorbell } from '../lcore/idle.ts';
import { LCORE_DOORBELL, LCORE_PARKED } from '../lcore/layout.ts';
import { DROP_BAD_DESCRIPTOR, DROP_OVERSIZE, DROP_POOL_EMPTY } from '../telemetry/layout.ts';
import { parseIpv4, parseIpv6, parseMac } from '../util/addresses.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { NETQ_OFFLOADS } from '../virtio/layout.ts';
import { NET_OFFLOAD_FEATURES, VIRTIO_NET_F } from '../virtio/net-features.ts';
import { attachNetQueue, type NetQueue, type NetQueueDrops } from '../virtio/net-queue.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import type { PortContext, PortType } from './port.ts';

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
  readonly pairs: GuestMachine['pairs'];
  /** Address of the guest's lcore. */
  readonly lcore: number;
  /** Names of the regions that it takes. */
  readonly regions: readonly string[];
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

/** Tells the dataplane of frames that a net queue dropped since the last call. */
function dropReporter(queue: NetQueue, report: (reason: number, n: number) => void): () => void {
  let seen: NetQueueDrops = { bad: 0, long: 0, empty: 0 };
  return () => {
    const now = queue.drops();
    if (now.bad !== seen.bad) report(DROP_BAD_DESCRIPTOR, (now.bad - seen.bad) >>> 0);
    if (now.long !== seen.long) report(DROP_OVERSIZE, (now.long - seen.long) >>> 0);
    if (now.empty !== seen.empty) report(DROP_POOL_EMPTY, (now.empty - seen.empty) >>> 0);
    seen = now;
  };
}

/** A guest: a thread with a driver of its own behind real virtqueues, and a port that is its network device. */
export const guestPort: PortType<GuestConfig> = {
  bytes: (config) => guestBytes(optionsOf('port', 0, config)) + (64 << 10),

  create(setup, config) {
    const { arena, name, seed } = setup;
    const before = new Set(arena.regions().map((region) => region.name));
    const added = (): string[] => arena.regions().flatMap((region) => (before.has(region.name) ? [] : [region.name]));
    try {
      const guest = createGuest(arena, optionsOf(name, seed, config));
      const { cpu, idle } = config;
      const data: GuestShare = { pairs: guest.pairs, lcore: guest.lcore, regions: added() };
      const thread = {
        arena: guest.arena,
        address: guest.lcore,
        module: new URL('../guest/guest.js', import.meta.url),
        data: guest.wire,
        ...(cpu === undefined ? {} : { cpu }),
        ...(idle === undefined ? {} : { idle }),
      };
      return { data, rxQueues: config.queues, pausable: false, finite: false, thread };
    } catch (error) {
      for (const region of added()) arena.release(region);
      throw error;
    }
  },

  attach(context, data) {
    const { pairs, lcore } = data as GuestShare;
    const { arena, cache, queue } = context;
    const { i32 } = arena;
    const doorbell = (lcore + LCORE_DOORBELL) >>> 2;
    const parked = (lcore + LCORE_PARKED) >>> 2;
    const pair = pairs[queue] as GuestMachine['pairs'][number];
    const receive = attachNetQueue(arena, pair.receive, cache);
    const reportReceived = dropReporter(receive, context.refuse);
    const send = queue === 0 ? attachSenders(context, pairs) : undefined;
    const report = (): void => {
      reportReceived();
      send?.report();
    };
    return {
      // Bit by bit what the net queue lets a sender leave to do.
      offloads: arena.u32[(pair.send + NETQ_OFFLOADS) >>> 2] ?? 0,
      rxBurst: (slots, max) => receive.receive(slots, max),
      txBurst(slots, count) {
        if (send === undefined) return 0;
        const n = send.burst(slots, count);
        if (n > 0) ringDoorbell(i32, doorbell, parked);
        return n;
      },
      info() {
        report();
        return { done: false };
      },
      close: report,
    };
  },

  release({ arena }, data) {
    for (const region of (data as GuestShare).regions) arena.release(region);
  },
};

/** What sends into the guest's receive queues: all of them, since one lcore sends for the port. */
function attachSenders({ arena, cache, lost }: PortContext, pairs: GuestMachine['pairs']) {
  const queues = pairs.map(({ send }) => attachNetQueue(arena, send, cache));
  const reports = queues.map((queue) => dropReporter(queue, lost));
  const [first] = queues as [NetQueue];
  return {
    burst: (slots: number, count: number): number => first.send(slots, count),
    report(): void {
      for (const report of reports) report();
    },
  };
}
