import type { SourceKernels } from '../guest/source.ts';
import type { Arena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { attachNetQueue } from '../virtio/net-queue.ts';

/** A side of a virtio-net queue: sends a template again and again, or receives and frees. */
export interface NetRole {
  readonly role: 'net';
  readonly side: 'send' | 'receive';
  /** Address of the net queue, and of the thread's buffer cache. */
  readonly netq: number;
  readonly cache: number;
  /** Address of 32 slots, how many of them a turn moves, and of a UDP frame of `length` bytes. */
  readonly burst: number;
  readonly size: number;
  readonly template: number;
  readonly length: number;
}

/** A side of a virtqueue whose buffers nobody looks at: what the ring itself costs. */
export interface QueueRole {
  readonly role: 'queue';
  readonly side: 'drive' | 'serve';
  /** Addresses of the queue's side, of a chain list, and of 64 records. */
  readonly queue: number;
  readonly list: number;
  readonly records: number;
  readonly size: number;
}

/** What a turn of the role does; it returns how many chains moved. */
export function queueTurn(arena: Arena, { side, queue, list, records, size }: QueueRole): () => number {
  type Turn = (queue: number, list: number, records: number, n: number) => number;
  const { labDrive, labServe } = arena.kernels<{ labDrive: Turn; labServe: Turn }>();
  return side === 'drive' ? () => labDrive(queue, list, records, size) : () => labServe(queue, list, records, size);
}

/** Where UDP begins behind Ethernet and IPv4. */
const UDP_AT = 34;

/** What a turn of the role does; it returns how many packets moved. */
export function netTurn(arena: Arena, role: NetRole): () => number {
  const { poolAlloc, poolFree, guestFillUdp } = arena.kernels<PoolKernels & SourceKernels>();
  const { netq, cache, burst, size, template, length } = role;
  const queue = attachNetQueue(arena, netq, cache);
  if (role.side === 'receive') {
    return () => {
      const n = queue.receive(burst, size);
      if (n > 0) poolFree(cache, burst, n);
      return n;
    };
  }
  // What was not taken is offered again: a full queue costs no second making of the packets.
  let waiting = 0;
  return () => {
    if (waiting === 0) {
      waiting = poolAlloc(cache, burst, size);
      guestFillUdp(burst, waiting, template, length, length, UDP_AT, 0, 1);
    }
    const sent = queue.send(burst, waiting);
    if (sent > 0 && sent < waiting) {
      arena.u8.copyWithin(burst, burst + (sent << SLOT_SHIFT), burst + (waiting << SLOT_SHIFT));
    }
    waiting -= sent;
    return sent;
  };
}
