import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inPlace, type Place, Running } from './netif-run.ts';
import { NOT_WANTED, type PeerFigure, type Peers, reasonOf } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { runDevices } from './testpmd.ts';
import { twoCpus } from './two-cores.ts';
import { startChild } from './vhost-pair.ts';

/** A frame of 64 bytes has four of FCS, which nobody sees here. */
const FRAME_BYTES = 60;
type Cpus = readonly [sender: number, receiver: number];
type Measure = (taking: Running) => Promise<number>;

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
): Promise<number> {
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
function runPair(place: Place, [from, to]: Cpus, sender: object, receiver: object, by = received): Promise<number> {
  const load = { load: generator, wire: { ...sender, learn: false } };
  return measure(place, [to], { wire: { ...receiver, learn: false }, sink }, by, () =>
    Running.start(place, [from], load),
  );
}

/** Frames into a tap, whose other end, in the system, drops them. */
function runTap(place: Place, [cpu]: Cpus): Promise<number> {
  const ports = { load: generator, tap: { type: 'tap', interface: 'tap0', learn: false } };
  return measure(place, [cpu], ports, (one) => one.portRate('tap', 'txPackets'));
}

/** A program that drops what a guest on a thread of its own sends. */
function runGuestDrop(place: Place, [from, to]: Cpus): Promise<number> {
  const app = { to: '192.0.2.2', flows: 64, size: FRAME_BYTES };
  const wire = { type: 'guest', ipv4: '192.0.2.1', app, cpu: from, idle: 'spin', xdp: DROP };
  // Somebody has the address that it asks for.
  return measure(place, [to], { wire, other: { type: 'guest', ipv4: '192.0.2.2', idle: 'park' } }, received);
}

/** A program that drops what a virtio-user driver in another process sends. */
function runVhostDrop(place: Place, [from, to]: Cpus): Promise<number> {
  const socket = join(place.folder, 'vhost.sock');
  const wire = { type: 'vhost-user', socket, xdp: DROP, learn: false };
  const sender = { type: 'virtio-user', mode: 'send', length: FRAME_BYTES, layout: 'packed', cpu: from } as const;
  return measure(place, [to], { wire, sink }, received, async () => {
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
function runXenDrop(place: Place, cpus: Cpus, at: 'xen-netback' | 'xen-netfront'): Promise<number> {
  // As if they were two machines, or the generator would reach both sides.
  const sides = { here: { vlan: { access: 10 }, lcore: 0 }, there: { vlan: { access: 20 }, lcore: 1 } };
  const taking = { type: at, learn: false, xdp: DROP, ...sides.there };
  const giving = { learn: false, ...sides.here };
  const ports =
    at === 'xen-netback'
      ? { wire: taking, eth0: { type: 'xen-netfront', backend: 'wire', ...giving } }
      : { vif: { type: 'xen-netback', ...giving }, wire: { ...taking, backend: 'vif' } };
  return measure(place, cpus, { load: { ...generator, ...sides.here }, ...ports }, received);
}

/** A row: what ours does, beside which peer, and what bounds it. */
interface Case {
  readonly name: string;
  readonly state?: Row['state'];
  readonly note?: string;
  run(place: Place, cpus: Cpus): Promise<number>;
  readonly peer?: string;
}

const SYSTEM_BOUND = "the sender's system calls bound it";
const end = (type: string, name: string): object => ({ type, interface: name });

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
  ...(['af-xdp', 'af-packet'] as const).map((kind) => ({
    name: `XDP_DROP at ${kind}`,
    note: SYSTEM_BOUND,
    run: (place: Place, cpus: Cpus) => runPair(place, cpus, end(kind, 'left'), { ...end(kind, 'right'), xdp: DROP }),
  })),
  {
    name: 'XDP_DROP at af-xdp, in the kernel',
    note: SYSTEM_BOUND,
    run(place, cpus) {
      const wire = { ...end('af-xdp', 'right'), xdp: { ...DROP, attach: 'kernel' } };
      return runPair(place, cpus, end('af-xdp', 'left'), wire, dropped);
    },
  },
  {
    name: 'XDP_DROP at a tap',
    note: `${SYSTEM_BOUND}, or the receiver's, one a frame`,
    run: (place, cpus) => runPair(place, cpus, end('af-packet', 'tap0'), { ...end('tap', 'tap0'), xdp: DROP }),
  },
  { name: 'XDP_DROP at a guest', note: 'the guest bounds it', run: runGuestDrop },
  { name: 'XDP_DROP at vhost-user', note: 'the copy out of the ring bounds it', run: runVhostDrop },
  ...(['xen-netback', 'xen-netfront'] as const).map((at) => ({
    name: `XDP_DROP at ${at}`,
    note: 'the ring bounds it',
    run: (place: Place, cpus: Cpus) => runXenDrop(place, cpus, at),
  })),
];

/** Ours before and after the peer, so that the machine's drift is on both sides of it. */
async function measureCase(one: Case, cpus: Cpus, wanted: boolean): Promise<{ value: number; peer: PeerFigure }> {
  const ours = (): Promise<number> => inPlace((place) => one.run(place, cpus));
  const first = await ours();
  if (one.peer === undefined || !wanted) return { value: first, peer: NOT_WANTED };
  const devices: [string, string] = [`${one.peer}0,iface=left`, `${one.peer}0,iface=right`];
  const peer = await inPlace(({ namespace }) => runDevices(devices, [...cpus], namespace));
  return { value: (first + (await ours())) / 2, peer };
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
      const { value, peer } = await measureCase(one, cpus, peers.wanted);
      const beside = one.peer === undefined ? null : { name: `DPDK ${one.peer}`, ...peer };
      rows.push(rowOf({ ...figure, value, state: one.state ?? 'several cores', note: one.note ?? '' }, beside));
    } catch (error) {
      rows.push(rowOf({ ...figure, value: null, state: 'not measured', note: reasonOf(error) }, null));
    }
  }
  return rows;
}
