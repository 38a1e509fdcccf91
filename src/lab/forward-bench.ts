import { parseConfig } from '../config/index.ts';
import { createMachine, type Machine } from '../dataplane/machine.ts';
import { Pipeline } from '../dataplane/pipeline.ts';
import { planDataplane } from '../dataplane/plan.ts';
import { PortTable } from '../dataplane/port-table.ts';
import { applySwitchConfig, SteeringRules } from '../dataplane/rules.ts';
import { BURST_MAX } from '../memory/layout.ts';
import { readPortCounters } from '../telemetry/counters.ts';
import { formatMac } from '../util/addresses.ts';
import { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import { measure } from './measure.ts';
import { type Row, rowOf } from './row.ts';

/** Packets that the sink keeps. Their frames lie 2 KiB apart, so that an L2 of 1 MiB in 16 ways holds 512 of them. */
const HOLD = 8192;
const FLOWS = 1024;
const MACS = 4096;
/** 64 bytes on the wire, less 4 of FCS. */
const FRAME_BYTES = 60;
const ROUTER_MAC = '02:00:00:00:00:01';
const HOP_MAC = '02:00:00:00:00:02';
const SOURCES = '02:00:02:00:00:00';

/** What differs from one run to the next. */
interface Variation {
  readonly name: string;
  readonly hold: number;
  readonly size: number | 'imix';
  /** Ports behind the switch. */
  readonly sinks: number;
  /** Where the generated frames go: addresses in the MAC table, one that nobody has, or the router. */
  readonly to: 'known' | 'unknown' | 'router';
  /** The sinks are trunks, so that each frame gets a tag. */
  readonly tagged: boolean;
  /** Steering rules, none of which matches: each packet is compared with all. */
  readonly rules: number;
}

const PLAIN: Variation = {
  name: 'forward',
  hold: HOLD,
  size: FRAME_BYTES,
  sinks: 1,
  to: 'known',
  tagged: false,
  rules: 0,
};

/** All that is measured. */
export const VARIATIONS: readonly Variation[] = [
  PLAIN,
  { ...PLAIN, name: 'forward, buffers in cache', hold: 0 },
  { ...PLAIN, name: 'forward, IMIX', size: 'imix' },
  { ...PLAIN, name: 'forward, flooded to 4 ports', sinks: 4, to: 'unknown' },
  { ...PLAIN, name: 'forward, VLAN tag pushed', tagged: true },
  { ...PLAIN, name: 'forward, 64 steering rules', rules: 64 },
  { ...PLAIN, name: 'forward, IPv4 routed', to: 'router' },
];

/** Address number `index` of those in the MAC table. */
function destination(index: number): string {
  return formatMac(0x02_00_01_00_00_00 + index);
}

/** The configuration, as a file would have it. */
function configOf({ hold, size, sinks, to, tagged, rules }: Variation): object {
  const vlan = 10;
  const sink = {
    ...(hold === 0
      ? { type: 'null' }
      : { type: 'module', module: moduleUrl('lab/holding-sink.js').href, options: { hold } }),
    vlan: tagged ? { trunk: [vlan] } : { access: vlan },
  };
  const dstMac = to === 'known' ? destination(0) : to === 'router' ? ROUTER_MAC : HOP_MAC;
  return {
    version: 1,
    buffers: HOLD + 1024,
    ports: {
      load: {
        type: 'generator',
        flows: FLOWS,
        size,
        dstMac,
        srcMac: SOURCES,
        srcMacs: FLOWS,
        dstMacs: to === 'known' ? FLOWS : 1,
        vlan: { access: vlan },
      },
      ...Object.fromEntries(Array.from({ length: sinks }, (_, index) => [`sink${index}`, sink])),
    },
    switch: {
      // The sources are learned beside them.
      static: Array.from({ length: MACS - FLOWS }, (_, index) => ({ mac: destination(index), vlan, port: 'sink0' })),
      ...(to === 'router'
        ? { routerMac: ROUTER_MAC, routes: [{ prefix: '198.19.0.0/16', port: 'sink0', mac: HOP_MAC }] }
        : {}),
    },
    steering: Array.from({ length: rules }, (_, index) => ({
      match: { 'flow-type': 'udp4', 'dst-port': 1 + index },
      action: { drop: true },
    })),
  };
}

/** A pipeline over a machine of its own, in this thread. Each poll of it moves a burst from the generator to the end. */
export async function startForwarding(variation: Variation): Promise<{ machine: Machine; pipeline: Pipeline }> {
  const config = parseConfig(JSON.stringify(configOf(variation)), { file: 'bench.yaml' });
  const machine = createMachine(config, planDataplane(config));
  const ports = new PortTable(machine, config);
  for (const port of config.ports) machine.switch.addPort(ports.add(port).wire.index, port);
  applySwitchConfig(machine, config, ports);
  new SteeringRules(machine.steering, ports, config).replaceAll(config.steering);
  const pipeline = new Pipeline({
    arena: machine.arena,
    index: 0,
    address: machine.lcores[0] ?? 0,
    data: machine.pipelines[0],
    notify() {},
  });
  for (const { wire } of ports.all()) await pipeline.handle({ kind: 'add', port: wire });
  await pipeline.handle({ kind: 'resume' });
  return { machine, pipeline };
}

async function forward(variation: Variation): Promise<Row> {
  const { machine, pipeline } = await startForwarding(variation);
  let polls = 0;
  const measured = measure(BURST_MAX, () => {
    pipeline.poll();
    polls++;
  });
  for (let port = 1; port <= variation.sinks; port++) {
    const { txPackets } = readPortCounters(machine.arena, machine.counters, port);
    if (txPackets === polls * BURST_MAX) continue;
    throw new RingwayError(
      'SYSTEM',
      `bench: ${variation.name}: ${txPackets} packets left, not ${polls} bursts of ${BURST_MAX}`,
    );
  }
  const value = measured.value === null ? null : 1000 / measured.value;
  return rowOf({ ...measured, name: variation.name, value, unit: 'Mpackets/s', state: 'one core' }, null);
}

/**
 * Forwarding: generator, switch with 4,096 addresses, sink, on one core, all of an lcore's poll. Samples are a burst of
 * 32 on its whole way. The sink holds packets back, so that no buffer is in L2 when it is used again.
 */
export async function benchForward(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const variation of VARIATIONS) rows.push(await forward(variation));
  return rows;
}
