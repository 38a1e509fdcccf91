// The thread of a bench on two cores: pins itself, waits for the start, plays its role, posts what it measured.
import { parentPort, workerData } from 'node:worker_threads';
import { type ArenaHandle, attachArena } from '../memory/arena.ts';
import { SLOT_SHIFT } from '../memory/layout.ts';
import { attachMpscRing, attachSpscRing, type Ring } from '../ring/ring.ts';
import { requireSys } from '../sys/index.ts';
import { Histogram } from '../telemetry/histogram.ts';
import { type AtomicRole, playAtomic } from './atomic-role.ts';
import { type EventRole, eventTurn, watchedTurn } from './event-role.ts';
import { GO_STOP, LAB_GO, LAB_READY } from './layout.ts';
import { type Measured, quantilesOf } from './measure.ts';
import { type NetRole, netTurn, type QueueRole, queueTurn } from './net-role.ts';
import { median, type Window, WindowRecorder } from './windows.ts';
import { type XenPlayed, XenPlayer, type XenRole } from './xen-role.ts';

/** A side of a ring: `burst` is the address of its own slots, `size` how many it moves at once. */
export interface RingRole {
  readonly role: 'push' | 'pop';
  readonly kind: 'spsc' | 'mpsc';
  readonly ring: number;
  readonly burst: number;
  readonly size: number;
}

/** What a thread does: a side of the core distance measurement, of a ring, of a virtqueue or a Xen queue, or a worker at an event port. */
export type BenchRole =
  | { readonly role: 'ping' }
  | { readonly role: 'pong' }
  | RingRole
  | NetRole
  | QueueRole
  | EventRole
  | AtomicRole
  | XenRole;

interface LabKernels {
  labPing(lab: number, from: number, rounds: number): number;
  labPong(lab: number, from: number, rounds: number): number;
}

const PING_ROUNDS = 500;
const PING_WINDOWS = 60;
/** Windows that do not count, while kernels are still being compiled. */
const WARM_UP_WINDOWS = 20;
/** Turns between two looks at the clock. */
const TURNS = 64;
/** Pushes between two that carry the time, so that the clock's cost does not show. */
const STAMP_EVERY = 64;
/** Pops between two that are searched for times; prime, so that no rhythm of the other side hides them. */
const LOOK_EVERY = 13;
/** Where a slot carries the time, in words. */
const STAMP_WORD = 2;

/** What `runPair` passes. */
export interface BenchThread {
  readonly handle: ArenaHandle;
  readonly lab: number;
  readonly cpu: number;
  readonly role: BenchRole;
}

const { handle, lab, cpu, role } = workerData as BenchThread;
const arena = attachArena(handle);
const go = (lab + LAB_GO) >>> 2;

/** ns since some moment that is the same for all threads, modulo 2^32; never 0. */
function clock(): number {
  const [seconds, ns] = process.hrtime();
  return ((seconds * 1e9 + ns) % 2 ** 32) | 1;
}

function playPing(): number {
  const { labPing } = arena.kernels<LabKernels>();
  const windows: number[] = [];
  for (let window = 0; window < PING_WINDOWS; window++) {
    const from = performance.now();
    if (labPing(lab, window * PING_ROUNDS * 2, PING_ROUNDS) < PING_ROUNDS) throw new Error('no answer to a ping');
    windows.push(((performance.now() - from) * 1e6) / PING_ROUNDS / 2);
  }
  return median(windows);
}

function playPong(): void {
  const { labPong } = arena.kernels<LabKernels>();
  for (let window = 0; window < PING_WINDOWS; window++) labPong(lab, window * PING_ROUNDS * 2, PING_ROUNDS);
}

const stopped = (): boolean => Atomics.load(arena.i32, go) === GO_STOP;

/** What a side of a ring posts. */
export interface SideResult {
  readonly windows: readonly Window[];
  /** Of the time that stamped slots were on their way; empty on the pushing side. */
  readonly quantiles: Pick<Measured, 'p50' | 'p99' | 'p999'>;
}

function playPush(ring: Ring, burst: number, size: number): SideResult {
  const stamp = (burst >>> 2) + STAMP_WORD;
  const recorder = new WindowRecorder();
  for (let turn = 0; ; turn++) {
    arena.u32[stamp] = turn % STAMP_EVERY === 0 ? clock() : 0;
    ring.push(burst, size);
    if (turn % TURNS !== 0) continue;
    recorder.add(TURNS);
    if (stopped()) return { windows: recorder.windows, quantiles: quantilesOf(new Histogram()) };
  }
}

function playPop(ring: Ring, burst: number, size: number): SideResult {
  const { u32 } = arena;
  const stamp = (burst >>> 2) + STAMP_WORD;
  const stride = 1 << (SLOT_SHIFT - 2);
  const latency = new Histogram();
  const recorder = new WindowRecorder();
  let popped = 0;
  for (let turn = 0; ; turn++) {
    const n = ring.pop(burst, size);
    popped += n;
    // Bursts arrive as they were pushed or in parts, so a stamp may be at any place; looking for it costs as much as
    // moving the slots, and is left out as a rule.
    for (let i = 0; turn % LOOK_EVERY === 0 && i < n; i++) {
      const sent = u32[stamp + i * stride] as number;
      if (sent !== 0) latency.record((clock() - sent) >>> 0);
    }
    if (turn % TURNS !== 0) continue;
    recorder.add(popped);
    popped = 0;
    if (stopped()) return { windows: recorder.windows.slice(WARM_UP_WINDOWS), quantiles: quantilesOf(latency) };
  }
}

/** @param every turns between two looks at the clock. */
function playTurns(turn: () => number, samples = new Histogram(), every = TURNS): SideResult {
  const recorder = new WindowRecorder();
  let moved = 0;
  for (let turns = 1; ; turns++) {
    const n = turn();
    moved += n;
    // A poll that found nothing looks at the clock, as an lcore does: it is not back at the queue at once.
    if (n > 0 && turns % every !== 0) continue;
    recorder.add(moved);
    moved = 0;
    if (stopped()) return { windows: recorder.windows.slice(WARM_UP_WINDOWS), quantiles: quantilesOf(samples) };
  }
}

function playEvents(events: EventRole): SideResult {
  if (!events.watch) return playTurns(eventTurn(arena, events));
  const latency = new Histogram();
  return playTurns(watchedTurn(arena, events, latency), latency);
}

function playXen(xen: XenRole): SideResult & XenPlayed {
  const samples = new Histogram();
  const player = new XenPlayer(arena, xen, samples);
  // A burst of pages that are mapped and unmapped takes a millisecond.
  const result = playTurns(player.turn, samples, xen.use.kind === 'map' ? 1 : TURNS);
  return { ...result, items: player.items, slept: player.slept };
}

function play(): unknown {
  if (role.role === 'ping') return playPing();
  if (role.role === 'pong') return playPong();
  if (role.role === 'net') return playTurns(netTurn(arena, role));
  if (role.role === 'event') return playEvents(role);
  if (role.role === 'atomic') return playAtomic(arena, role, stopped);
  if (role.role === 'xen') return playXen(role);
  if (role.role === 'queue') return playTurns(queueTurn(arena, role));
  const ring = (role.kind === 'spsc' ? attachSpscRing : attachMpscRing)(arena, role.ring);
  return role.role === 'push' ? playPush(ring, role.burst, role.size) : playPop(ring, role.burst, role.size);
}

requireSys('a bench on two cores').pinThread(cpu);
Atomics.add(arena.i32, (lab + LAB_READY) >>> 2, 1);
Atomics.wait(arena.i32, go, 0);
parentPort?.postMessage(play() ?? null);
