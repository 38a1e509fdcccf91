import { createGuest, GUEST_FEATURES } from '../guest/create.ts';
import { type Arena, createArena } from '../memory/arena.ts';
import { createPool } from '../memory/pool.ts';
import { buildFrame } from '../packet/builder.ts';
import { createChainList } from '../virtio/chain-list.ts';
import { featureMask, VIRTIO_F } from '../virtio/features.ts';
import { NET_OFFLOAD_FEATURES } from '../virtio/net-features.ts';
import { createVirtqueue } from '../virtio/queue.ts';
import { createRegionTable } from '../virtio/regions.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { addressCheck } from './address-bench.ts';
import type { BenchRole, SideResult } from './bench-worker.ts';
import { measure } from './measure.ts';
import { type NetRole, netTurn, type QueueRole, queueTurn } from './net-role.ts';
import { NOT_WANTED, type PeerFigure, type Peers } from './peers.ts';
import { type Figure, type Row, rowOf } from './row.ts';
import { runTestpmd } from './testpmd.ts';
import { runOnTwoCores, twoCpus } from './two-cores.ts';
import { medianNs } from './windows.ts';

const BATCHES = [1, 4, 32];
/** As in the peers' command lines. */
const QUEUE_SIZE = 256;
/** 64 bytes on the wire, less 4 of FCS. */
const FRAME_BYTES = 60;
const HOST_BUFFERS = 4096;
const ARENA_BYTES = 24 << 20;
const UNIT = 'M/s';

/** Frames one way or the other; or buffers that nobody looks at. */
type Direction = 'guest to host' | 'host to guest' | 'rings alone';
type Case = { readonly layout: VirtqueueLayout; readonly direction: Direction; readonly size: number };

/** A queue between a driver and a device that both have IN_ORDER and give and take `size` at once. */
interface Setup {
  readonly sender: NetRole | QueueRole;
  readonly receiver: NetRole | QueueRole;
  readonly arena: Arena;
}

function setUpRing({ layout, size }: Case): Setup {
  const arena = createArena({ bytes: 1 << 20 });
  const buffers = arena.allocate('buffers', 2048);
  const regions = createRegionTable(arena, 'regions');
  regions.set([{ guest: BigInt(buffers), bytes: 2048, address: buffers }]);
  const { driver, device } = createVirtqueue(arena, { name: 'q', layout, size: QUEUE_SIZE, inOrder: true, regions });
  const list = createChainList(arena, { name: 'added', chains: 64, segments: 64 });
  const taken = createChainList(arena, { name: 'taken', chains: 64, segments: QUEUE_SIZE });
  for (let i = 0; i < size; i++) list.push([{ address: buffers, length: 64 }], []);
  const role = (side: QueueRole['side'], queue: number, chains: number): QueueRole => ({
    role: 'queue',
    side,
    queue,
    list: chains,
    records: arena.allocate(`records ${side}`, 512),
    size,
  });
  return {
    arena,
    sender: role('drive', driver.address, list.address),
    receiver: role('serve', device.address, taken.address),
  };
}

function setUp(one: Case): Setup {
  return one.direction === 'rings alone' ? setUpRing(one) : setUpFrames(one);
}

const turnOf = (arena: Arena, role: NetRole | QueueRole): (() => number) =>
  role.role === 'net' ? netTurn(arena, role) : queueTurn(arena, role);

function setUpFrames({ layout, direction, size }: Case): Setup {
  const packed = layout === 'packed' ? [VIRTIO_F.RING_PACKED] : [];
  const features =
    featureMask(VIRTIO_F.VERSION_1, VIRTIO_F.IN_ORDER, ...packed) | (GUEST_FEATURES & ~NET_OFFLOAD_FEATURES);
  const arena = createArena({ bytes: ARENA_BYTES });
  const host = createPool(arena, { buffers: HOST_BUFFERS, caches: 1, name: 'host' });
  const guest = createGuest(arena, {
    name: 'guest',
    queueSize: QUEUE_SIZE,
    queues: 1,
    mtu: 1500,
    offered: features,
    supported: features,
    addresses: { mac: 0x02_00_00_00_00_01, ipv6: [] },
    app: 'sink',
    seed: 1,
  });
  const frame = buildFrame({
    ethernet: { destination: '02:00:00:00:00:02', source: '02:00:00:00:00:01' },
    ipv4: { source: '198.18.0.1', destination: '198.19.0.1' },
    udp: { sourcePort: 49152, destinationPort: 9 },
    payload: new Uint8Array(FRAME_BYTES - 42),
  });
  const template = arena.allocate('template', 2048);
  arena.u8.set(frame, template);
  const [driver] = guest.wire.pairs;
  const [device] = guest.pairs;
  if (driver === undefined || device === undefined) throw new Error('no queue pair');
  const common = { size, template, length: frame.length };
  const role = (side: NetRole['side'], netq: number, cache: number): NetRole => ({
    role: 'net',
    side,
    netq,
    cache,
    burst: arena.allocate(`burst ${side}`, 1024),
    ...common,
  });
  const outwards = direction === 'guest to host';
  const [hostCache = 0] = host.caches;
  return {
    arena,
    sender: outwards ? role('send', driver.send, guest.wire.cache) : role('send', device.send, hostCache),
    receiver: outwards ? role('receive', device.receive, hostCache) : role('receive', driver.receive, guest.wire.cache),
  };
}

