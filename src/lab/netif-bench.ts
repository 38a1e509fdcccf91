import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inPlace, type Place, type Rate, Running } from './netif-run.ts';
import { NOT_WANTED, type PeerFigure, type Peers, reasonOf } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { runDevices } from './testpmd.ts';
import { twoCpus } from './two-cores.ts';
import { startChild } from './vhost-pair.ts';

/** A frame of 64 bytes has four of FCS, which nobody sees here. */
const FRAME_BYTES = 60;
type Cpus = readonly [sender: number, receiver: number];
type Measure = (taking: Running) => Promise<Rate>;

/** A receiver that has hardly any time left is what bounds a rate. */
const BUSY = 0.9;

const generator = { type: 'generator', size: FRAME_BYTES, learn: false };
const sink = { type: 'null' };

/** Drops all of IPv4, after a look-up in a trie; counts by CPU what it drops. */
const DROP = {
  object: fileURLToPath(new URL('../../examples/xdp/drop-list.o', import.meta.url)),
  maps: { denied: { '0.0.0.0/0': 0 } },
};

const received: Measure = (taking) => taking.portRate('wire', 'rxPackets');
const dropped: Measure = (taking) => taking.mapRate();

/** Measures a dataplane with `ports` while `load` runs, which is started when that one is up. */
async function measure(
  place: Place,
  cpus: readonly number[],
  ports: object,
  by: Measure,
  load?: () => Promise<{ end(): Promise<void> }>,
): Promise<Rate> {
  const taking = await Running.start(place, cpus, ports);
  try {
    const sending = await load?.();
    try {
      return await by(taking);
    } finally {
      await sending?.end();
    }
  } finally {
    await taking.end();
  }
}

/** Runs a dataplane on each CPU, one with a port that sends and one with a port that receives. */
function runPair(place: Place, [from, to]: Cpus, sender: object, receiver: object, by = received): Promise<Rate> {
  const load = { load: generator, wire: { ...sender, learn: false } };
  return measure(place, [to], { wire: { ...receiver, learn: false }, sink }, by, () =>
    Running.start(place, [from], load),
  );
}

/** Frames into a tap, whose other end, in the system, drops them. */
function runTap(place: Place, [cpu]: Cpus): Promise<Rate> {
  const ports = { load: generator, tap: { type: 'tap', interface: 'tap0', learn: false } };
  return measure(place, [cpu], ports, (one) => one.portRate('tap', 'txPackets'));
}

/** A program that drops what a guest on a thread of its own sends. */
function runGuestDrop(place: Place, [from, to]: Cpus): Promise<Rate> {
  const app = { to: '192.0.2.2', flows: 64, size: FRAME_BYTES };
  const wire = { type: 'guest', ipv4: '192.0.2.1', app, cpu: from, idle: 'spin', xdp: DROP };
  // Somebody has the address that it asks for.
  return measure(place, [to], { wire, other: { type: 'guest', ipv4: '192.0.2.2', idle: 'park' } }, dropped);
}

/** A program that drops what a virtio-user driver in another process sends. */
function runVhostDrop(place: Place, [from, to]: Cpus): Promise<Rate> {
  const socket = join(place.folder, 'vhost.sock');
  const wire = { type: 'vhost-user', socket, xdp: DROP, learn: false };
  const sender = { type: 'virtio-user', mode: 'send', length: FRAME_BYTES, layout: 'packed', cpu: from } as const;
  return measure(place, [to], { wire, sink }, dropped, async () => {
    const child = await startChild(socket, sender);
    return {
      async end() {
        child.kill('SIGKILL');
        if (child.signalCode === null && child.exitCode === null) await once(child, 'exit');
      },
    };
  });
}

/** A program that drops what comes out of a Xen device at its backend or its frontend, whose other side is on the other CPU. */
function runXenDrop(place: Place, cpus: Cpus, at: 'xen-netback' | 'xen-netfront'): Promise<Rate> {
  // As if they were two machines, or the generator would reach both sides.
  const sides = { here: { vlan: { access: 10 }, lcore: 0 }, there: { vlan: { access: 20 }, lcore: 1 } };
  const taking = { type: at, learn: false, xdp: DROP, ...sides.there };
  const giving = { learn: false, ...sides.here };
  const ports =
    at === 'xen-netback'
      ? { wire: taking, eth0: { type: 'xen-netfront', backend: 'wire', ...giving } }
      : { vif: { type: 'xen-netback', ...giving }, wire: { ...taking, backend: 'vif' } };
  return measure(place, cpus, { load: { ...generator, ...sides.here }, ...ports }, dropped);
}

