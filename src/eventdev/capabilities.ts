import type { Arena } from '../memory/arena.ts';
import type { CheckedOptions, Schedule } from './options.ts';

/**
 * What a device can do, as it is configured. In brackets the RTE_EVENT_DEV_CAP_… of DPDK's lib/eventdev/rte_eventdev.h
 * that means the same.
 */
export interface EventCapabilities {
  /** It has a queue of that schedule (ATOMIC, ORDERED, PARALLEL). */
  readonly atomic: boolean;
  readonly ordered: boolean;
  readonly parallel: boolean;
  readonly singleLink: boolean;
  /** Queues have different priorities (QUEUE_QOS). */
  readonly queuePriorities: boolean;
  /** Ports schedule events themselves; no core does it for them (DISTRIBUTED_SCHED). */
  readonly distributedScheduling: boolean;
  /** Events are enqueued and dequeued in bursts (BURST_MODE). */
  readonly burstMode: boolean;
  /** Events may go to queues in any order (NONSEQ_MODE). */
  readonly anyQueueOrder: boolean;
  /** A port may serve several queues (MULTIPLE_QUEUE_PORT). */
  readonly multipleQueuePorts: boolean;
  /** Links change while it runs: there is a queue that is not single-link (RUNTIME_PORT_LINK). */
  readonly runtimeLinks: boolean;
  /** Events keep their flow id (CARRY_FLOW_ID). */
  readonly carriesFlowId: boolean;
  /** Ports may leave the release of events to the application (IMPLICIT_RELEASE_DISABLE). */
  readonly implicitReleaseDisable: boolean;
  /** Events may be forwarded and released in another order than that of their dequeue: not with ordered queues (INDEPENDENT_ENQ). */
  readonly independentEnqueue: boolean;
  /** A dequeue may wait for events. */
  readonly dequeueTimeout: boolean;
  /** Ports may be left alone for any time (MAINTENANCE_FREE). Never: a thread without events sleeps on its port, or maintains it. */
  readonly maintenanceFree: boolean;
  /** Other processes may attach to its ports: its arena is shared. */
  readonly otherProcesses: boolean;
}

/** The capabilities of a device made of `options` in `arena`. */
export function capabilitiesOf(arena: Arena, { queues, levels }: CheckedOptions): EventCapabilities {
  const has = (schedule: Schedule): boolean => queues.some((queue) => queue.schedule === schedule);
  return {
    atomic: has('atomic'),
    ordered: has('ordered'),
    parallel: has('parallel'),
    singleLink: has('single-link'),
    queuePriorities: levels.length > 1,
    distributedScheduling: true,
    burstMode: true,
    anyQueueOrder: true,
    multipleQueuePorts: true,
    runtimeLinks: queues.some(({ schedule }) => schedule !== 'single-link'),
    carriesFlowId: true,
    implicitReleaseDisable: true,
    independentEnqueue: !has('ordered'),
    dequeueTimeout: true,
    maintenanceFree: false,
    otherProcesses: arena.handle.path !== undefined,
  };
}
