/**
 * DMA devices: copies that an engine does while the thread that wants them goes on, and that complete in order.
 *
 * @example
 * import { createArena } from 'ringway/memory';
 * import { createDmaDevice, DMA_FLAG } from 'ringway/dma';
 *
 * const arena = createArena({ bytes: 1 << 20 });
 * const source = arena.allocate('source', 4096);
 * const target = arena.allocate('target', 4096);
 * arena.u8.fill(7, source, source + 4096);
 *
 * const device = await createDmaDevice(arena, { name: 'copier', engine: { kind: 'worker' } });
 * device.configure({ vchans: 1 });
 * device.vchanSetup(0, { descriptors: 64 });
 * await device.start();
 * const vchan = device.vchan(0); // in another thread: attachVchan(arena, device.vchanAddress(0))
 * vchan.copy(target, source, 4096, DMA_FLAG.SUBMIT);
 * while (vchan.completed(1) === 0 && !vchan.hasError);
 * console.log(arena.u8[target], device.stats(0));
 * await device.stop();
 * device.close();
 *
 * @module
 */
export type { DmaCapabilities, EngineCapabilities, EngineContext, EngineModule } from './capabilities.ts';
export { createDmaDevice, type DmaConfig, DmaDevice, type DmaDeviceOptions, type DmaState } from './device.ts';
export { type DmaOperation, type DmaSegment, EngineVchan } from './engine-vchan.ts';
export type { DmaEngine } from './engines.ts';
export { DmaModel } from './model.ts';
export type { ModelFaults, ModelParameters } from './model-parameters.ts';
export { attachVchan, DMA_FLAG, DMA_STATUS, type DmaStats, Vchan, type VchanOptions } from './vchan.ts';
