// A port module of the XDP bench: a network interface whose frames are in its buffers already, as DMA leaves them.
import { BUFFER_HEADROOM, SLOT_BUFFER, SLOT_LENGTH, SLOT_SHIFT } from '../memory/layout.ts';
import type { PoolKernels } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import type { PortModule } from '../ports/module.ts';
import { WIRE_HEAD, WIRE_MASK, WIRE_SLOTS } from './layout.ts';

interface WireKernels {
  labWireReceive(wire: number, cache: number, slots: number, max: number): number;
}

const BURST_MAX = 32;
/** 64 bytes on the wire, less 4 of FCS. */
const FRAME_BYTES = 60;

/** The frames of `flows` UDP flows. */
function framesOf(flows: number): Uint8Array[] {
  return Array.from({ length: flows }, (_, flow) =>
    buildFrame({
      ethernet: { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' },
      ipv4: { source: `198.18.${flow >> 8}.${flow & 255}`, destination: '198.19.0.1' },
      udp: { sourcePort: 49152 + (flow & 1023), destinationPort: 9 },
      payload: new Uint8Array(FRAME_BYTES - 42),
    }),
  );
}

const wirePort: PortModule = {
  attach({ arena, cache, index }, options) {
    const { u8, u16, u32 } = arena;
    const [descriptors, flows] = [options.descriptors as number, options.flows as number];
    const wire = arena.allocate(`wire ${index}`, WIRE_SLOTS + (descriptors << SLOT_SHIFT));
    const burst = arena.allocate(`wire ${index} burst`, BURST_MAX << SLOT_SHIFT);
    const { labWireReceive, poolAlloc, poolFree } = arena.kernels<WireKernels & PoolKernels>();
    const frames = framesOf(flows);
    u32[(wire + WIRE_HEAD) >>> 2] = 0;
    u32[(wire + WIRE_MASK) >>> 2] = descriptors - 1;
    // All buffers that will ever be posted hold a frame from the start.
    const spare: number[] = [];
    for (let at = 0; poolAlloc(cache, burst, 1) === 1; at++) {
      const buffer = u32[(burst + SLOT_BUFFER) >>> 2] ?? 0;
      u8.set(frames[at % flows] as Uint8Array, buffer + BUFFER_HEADROOM);
      u16[(burst + SLOT_LENGTH) >>> 1] = FRAME_BYTES;
      if (at < descriptors) u8.copyWithin(wire + WIRE_SLOTS + (at << SLOT_SHIFT), burst, burst + (1 << SLOT_SHIFT));
      else spare.push(buffer);
    }
    for (const buffer of spare) {
      u32[(burst + SLOT_BUFFER) >>> 2] = buffer;
      poolFree(cache, burst, 1);
    }
    return {
      rxBurst: (slots, max) => labWireReceive(wire, cache, slots, max),
      txBurst(slots, count) {
        poolFree(cache, slots, count);
        return count;
      },
      info: () => ({ done: false }),
      close() {},
    };
  },
};

export default wirePort;
