import { setTimeout as sleep } from 'node:timers/promises';
import { parseConfig } from '../config/index.ts';
import { startDataplane } from '../dataplane/dataplane.ts';
import { RingwayError } from '../util/errors.ts';

/** Between two looks at the counters: long, since the control thread shares the cores with the lcores. */
const LOOK_MS = 5;

/** A dataplane whose port `to` is to send `packets`. */
export interface PortsRun {
  readonly lcores: number;
  /** As in a configuration. */
  readonly ports: object;
  readonly to: string;
  readonly packets: number;
}

/**
 * Runs a dataplane until all its packets are sent. Returns million packets a second, from the moment in which all
 * lcores run.
 * @throws RingwayError `SYSTEM` when its inputs end before.
 */
export async function runPorts({ lcores, ports, to, packets }: PortsRun): Promise<number> {
  const dataplane = await startDataplane(parseConfig(JSON.stringify({ version: 1, lcores, ports }), { file: 'bench' }));
  const sent = (): number => dataplane.snapshot().ports.find(({ name }) => name === to)?.txPackets ?? 0;
  try {
    const ended = dataplane.finished.then(() => true);
    const from = performance.now();
    const before = sent();
    while (sent() < packets) {
      const over = await Promise.race([sleep(LOOK_MS, false), ended]);
      if (over && sent() < packets)
        throw new RingwayError('SYSTEM', `bench: only ${sent()} of ${packets} packets came out`);
    }
    return (packets - before) / (performance.now() - from) / 1000;
  } finally {
    await dataplane.stop();
  }
}

/** Makes a capture of `packets` IMIX frames: 374 bytes each with its header. */
export async function makeCapture(path: string, packets: number): Promise<void> {
  const load = { type: 'generator', flows: 1024, size: 'imix', limit: packets };
  await runPorts({ lcores: 1, ports: { load, out: { type: 'capture', write: path } }, to: 'out', packets });
}
