import { opening } from '../netif/interface.ts';
import {
  closePacketSockets,
  openPacketSockets,
  type PacketOptions,
  PacketQueue,
  type PacketShare,
  packetBytes,
  packetDrops,
} from '../netif/packet-socket.ts';
import { netifPort } from './netif.ts';
import type { PortType } from './port.ts';

/** A network interface of the system through packet sockets: a copy of what arrives there, which the system gets, too. */
export const afPacketPort: PortType<PacketOptions> = {
  bytes: ({ queues }) => packetBytes(queues),
  create({ arena, name }, config) {
    const share = opening(name, () => openPacketSockets(arena, name, config));
    return { data: share, rxQueues: config.queues, pausable: false, finite: false };
  },
  attach(context, data) {
    const { arena, queue, cache } = context;
    const share = data as PacketShare;
    const { address = 0 } = share.queues[queue] ?? {};
    return netifPort(context, new PacketQueue(arena, share, queue, cache), packetDrops(address));
  },
  release: ({ arena, name }, data) => closePacketSockets(arena, name, data as PacketShare),
};
