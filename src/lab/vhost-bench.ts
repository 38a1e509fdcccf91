import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Arena, createArena } from '../memory/arena.ts';
import type { VirtqueueLayout } from '../virtio/rings.ts';
import { NOT_WANTED, type PeerFigure, type Peers, reasonOf } from './peers.ts';
import { type Row, rowOf } from './row.ts';
import { type BackendMode, runVirtioUser, startVhostBackend } from './testpmd.ts';
import { coreDistance, stateOf, twoCpus } from './two-cores.ts';
import { pairRate, pingTimes } from './vhost-pair.ts';
import { startSide } from './vhost-side.ts';
import { measureStart } from './vhost-start.ts';
import { median } from './windows.ts';

const UNIT = 'M/s';
const nothing = { unit: UNIT, p50: null, p99: null, p999: null } as const;
/** On the wire; testpmd counts 4 bytes of FCS in its frames as little as we do. */
const SIZES = [64, 1518] as const;
const LAYOUTS: readonly VirtqueueLayout[] = ['packed', 'split'];
const MODES: readonly (readonly [BackendMode, string])[] = [
  ['receive', 'guest to host'],
  ['send', 'host to guest'],
  ['echo', 'round trip'],
];
/** Runs of either side for a row; the median counts. */
const ROUNDS = 3;
/** DPDK's backend listens after so long. */
const BACKEND_START_MS = 1500;

interface Case {
  readonly mode: BackendMode;
  readonly layout: VirtqueueLayout;
  readonly frameBytes: number;
}

/** The rate of DPDK's virtio-user against our backend, or against DPDK's. */
async function rateAgainst(
  whose: 'ours' | 'DPDK',
  one: Case,
  [hostCpu, guestCpu]: [number, number],
): Promise<PeerFigure> {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-vhost-'));
  const socket = join(folder, 'vhost.sock');
  const { mode, frameBytes } = one;
  let close: () => Promise<void>;
  if (whose === 'ours') {
    const backend = await startSide(socket, {
      type: 'vhost-user',
      mode,
      length: frameBytes,
      layout: 'packed',
      cpu: hostCpu,
    });
    close = () => backend.close();
  } else {
    close = startVhostBackend(socket, mode, hostCpu, frameBytes);
    await setTimeout(BACKEND_START_MS);
  }
  try {
    return await runVirtioUser(socket, mode, { ...one, cpu: guestCpu });
  } finally {
    await close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** The run whose value is the median of those that have one. */
function middle(runs: readonly PeerFigure[]): PeerFigure {
  const sorted = runs.filter(({ value }) => value !== null).sort((a, b) => Number(a.value) - Number(b.value));
  return sorted[sorted.length >> 1] ?? runs[0] ?? { value: null, note: 'no run' };
}

/** Ours and DPDK's in turn, with the cores' distance before, between and after: it changes by itself. */
async function compare(arena: Arena, name: string, one: Case, cpus: [number, number]): Promise<Row> {
  const distances = [await coreDistance(arena, cpus)];
  const runs: Record<'ours' | 'DPDK', PeerFigure[]> = { ours: [], DPDK: [] };
  for (let round = 0; round < ROUNDS; round++) {
    for (const whose of ['ours', 'DPDK'] as const) {
      runs[whose].push(await rateAgainst(whose, one, cpus));
      distances.push(await coreDistance(arena, cpus));
    }
  }
  const ours = middle(runs.ours);
  const figure = { name, ...nothing, value: ours.value, note: ours.note, state: stateOf(distances) };
  return rowOf(figure, { name: 'DPDK vhost', ...middle(runs.DPDK) });
}

/** Two ringways in two processes: frames one way, and one at a time there and back. */
async function pairRows(arena: Arena, cpus: [number, number]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const layout of LAYOUTS) {
    for (const fromDriver of [true, false]) {
      const distances = [await coreDistance(arena, cpus)];
      const value = await pairRate(layout, fromDriver, 60, cpus);
      distances.push(await coreDistance(arena, cpus));
      const name = `two ringways, ${layout}, ${fromDriver ? 'driver to device' : 'device to driver'}, 64 B`;
      rows.push(rowOf({ name, ...nothing, value, note: '', state: stateOf(distances) }, null));
    }
  }
  for (const [idle, way] of [
    ['spin', 'poll'],
    ['park', 'adaptive'],
  ] as const) {
    const times = await pingTimes(idle, cpus);
    const figure = { ...nothing, ...times, unit: 'ns', value: times.p50, note: '', state: 'several cores' } as const;
    rows.push(rowOf({ ...figure, name: `two ringways, there and back, ${way}` }, null));
  }
  return rows;
}

/** A dataplane with one port that parks: how soon it moves a frame, and what it takes with nothing to do. */
async function startRows(): Promise<Row[]> {
  const state = 'several cores';
  const row = (name: string, unit: string, value: number | null, note: string): Row =>
    rowOf({ name, ...nothing, unit, value, state: value === null ? 'not measured' : state, note }, null);
  const names = [
    'from a connection to its first frame',
    'from the start of ringway to the first frame',
    'idle, adaptive',
  ];
  try {
    const runs = [await measureStart(), await measureStart(), await measureStart()];
    return [
      row(names[0] ?? '', 'ms', median(runs.map(({ connectedMs }) => connectedMs)), ''),
      row(names[1] ?? '', 'ms', median(runs.map(({ firstFrameMs }) => firstFrameMs)), ''),
      row(names[2] ?? '', '% of a core', median(runs.map(({ idle }) => idle * 100)), ''),
    ];
  } catch (error) {
    return names.map((name) => row(name, '', null, reasonOf(error)));
  }
}

/**
 * vhost-user: DPDK's virtio-user in a program of its own as the frontend, ringway's backend and then DPDK's on the other core.
 * Rates are the frontend's own.
 */
export async function benchVhost(peers: Peers): Promise<Row[]> {
  const cpus = twoCpus();
  const arena = createArena({ bytes: 1 << 20 });
  const rows: Row[] = [];
  for (const frameBytes of SIZES) {
    for (const [mode, direction] of MODES) {
      for (const layout of LAYOUTS) {
        const name = `${layout}, ${direction}, ${frameBytes} B`;
        const missing = typeof cpus === 'string' ? cpus : peers.wanted ? undefined : NOT_WANTED.note;
        if (typeof cpus !== 'string' && missing === undefined) {
          rows.push(await compare(arena, name, { mode, layout, frameBytes }, cpus));
        } else {
          rows.push(rowOf({ name, ...nothing, value: null, state: 'not measured', note: missing ?? '' }, null));
        }
      }
    }
  }
  if (typeof cpus !== 'string') rows.push(...(await pairRows(arena, cpus)));
  rows.push(...(await startRows()));
  return rows;
}
