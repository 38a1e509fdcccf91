/*
 * A DMA engine of one's own: copies and fills, one channel, and no more than one operation at a time. It stands for a device
 * that takes a while: an operation is begun in one poll, and its bytes and its completion come some polls later.
 *
 *   const engine = { kind: 'module', url: new URL('./dma-engine.mjs', import.meta.url).href, options: { polls: 3 } };
 *   const device = await createDmaDevice(arena, { name: 'slow', engine });
 */

/** INVALID_SRC_ADDR and its like, of `DMA_STATUS` in ringway/dma, come from `check`; this one is ours to give. */
const BUS_ERROR = 10;

export default {
  capabilities: { fill: true, handlesErrors: true },

  /** Runs on a thread of its own. `arena.u8` is all memory; `options` is what the device was created with. */
  start({ arena, vchans: [vchan], options: { polls = 1 } = {} }) {
    let left = 0;

    /** Moves the bytes of the oldest operation. Returns its status. */
    function move() {
      // Addresses may be anything until this says 0.
      const status = vchan.check(0);
      if (status !== 0) return status;
      const { op, targets, sources, pattern } = vchan.operation(0);
      const [{ address, length }] = targets;
      if (op === 'copy') arena.u8.copyWithin(address, sources[0].address, sources[0].address + length);
      else if (op === 'fill') {
        const bytes = new Uint8Array(Uint32Array.from(pattern).buffer);
        for (let i = 0; i < length; i++) arena.u8[address + i] = bytes[i % 8];
      } else return BUS_ERROR;
      return 0;
    }

    return function poll() {
      if (vchan.pending() === 0) return 0;
      if (left === 0) left = polls;
      left--;
      if (left > 0) return 0;
      const status = move();
      if (status !== 0) vchan.fail(0, status);
      // Bytes and status first: this is what the application sees.
      vchan.complete(1);
      return 1;
    };
  },
};
