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

/** A network interface of the system through packet sockets: a copy of what arrives there, which the system gets, too. */
export const afPacketPort = netifPort<PacketOptions, PacketShare>({
  bytes: ({ queues }) => packetBytes(queues),
  open: ({ arena, name }, config) => openPacketSockets(arena, name, config),
  serve: ({ arena, queue, cache }, share) => new PacketQueue(arena, share, queue, cache),
  drops: packetDrops,
  close: ({ arena, name }, share) => closePacketSockets(arena, name, share),
});
