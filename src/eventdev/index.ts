/**
 * An event device: queues whose events are spread over ports, one for each thread, so that the events of a flow are
 * processed one at a time and in order, and flows move from busy ports to idle ones by themselves.
 *
 * @example
 * import { createArena } from 'ringway/memory';
 * import { attachEventPort, createEventDevice, EVENT_OP, writeEvent } from 'ringway/eventdev';
 *
 * const arena = createArena({ bytes: 8 << 20 });
 * const device = createEventDevice(arena, {
 *   name: 'work',
 *   ports: 2,
 *   queues: [{ schedule: 'atomic' }, { schedule: 'single-link' }],
 * });
 * device.link(0, 0);
 * device.link(1, 1);
 * device.start();
 *
 * const slots = arena.allocate('slots', 32 * 16);
 * const worker = attachEventPort(arena, device.portAddress(0)); // in any thread
 * const writer = attachEventPort(arena, device.portAddress(1));
 * writeEvent(arena, slots, { queue: 0, flow: 7, op: EVENT_OP.NEW });
 * writer.enqueue(slots, 1);
 * writer.enqueue(slots, 0); // sends what is buffered
 * const n = worker.dequeue(slots, 32);
 * for (let i = 0; i < n; i++) writeEvent(arena, slots + i * 16, { queue: 1, flow: 7, op: EVENT_OP.FORWARD });
 * worker.enqueue(slots, n);
 * worker.dequeue(slots, 32); // finds nothing, and sends
 * console.log(writer.dequeue(slots, 32), device.xstats.get('port_0_dequeued'));
 * device.stop();
 *
 * @module
 */

export type { EventCapabilities } from './capabilities.ts';
export { createEventDevice, EventDevice } from './device.ts';
export { EVENT_OP, type Event, readEvent, writeEvent } from './event.ts';
export { type FlowMove, FlowWatch } from './flows.ts';
export type { EventDeviceOptions, EventPortOptions, EventQueueOptions, Migration, Schedule } from './options.ts';
export type { OrderedStatus } from './ordered.ts';
export type { Shape, Shaped } from './pool/codec.ts';
export type { NumberField, StructField, StructFields, StructOf } from './pool/codec-struct.ts';
export { MessageError, type MessagePlace } from './pool/errors.ts';
export type { Key } from './pool/key.ts';
export { type CallOptions, type CloseOptions, KeyedPool } from './pool/keyed-pool.ts';
export type { ResultBursts } from './pool/many.ts';
export type { KeyedPoolOptions, Unattended } from './pool/options.ts';
export type { Handler, HandlerContext } from './pool/server.ts';
export type { Durations, PoolStats, WorkerStats } from './pool/stats.ts';
export { attachEventPort, type EventKernels, type EventPort, type EventPortAttachOptions } from './port.ts';
export { eventDeviceBytes } from './sizes.ts';
export type { MigrationStatus, UnattendedPort } from './status.ts';
export { EventXstats } from './xstats.ts';
