import { basename } from 'node:path';
import type { EventdevConfig } from '../config/types.ts';
import type { EventDevice } from '../eventdev/device.ts';
import { FlowWatch } from '../eventdev/flows.ts';
import type { Arena } from '../memory/arena.ts';
import type { EventdevSnapshot, EventPortSnapshot, EventQueueSnapshot } from '../telemetry/snapshot.ts';

/** Names of the queues: stages, the switch, then one for each lcore that serves ports. */
function listQueues({ stages, schedule, workers }: EventdevConfig, lcores: number): EventQueueSnapshot[] {
  const names = [...stages.map(({ module }) => basename(module)), 'switch'];
  const edges = Array.from({ length: lcores }, (_, lcore) => lcore).filter((lcore) => !workers.includes(lcore));
  const all = [
    ...names.map((name) => ({ name, schedule })),
    ...edges.map((lcore) => ({ name: `tx ${lcore}`, schedule: 'single-link' })),
  ];
  return all.map((queue, index) => ({ index, ...queue }));
}

/** Watches the event device of a dataplane for its control thread. */
export class EventsWatch {
  readonly #config: EventdevConfig;
  readonly #device: EventDevice;
  readonly #queues: readonly EventQueueSnapshot[];
  readonly #flows: FlowWatch;

  constructor(arena: Arena, config: EventdevConfig, device: EventDevice) {
    this.#config = config;
    this.#device = device;
    this.#queues = listQueues(config, device.ports);
    this.#flows = new FlowWatch(arena, device.address);
  }

  snapshot(nowMs: number): EventdevSnapshot {
    this.#flows.look(nowMs);
    const ports = Array.from({ length: this.#device.ports }, (_, index) => this.#port(index));
    for (const { port, sinceMs } of this.#device.unattended()) {
      ports[port] = { ...(ports[port] as EventPortSnapshot), unattendedMs: sinceMs };
    }
    for (const { port, ...migration } of this.#device.migrations()) {
      ports[port] = { ...(ports[port] as EventPortSnapshot), migration };
    }
    return {
      queues: this.#queues,
      ports,
      credits: this.#device.credits,
      creditsOnLoan: this.#device.xstats.get('dev_credits_on_loan'),
      moves: this.#flows.moves,
    };
  }

  #port(index: number): EventPortSnapshot {
    const get = (name: string): number => this.#device.xstats.get(`port_${index}_${name}`);
    return {
      index,
      role: this.#config.workers.includes(index) ? 'stages' : 'ports',
      serves: this.#device.queuesOf(index),
      load: get('load') / 100,
      newEnqueued: get('new_enqueued'),
      forwardEnqueued: get('forward_enqueued'),
      releaseEnqueued: get('release_enqueued'),
      dequeued: get('dequeued'),
      queueEnqueued: this.#queues.map((queue) => get(`queue_${queue.index}_enqueued`)),
      queueDequeued: this.#queues.map((queue) => get(`queue_${queue.index}_dequeued`)),
      emigrations: get('emigrations'),
      immigrations: get('immigrations'),
      migrationLatencyNs: get('migration_latency'),
      eventLatencyNs: get('event_proc_latency'),
      flows: this.#queues.map((queue) => this.#flows.owned(queue.index, index)),
      credits: get('inflight_credits'),
      pending: get('pending_releases'),
    };
  }
}