/** A row. */
interface Case {
  readonly name: string;
  readonly state?: Row['state'];
  /** What bounds it is to be said. */
  readonly isDrop?: boolean;
  run(place: Place, cpus: Cpus): Promise<Rate>;
  readonly peer?: string;
}

const end = (type: string, name: string): object => ({ type, interface: name });

/** A program that drops what arrives at `receiver` from `sender`. */
const dropAt = (name: string, sender: object, receiver: object, attach = {}): Case => ({
  name,
  run: (place, cpus) => runPair(place, cpus, sender, { ...receiver, xdp: { ...DROP, ...attach } }, dropped),
});

const DROPS: readonly Case[] = [
  dropAt('af-xdp', end('af-xdp', 'left'), end('af-xdp', 'right')),
  dropAt('af-xdp, in the kernel', end('af-xdp', 'left'), end('af-xdp', 'right'), { attach: 'kernel' }),
  dropAt('af-packet', end('af-packet', 'left'), end('af-packet', 'right')),
  dropAt('a tap', end('af-packet', 'tap0'), end('tap', 'tap0')),
  { name: 'a guest', run: runGuestDrop },
  { name: 'vhost-user', run: runVhostDrop },
  { name: 'xen-netback', run: (place, cpus) => runXenDrop(place, cpus, 'xen-netback') },
  { name: 'xen-netfront', run: (place, cpus) => runXenDrop(place, cpus, 'xen-netfront') },
];

const CASES: readonly Case[] = [
  ...(['af-xdp', 'af-packet'] as const).map((kind) => ({
    name: `${kind} to ${kind} over a veth`,
    run: (place: Place, cpus: Cpus) => runPair(place, cpus, end(kind, 'left'), end(kind, 'right')),
    peer: { 'af-xdp': 'net_af_xdp', 'af-packet': 'net_af_packet' }[kind],
  })),
  { name: 'into a tap', state: 'one core', run: runTap },
  {
    name: 'af-packet to a tap',
    run: (place, cpus) => runPair(place, cpus, end('af-packet', 'tap0'), end('tap', 'tap0')),
  },
  ...DROPS.map((one) => ({ ...one, name: `XDP_DROP at ${one.name}`, isDrop: true })),
];

/** What bounds a rate, by how busy the lcore is that receives. */
function boundOf(load: number): string {
  const percent = `${Math.round(load * 100)} %`;
  return load < BUSY ? `bound by who sends: the receiver is busy ${percent}` : `bound by the receiver: busy ${percent}`;
}

/** Ours before and after the peer, so that the machine's drift is on both sides of it. */
async function measureCase(one: Case, cpus: Cpus, wanted: boolean): Promise<Rate & { peer: PeerFigure }> {
  const ours = (): Promise<Rate> => inPlace((place) => one.run(place, cpus));
  const first = await ours();
  if (one.peer === undefined || !wanted) return { ...first, peer: NOT_WANTED };
  const devices: [string, string] = [`${one.peer}0,iface=left`, `${one.peer}0,iface=right`];
  const peer = await inPlace(({ namespace }) => runDevices(devices, [...cpus], namespace));
  return { ...first, value: (first.value + (await ours()).value) / 2, peer };
}

/**
 * Network interfaces of Linux: frames of 64 bytes from one dataplane to another over a veth, each on a core of its own, beside
 * DPDK's testpmd with the drivers of the same kind; into a tap; and to a program that drops them, by kind of port: of the system,
 * of a guest, of a virtual machine, of Xen in this process. As root. No samples.
 */
export async function benchNetif(peers: Peers): Promise<Row[]> {
  const cpus = twoCpus();
  const rows: Row[] = [];
  for (const one of CASES) {
    const figure = { name: one.name, unit: 'Mpackets/s', p50: null, p99: null, p999: null };
    try {
      if (typeof cpus === 'string') throw new Error(cpus);
      const { value, load, peer } = await measureCase(one, cpus, peers.wanted);
      const beside = one.peer === undefined ? null : { name: `DPDK ${one.peer}`, ...peer };
      const note = one.isDrop === true ? boundOf(load) : '';
      rows.push(rowOf({ ...figure, value, state: one.state ?? 'several cores', note }, beside));
    } catch (error) {
      rows.push(rowOf({ ...figure, value: null, state: 'not measured', note: reasonOf(error) }, null));
    }
  }
  return rows;
}
