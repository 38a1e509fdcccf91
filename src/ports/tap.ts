import { SLOT_SHIFT } from '../memory/layout.ts';
import { CaptureFile, type CaptureFileShare } from './capture-file.ts';
import type { Port, PortContext } from './port.ts';

/**
 * Records everything that passes `port`, both ways, to an open capture file. The packets go on their way unchanged.
 * What goes out is sent one by one: only what the port took is recorded, and afterwards its buffers are gone.
 */
export function tappedPort(context: PortContext, port: Port, share: CaptureFileShare): Port {
  // A tap that cannot write loses its own records, not the port's packets.
  const file = new CaptureFile({ ...context, lost: () => {} }, share);
  return {
    info: () => file.withFault(port.info()),
    set: (name, value) => port.set?.(name, value),
    close() {
      port.close();
      file.flush();
    },
    rxBurst(slots, max) {
      const n = port.rxBurst(slots, max);
      file.append(slots, n);
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