const nothing = { value: null, p50: null, p99: null, p999: null };

/** Packets a second, in millions, of `value` ns each. */
const rateOf = (value: number | null): number | null => (value === null ? null : 1000 / value);

function oneCore(one: Case): Figure {
  const setup = setUp(one);
  const { arena } = setup;
  const send = turnOf(arena, setup.sender);
  const receive = turnOf(arena, setup.receiver);
  // A driver that receives gives its buffers first.
  receive();
  const measured = measure(one.size, () => {
    send();
    receive();
  });
  return { name: nameOf(one, 'one core'), unit: UNIT, ...measured, value: rateOf(measured.value), state: 'one core' };
}

function nameOf({ layout, direction, size }: Case, cores: string): string {
  return `${layout}, ${direction}, batch ${size}, ${cores}`;
}

/** Runs the case on two cores between two measurements of their distance; then the peer, and once more the distance. */
async function twoCores(
  one: Case,
  peerOf: (cpus: [number, number]) => Promise<PeerFigure>,
): Promise<{ figure: Figure; peer: PeerFigure }> {
  const name = nameOf(one, 'two cores');
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    return { figure: { name, unit: UNIT, ...nothing, state: 'not measured', note: cpus }, peer: NOT_WANTED };
  }
  const setup = setUp(one);
  const roles: [BenchRole, BenchRole] = [setup.receiver, setup.sender];
  const { results, peer, state } = await runOnTwoCores(setup.arena, cpus, roles, () => peerOf(cpus));
  const [receive, send] = results as [SideResult, SideResult];
  const { value, note } = medianNs([receive.windows, send.windows]);
  return { figure: { name, unit: UNIT, ...nothing, value: rateOf(value), note, state }, peer };
}

/** Packed with split beside it, in the same state of the cores. */
async function layouts(direction: Direction, size: number): Promise<Row[]> {
  const packed: Case = { layout: 'packed', direction, size };
  const split: Case = { layout: 'split', direction, size };
  const beside = ({ value, note }: Figure) => ({ name: 'split', value, note });
  const one = rowOf(oneCore(packed), beside(oneCore(split)));
  const { figure, peer } = await twoCores(packed, async () => {
    const { figure: other } = await twoCores(split, async () => NOT_WANTED);
    return { value: other.value, note: other.note };
  });
  return [one, rowOf(figure, { name: 'split', ...peer })];
}

/** Ours, with DPDK's vhost and virtio-user beside it: the same frames, queue size and features, each in its own way. */
async function beside(layout: VirtqueueLayout, direction: Direction, peers: Peers): Promise<Row> {
  const { figure, peer } = await twoCores({ layout, direction, size: 32 }, (cpus) =>
    peers.wanted ? runTestpmd(layout, direction === 'guest to host', cpus) : Promise.resolve(NOT_WANTED),
  );
  return rowOf({ ...figure, name: `${figure.name}, beside DPDK` }, { name: 'DPDK vhost', ...peer });
}

/**
 * Virtqueues: the rings alone, with buffers that nobody looks at; and those of virtio-net, frames of 64 bytes on the wire
 * made, sent, copied across and freed. Packed beside split, with IN_ORDER and the same batches on both sides; and both
 * beside DPDK's vhost. Samples are a burst's way on one core.
 */
export async function benchVirtqueue(peers: Peers): Promise<Row[]> {
  const rows: Row[] = [];
  const directions: Direction[] = ['guest to host', 'host to guest'];
  for (const direction of ['rings alone', ...directions] as const) {
    for (const size of BATCHES) rows.push(...(await layouts(direction, size)));
  }
  const frame = oneCore({ layout: 'packed', direction: 'guest to host', size: 32 }).value;
  if (frame !== null) rows.push(addressCheck(1000 / frame));
  for (const layout of ['packed', 'split'] as const) {
    for (const direction of directions) rows.push(await beside(layout, direction, peers));
  }
  return rows;
}
