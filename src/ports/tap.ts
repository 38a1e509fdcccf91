import { BURST_MAX, SLOT_FLAG_OFFLOAD, SLOT_FLAGS, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import type { PacketKernels } from '../packet/kernels.ts';
import { SEGMENT_COUNT, SEGMENT_SLOTS } from '../packet/layout.ts';
import { CaptureFile, type CaptureFileShare } from './capture-file.ts';
import type { Port, PortContext } from './port.ts';

/**
 * Records everything that passes `port`, both ways, to an open capture file. The packets go on their way unchanged.
 * What goes out is sent one by one: only what the port took is recorded, and afterwards its buffers are gone. What comes
 * in and asks for a checksum or segments is recorded with them; as it is, when that is refused or no buffer is free.
 * @param work address of SEGMENT_BYTES that nobody else uses during a call.
 */
export function tappedPort(context: PortContext, port: Port, share: CaptureFileShare, work: number): Port {
  // A tap that cannot write loses its own records, not the port's packets.
  const file = new CaptureFile({ ...context, lost: () => {} }, share);
  const { arena, cache } = context;
  const { packetSegment, poolFree } = arena.kernels<PacketKernels & PoolKernels>();

  const recordFinished = (slot: number): void => {
    for (let done = 0; ; ) {
      const n = packetSegment(cache, slot, done, BURST_MAX, work);
      if (n <= 0) {
        if (done === 0) file.append(slot, 1);
        return;
      }
      file.append(work + SEGMENT_SLOTS, n);
      poolFree(cache, work + SEGMENT_SLOTS, n);
      done += n;
      if (done >= (arena.u32[(work + SEGMENT_COUNT) >>> 2] ?? 0)) return;
    }
  };

  return {
    info: () => file.withFault(port.info()),
    set: (name, value) => port.set?.(name, value),
    close() {
      port.close();
      file.flush();
    },
    rxBurst(slots, max) {
      const n = port.rxBurst(slots, max);
      let recorded = 0;
      for (let i = 0; i < n; i++) {
        const slot = slots + (i << SLOT_SHIFT);
        if (((arena.u8[slot + SLOT_FLAGS] ?? 0) & SLOT_FLAG_OFFLOAD) === 0) continue;
        file.append(slots + (recorded << SLOT_SHIFT), i - recorded);
        recordFinished(slot);
        recorded = i + 1;
      }
      file.append(slots + (recorded << SLOT_SHIFT), n - recorded);
      return n;
    },
    txBurst(slots, count) {
      for (let i = 0; i < count; i++) {
        const slot = slots + (i << SLOT_SHIFT);
        const mark = file.mark();
        file.append(slot, 1);
        if (port.txBurst(slot, 1) === 0) {
          file.rewind(mark);
          return i;
        }
      }
      return count;
    },
  };
}
