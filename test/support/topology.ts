import { CaptureWriter } from 'ringway/packet';
import type { Random } from '#build/util/random.js';

/** Where a topology finds its capture and puts its files. */
export interface Places {
  readonly capture: string;
  path(name: string): string;
}

type Source = Record<string, unknown>;

/** A module port that gives and takes as its options say. */
export const ODD_PORT = new URL('./odd-port.mjs', import.meta.url).href;
const MACS = ['02:00:00:00:01:00', '02:00:00:00:02:00', 'ff:ff:ff:ff:ff:ff'];
/** A stage of an event device that drops, takes its time or goes wrong. */
export const ODD_STAGE = new URL('./odd-stage.mjs', import.meta.url).href;

export const ROUTER_MAC = '02:00:00:00:09:01';

/** A capture with untagged, tagged, short and long frames. */
export function writeMixedCapture(path: string): void {
  const writer = new CaptureWriter(path);
  for (let i = 0; i < 150; i++) {
    const frame = new Uint8Array([0, 10, 60, 64, 200, 1514, 5000][i % 7] ?? 0);
    frame.set(
      [2, 0, 0, 0, 1 + (i % 3), 0, 2, 0, 0, 0, 1 + ((i >> 1) % 3), 0, 0x81, 0, 0, [0, 10, 20, 30][i % 4] ?? 0].slice(
        0,
        frame.length,
      ),
    );
    if (i % 5 === 0) frame.fill(255, 0, 6);
    writer.write(frame, { seconds: 1_000_000_000, nanoseconds: i * 100_000 });
  }
  writer.close();
}

function one<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)] as T;
}

const chance = (random: Random, percent: number): boolean => random.below(100) < percent;

function randomFault(random: Random): Source {
  return {
    loss: one(random, [0, 0, 0.1]),
    duplicate: one(random, [0, 0, 0.2]),
    reorder: one(random, [0, 0, 0.2]),
    corrupt: one(random, [0, 0, 0.1]),
    delay: one(random, [0, 0, '1ms', '5ms']),
  };
}

/**
 * A port as a configuration has it.
 * @param endless sources may go on for ever. @param flows no port takes nothing, so that a stop has not to wait.
 */
export function randomPort(
  random: Random,
  places: Places,
  name: string,
  lcores: number,
  endless: boolean,
  flows = false,
): Source {
  const limit = !endless || chance(random, 70) ? { limit: 1 + random.below(400) } : {};
  const types: (() => Source)[] = [
    () => ({
      type: 'generator',
      ...limit,
      flows: 1 + random.below(20),
      size: one(random, [60, 64, 'imix', 1500, 4000]),
      queues: one(random, [1, 1, 2, 3]),
      srcMac: one(random, MACS.slice(0, 2)),
      dstMac: one(random, [...MACS, ROUTER_MAC]),
      dstMacs: 1 + random.below(3),
      ...(chance(random, 20) ? { rate: '100kpps' } : {}),
    }),
    () => ({
      type: 'capture',
      path: places.capture,
      learn: chance(random, 50),
      loop: one(random, [1, 2, ...(endless ? [0] : [])]),
      ...(chance(random, 30) ? limit : {}),
      ...(chance(random, 20) ? { speed: 'recorded' } : {}),
      ...(chance(random, 30) ? { write: places.path(`${name}.pcap`) } : {}),
    }),
    () => ({ type: 'capture', write: places.path(`${name}.${one(random, ['pcap', 'pcapng'])}`) }),
    () => ({ type: 'null' }),
    // Takes nothing, so that all rings and outputs behind it fill up.
    () => ({ type: 'module', module: ODD_PORT, options: { give: 0, take: flows ? 1 : 0 } }),
    () => ({
      type: 'module',
      module: ODD_PORT,
      options: {
        seed: random.next(),
        give: one(random, [0, 0.3, 1]),
        take: one(random, [1, 0.7, 0.3, flows ? 0.9 : 0]),
        ...(endless ? {} : limit),
      },
    }),
  ];
  const port = one(random, types)();
  const vlan = one(random, [
    { trunk: 'all' },
    { trunk: 'all' },
    { access: 10 },
    { access: 20 },
    { trunk: [10, 20], native: 10 },
  ]);
  return {
    ...port,
    vlan,
    ...(chance(random, 40) ? { lcore: random.below(lcores) } : {}),
    ...(chance(random, 20) ? { storm: 1000 + random.below(100_000) } : {}),
    ...(chance(random, 35) ? { fault: randomFault(random) } : {}),
    ...(chance(random, 20) && (port.queues ?? 1) === 1 ? { tap: places.path(`${name}-tap.pcapng`) } : {}),
  };
}

