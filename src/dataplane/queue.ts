import type { AsyncLcore } from '../async/lcore.ts';
import { PARK_MS } from '../lcore/idle.ts';
import type { LcoreContext } from '../lcore/lcore.ts';
import { GRO_BYTES } from '../packet/layout.ts';
import { afPacketPort } from '../ports/af-packet.ts';
import { afXdpPort } from '../ports/af-xdp.ts';
import { capturePort } from '../ports/capture.ts';
import { countedPort } from '../ports/counted.ts';
import { faultyPort } from '../ports/fault.ts';
import { generatorPort } from '../ports/generator.ts';
import { groPort } from '../ports/gro.ts';
import { guestPort } from '../ports/guest.ts';
import { modulePort } from '../ports/module.ts';
import { nullPort } from '../ports/null.ts';
import { offloadPort } from '../ports/offload.ts';
import type { Port, PortContext, PortType } from '../ports/port.ts';
import { tappedPort } from '../ports/tap.ts';
import { tapDevicePort } from '../ports/tap-device.ts';
import { tracedPort } from '../ports/tracer.ts';
import { vhostUserPort } from '../ports/vhost-user.ts';
import { virtioUserPort } from '../ports/virtio-user.ts';
import { xenNetbackPort } from '../ports/xen-netback.ts';
import { xenNetfrontPort } from '../ports/xen-netfront.ts';
import { addCounter, portCounters } from '../telemetry/counters.ts';
import { COUNTER_DROPS, COUNTER_RX_PACKETS, COUNTER_TX_BYTES, COUNTER_TX_PACKETS } from '../telemetry/layout.ts';
import { RingwayError } from '../util/errors.ts';
import type { PipelineData, PortWire, TraceEvent } from './wire.ts';
import type { XdpLcore } from './xdp-lcore.ts';

/** One queue of a port, attached on this lcore, with its middleware around it. */
export interface Queue {
  /** The port's number. */
  readonly index: number;
  readonly queue: number;
  readonly port: Port;
  /** As `Port.rest` and `Port.eager`: of the port itself, when nothing around it holds packets. */
  rest(): number;
  readonly eager: boolean;
  /** Turns a line per packet on or off. */
  trace(on: boolean): void;
}

/** The kinds of ports that a configuration may name. */
export const portTypes: Readonly<Record<string, PortType<never>>> = {
  'af-packet': afPacketPort,
  'af-xdp': afXdpPort,
  capture: capturePort,
  generator: generatorPort,
  guest: guestPort,
  module: modulePort,
  null: nullPort,
  tap: tapDevicePort,
  'vhost-user': vhostUserPort,
  'virtio-user': virtioUserPort,
  'xen-netback': xenNetbackPort,
  'xen-netfront': xenNetfrontPort,
};

/** @throws RingwayError `BAD_CONFIG` when there is no such kind of port. */
export function portTypeOf(type: string): PortType<never> {
  const found = portTypes[type];
  if (found === undefined) {
    throw new RingwayError(
      'BAD_CONFIG',
      `no port type ${JSON.stringify(type)}; there are: ${Object.keys(portTypes).join(', ')}`,
    );
  }
  return found;
}

/** Receives nothing from `port` while `isQuiet` says so; what stands around the port goes on. */
function gatedPort(port: Port, isQuiet: () => boolean): Port {
  return {
    ...port,
    rxBurst: (slots, max) => (isQuiet() ? 0 : port.rxBurst(slots, max)),
  };
}

/** What all queues of an lcore have. */
export interface QueueSurroundings {
  /** Nothing is to be received. */
  readonly isQuiet: () => boolean;
  readonly xdp: XdpLcore;
  readonly async: AsyncLcore | undefined;
}

/**
 * Attaches a queue in this lcore's thread. From inside out: the port, what counts its packets, a gate unless it is paired, injected faults,
 * its XDP program, the tap, what merges segments, what finishes offloads, the tracer: so the counters count what came over
 * the wire, a program sees it first, a tap records what the dataplane saw with its checksums and segments, and the tracer
 * shows what was asked for.
 */
export async function attachQueue(
  context: LcoreContext,
  data: PipelineData,
  wire: PortWire,
  queue: number,
  { isQuiet, xdp, async }: QueueSurroundings,
): Promise<Queue> {
  const { arena, address: lcore, notify } = context;
  const counters = portCounters(data.counters, wire.index);
  const portContext: PortContext = {
    arena,
    index: wire.index,
    queue,
    lcore,
    cache: data.cache,
    ...(async === undefined ? {} : { async }),
    refuse(reason, n) {
      addCounter(arena, counters + COUNTER_RX_PACKETS, n);
      addCounter(arena, counters + COUNTER_DROPS + reason * 8, n);
    },
    lost(reason, n, bytes = 0) {
      addCounter(arena, counters + COUNTER_TX_PACKETS, -n);
      addCounter(arena, counters + COUNTER_TX_BYTES, -bytes);
      addCounter(arena, counters + COUNTER_DROPS + reason * 8, n);
    },
  };
  const attached = await portTypeOf(wire.type).attach(portContext, wire.data);
  let port = countedPort(arena, attached, wire.index, counters);
  if (!wire.paired) port = gatedPort(port, isQuiet);
  port = faultyPort(portContext, port, { counters, scratch: data.faultBurst, settings: wire.fault });
  port = xdp.hooked(port, wire, queue);
  if (wire.tap !== undefined) port = tappedPort(portContext, port, wire.tap, data.segments);
  if (wire.gro !== undefined) {
    const area = wire.gro + queue * GRO_BYTES;
    port = groPort(portContext, port, { counters, area, scratch: data.faultBurst });
  }
  // What a tap records is complete, so nothing is left to a port that has one.
  const offloads = wire.tap === undefined ? (): number => attached.offloads ?? 0 : (): number => 0;
  port = offloadPort(portContext, port, { counters, work: data.segments, offloads });
  const traced = tracedPort(arena, port, (line) => notify({ index: wire.index, line } satisfies TraceEvent));
  return {
    index: wire.index,
    queue,
    port: traced.port,
    trace: traced.trace,
    // What injected faults hold back has a time, and a tap writes now and then: nobody rings for those.
    rest: () => (wire.tap !== undefined || (port.info().pending ?? 0) > 0 ? PARK_MS : (attached.rest?.() ?? PARK_MS)),
    eager: attached.eager ?? false,
  };
}
