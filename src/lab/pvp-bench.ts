import { setTimeout } from 'node:timers/promises';
import { parseConfig } from '../config/index.ts';
import { startDataplane } from '../dataplane/dataplane.ts';
import { createArena } from '../memory/arena.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { type Row, rowOf } from './row.ts';
import { coreDistance, stateOf, twoCpus } from './two-cores.ts';
import { median } from './windows.ts';

const WARM_UP_MS = 1000;
const WINDOW_MS = 200;
const WINDOWS = 9;
/** 64 bytes on the wire, less 4 of FCS. */
const FRAME_BYTES = 60;
const FLOWS = 1024;
/** Where the generated frames go, and where the guest sends them back to: another port than they came from. */
const GUEST_MAC = '02:00:00:00:00:01';
const SINK_MAC = '02:00:00:00:00:02';

function configOf(layout: VirtqueueLayout, [switchCpu, guestCpu]: [number, number]): object {
  return {
    version: 1,
    lcores: [{ cpu: switchCpu, idle: 'spin' }],
    ports: {
      load: {
        type: 'generator',
        flows: FLOWS,
        size: FRAME_BYTES,
        dstMac: GUEST_MAC,
        srcMac: SINK_MAC,
        learn: false,
      },
      vm: { type: 'guest', layout, mac: GUEST_MAC, app: 'forward', learn: false, cpu: guestCpu, idle: 'spin' },
      sink: { type: 'null' },
    },
    switch: {
      static: [
        { mac: GUEST_MAC, port: 'vm' },
        { mac: SINK_MAC, port: 'sink' },
      ],
    },
  };
}

/** Frames that came out at the sink, in millions a second: the median of windows. */
async function run(layout: VirtqueueLayout, cpus: [number, number]): Promise<number> {
  const config = parseConfig(JSON.stringify(configOf(layout, cpus)), { file: 'bench.yaml' });
  const dataplane = await startDataplane(config);
  try {
    const count = (): number => dataplane.snapshot().ports.find(({ name }) => name === 'sink')?.txPackets ?? 0;
    await setTimeout(WARM_UP_MS);
    const rates: number[] = [];
    for (let i = 0; i < WINDOWS; i++) {
      const [packets, at] = [count(), performance.now()];
      await setTimeout(WINDOW_MS);
      rates.push((count() - packets) / (performance.now() - at) / 1000);
    }
    return median(rates);
  } finally {
    await dataplane.stop();
  }
}

/**
 * Physical, virtual, physical: a generator, the switch, a guest that sends every frame back, the switch, a sink. The switch
 * and the ports have one core, the guest the other. Packed with split beside it.
 */
export async function benchPvp(): Promise<Row[]> {
  const name = 'pvp, packed, 64 B';
  const nothing = { unit: 'Mpackets/s', p50: null, p99: null, p999: null };
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    return [rowOf({ name, ...nothing, value: null, state: 'not measured', note: cpus }, null)];
  }
  const arena = createArena({ bytes: 1 << 20 });
  const distances = [await coreDistance(arena, cpus)];
  const packed = await run('packed', cpus);
  distances.push(await coreDistance(arena, cpus));
  const split = await run('split', cpus);
  distances.push(await coreDistance(arena, cpus));
  const figure = { name, ...nothing, value: packed, state: stateOf(distances), note: '' };
  return [rowOf(figure, { name: 'split', value: split, note: '' })];
}
