import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { parseConfig } from '../config/index.ts';
import { startDataplane } from '../dataplane/dataplane.ts';
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
  /** Two frontends, with a switch between them, or with DPDK's backend a wire. */
  readonly isSwitched?: boolean;
}

/** Our backend, or the two of a dataplane with a switch between them, at the first of the sockets that it needs. */
async function startOurs(
  sockets: readonly [string, ...string[]],
  one: Case,
  cpu: number,
): Promise<() => Promise<void>> {
  if (sockets.length === 1) {
    const options = { mode: one.mode, length: one.frameBytes, layout: 'packed', cpu } as const;
    const side = await startSide(sockets[0], { ...options, type: 'vhost-user' });
    return () => side.close();
  }
  const ports = Object.fromEntries(sockets.map((socket, i) => [`vm${i}`, { type: 'vhost-user', socket }]));
  const source = { version: 1, lcores: [{ idle: 'spin', cpu }], ports };
  const dataplane = await startDataplane(parseConfig(JSON.stringify(source), { file: 'bench.yaml' }));
  return async () => {
    await dataplane.stop();
  };
}

/** The rate of DPDK's virtio-user against our backend, or against DPDK's. */
async function rateAgainst(
  whose: 'ours' | 'DPDK',
  one: Case,
  [hostCpu, guestCpu]: [number, number],
): Promise<PeerFigure> {
  const folder = await mkdtemp(join(tmpdir(), 'ringway-vhost-'));
  const socket = (i: number): string => join(folder, `vhost${i}.sock`);
  const sockets: [string, ...string[]] = [socket(0), ...(one.isSwitched === true ? [socket(1)] : [])];
  const { mode, frameBytes } = one;
  let close: () => Promise<void>;
  if (whose === 'ours') {
    close = await startOurs(sockets, one, hostCpu);
  } else {
    close = startVhostBackend(sockets, mode, hostCpu, frameBytes);
    await setTimeout(BACKEND_START_MS);
  }
  try {
    return await runVirtioUser(sockets, mode, { ...one, cpu: guestCpu });
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

/** What DPDK's virtio-user is run with, by the name of the row. */
function cases(): [string, Case][] {
  const all: [string, Case][] = [];
  for (const frameBytes of SIZES) {
    for (const layout of LAYOUTS) {
      for (const [mode, direction] of MODES) {
        all.push([`${layout}, ${direction}, ${frameBytes} B`, { mode, layout, frameBytes }]);
      }
      const one = { mode: 'echo', layout, frameBytes, isSwitched: true } as const;
      all.push([`${layout}, two guests through the switch, one way, ${frameBytes} B`, one]);
    }
  }
  return all;
}

/**
 * vhost-user: DPDK's virtio-user in a program of its own as the frontend, ringway's backend and then DPDK's on the other core.
 * Rates are the frontend's own.
 */
export async function benchVhost(peers: Peers): Promise<Row[]> {
  const cpus = twoCpus();
  const arena = createArena({ bytes: 1 << 20 });
  const rows: Row[] = [];
  for (const [name, one] of cases()) {
    const missing = typeof cpus === 'string' ? cpus : peers.wanted ? undefined : NOT_WANTED.note;
    if (typeof cpus !== 'string' && missing === undefined) rows.push(await compare(arena, name, one, cpus));
    else rows.push(rowOf({ name, ...nothing, value: null, state: 'not measured', note: missing ?? '' }, null));
  }
  if (typeof cpus !== 'string') rows.push(...(await pairRows(arena, cpus)));
  rows.push(...(await startRows()));
  return rows;
}