/** A steering rule as a configuration has it, over the ports `names`. */
export function randomRule(random: Random, names: readonly string[], lcores: number): Source {
  const match = one<Source>(random, [
    { 'flow-type': 'udp4' },
    { 'in-port': one(random, names) },
    { 'flow-type': 'udp4', 'src-port': 49152 + random.below(4) },
    { vlan: 10 },
    { dst: MACS[0] },
    { u32: [{ value: 0x11, mask: 0xff, at: 8 }] },
  ]);
  const action = one<Source>(random, [
    { drop: true },
    { port: one(random, names) },
    { lcore: random.below(lcores) },
    { queue: 0 },
  ]);
  return { match: 'queue' in action ? { ...match, 'in-port': one(random, names) } : match, action };
}

/** A random configuration, as a value that a YAML file could hold. */
export function randomTopology(random: Random, places: Places, endless: boolean, flows = false): Source {
  const lcores = 1 + random.below(3);
  const names = Array.from({ length: 1 + random.below(5) }, (_, i) => `p${i}`);
  const ports = Object.fromEntries(
    names.map((name) => [name, randomPort(random, places, name, lcores, endless, flows)]),
  );
  const mirrors = Array.from({ length: random.below(3) }, () => ({
    from: one(random, names),
    to: one(random, names),
    direction: one(random, ['rx', 'tx', 'both']),
  })).filter(({ from, to }) => from !== to);
  const routed = chance(random, 40);
  return {
    version: 1,
    name: 'random',
    lcores: Array.from({ length: lcores }, () => ({ idle: one(random, ['yield', 'park']) })),
    seed: random.next(),
    ports,
    switch: {
      macs: 64,
      reserved: one(random, ['drop', 'forward']),
      mirrors,
      ...(chance(random, 30)
        ? { static: [{ mac: MACS[0], vlan: one(random, [0, 10]), port: one(random, names) }] }
        : {}),
      ...(routed
        ? { routerMac: ROUTER_MAC, routes: [{ prefix: '198.0.0.0/8', port: one(random, names), mac: MACS[1] }] }
        : {}),
    },
    steering: Array.from({ length: random.below(4) }, () => randomRule(random, names, lcores)),
  };
}

/** The same dataplane with an event device, and one to three more lcores as its workers. */
export function spread(random: Random, source: Source): Source {
  const workers = 1 + random.below(3);
  const idle = (): Source => ({ idle: one(random, ['yield', 'park']) });
  const stages = Array.from({ length: random.below(3) }, () => ({
    module: ODD_STAGE,
    options: { drop: one(random, [0, 0, 0.1]) },
  }));
  const steering = source.steering as { action: Source }[];
  const limit = 256 * ((source.lcores as unknown[]).length + workers);
  return {
    ...source,
    lcores: [...(source.lcores as unknown[]), ...Array.from({ length: workers }, idle)],
    steering: steering.filter(({ action }) => !('lcore' in action || 'queue' in action)),
    eventdev: {
      workers,
      stages: [...stages, 'switch'],
      schedule: one(random, ['atomic', 'atomic', 'parallel']),
      ...(chance(random, 50) ? { newEventsLimit: limit } : {}),
    },
  };
}
