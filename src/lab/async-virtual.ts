import { type Assignment, assign } from '../async/assign.ts';
import { createTrack, shareTrack } from '../async/track.ts';
import { createDmaDevice, type DmaDevice } from '../dma/device.ts';
import { type AsyncCase, type AsyncWorld, makeStep, type Step } from './async-world.ts';
import { DSA } from './dsa.ts';
import { clockCost } from './measure.ts';
import { median } from './windows.ts';

const DESCRIPTORS = 1024;
/** Packets of a window, and windows: those before WARM_UP do not count. */
const WINDOW = 512;
const WINDOWS = 32;
const WARM_UP = 8;

/** Engines in virtual time, and who has which. */
export interface Engines {
  readonly devices: readonly DmaDevice[];
  /** For each guest: index of its engine, or -1. */
  readonly of: readonly number[];
  readonly tracks: readonly number[];
  /** By engine: more than one lcore uses it. */
  readonly shared: readonly boolean[];
  close(): Promise<void>;
}

/** Makes `count` engines of the kind DSA, each a device with a channel, and assigns them as a dataplane does. */
export async function startEngines(
  { arena }: AsyncWorld,
  count: number,
  assignment: Assignment,
  { guests, lcores }: AsyncCase,
): Promise<Engines> {
  const devices: DmaDevice[] = [];
  const tracks: number[] = [];
  const before = new Set(arena.regions().map(({ name }) => name));
  for (let i = 0; i < count; i++) {
    const device = await createDmaDevice(arena, { name: `dsa ${i}`, engine: { kind: 'model', model: DSA } });
    device.configure({ vchans: 1 });
    device.vchanSetup(0, { descriptors: DESCRIPTORS });
    await device.start();
    devices.push(device);
    tracks.push(createTrack(arena, `dsa ${i}`, device.vchanAddress(0)).address);
  }
  const queues = Array.from({ length: guests }, (_, serial) => ({ serial, lcore: serial % lcores, engine: -1 }));
  const of = assign(assignment, queues, new Array<boolean>(count).fill(true));
  const shared = tracks.map((track, engine) => {
    const users = new Set(queues.flatMap(({ lcore }, guest) => (of[guest] === engine ? [lcore] : [])));
    if (users.size > 1) shareTrack(arena, track);
    return users.size > 1;
  });
  return {
    devices,
    of,
    tracks: of.map((engine) => tracks[engine] ?? 0),
    shared,
    async close() {
      for (const device of devices) {
        await device.stop();
        device.close();
      }
      for (const { name } of arena.regions()) if (!before.has(name)) arena.release(name);
    },
  };
}

/** What came out: ns a packet over all lcores, and the share of their time in which they waited for an engine's lock. */
export interface VirtualResult {
  readonly ns: number;
  readonly waiting: number;
}

/** All of an lcore's loop as one step: between two looks at the clock its code is as warm as it is without a clock. */
function together(steps: readonly Step[]): Step {
  return makeStep(
    () => -2,
    () => {
      for (const step of steps) step.prepare();
    },
    () => {
      let sent = 0;
      for (const step of steps) sent += step.run();
      return sent;
    },
  );
}

/**
 * Runs the case with each lcore on a core of its own, in virtual time: a loop takes what it takes here and now, the engines
 * what their parameters say, and guests nothing, since they have cores of their own. The lcore that is least far goes
 * on. Where lcores share an engine, a loop goes step by step: one that needs the engine waits for who has it, and has it to its
 * end. The figure is the median of windows: one in which this thread lost its CPU is one of many.
 */
export function runVirtual(world: AsyncWorld, one: AsyncCase, engines: Engines | undefined): VirtualResult {
  const { devices = [], tracks = [], shared = [] } = engines ?? {};
  const loops = world.begin(one, tracks);
  const lcores = shared.includes(true) ? loops : loops.map((steps) => [together(steps)]);
  const began = Math.max(0, ...devices.map(({ model }) => model.now));
  const clocks = lcores.map(() => began);
  const next = lcores.map(() => 0);
  const freeAt = devices.map(() => 0);
  const cost = clockCost();
  const windows: number[] = [];
  let [moved, from, waited, all] = [0, began, 0, 0];
  while (windows.length < WINDOWS) {
    const lcore = clocks.indexOf(Math.min(...clocks));
    const steps = lcores[lcore] as Step[];
    const step = steps[next[lcore] as number] as Step;
    const now = clocks[lcore] as number;
    const locks = locksOf(step, lcore, lcores.length, engines);
    const start = Math.max(now, ...locks.map((engine) => freeAt[engine] as number));
    if (start > now) {
      waited += start - now;
      clocks[lcore] = start;
      continue;
    }
    for (const { model } of devices) model.advance(now);
    step.prepare();
    const at = performance.now();
    moved += step.run();
    const ns = Math.max((performance.now() - at) * 1e6 - cost, 1);
    clocks[lcore] = now + ns;
    for (const engine of locks) freeAt[engine] = now + ns;
    next[lcore] = ((next[lcore] as number) + 1) % steps.length;
    if (next[lcore] === 0) world.deliver();
    if (moved < WINDOW) continue;
    windows.push((now - from) / moved);
    all += now - from;
    [moved, from] = [0, now];
  }
  const share = waited / (all * lcores.length);
  world.end(() => {
    for (const { model } of devices) model.drain();
  });
  return { ns: median(windows.slice(WARM_UP)), waiting: share };
}

/** Engines that the step has to have for itself. */
function locksOf(step: Step, lcore: number, lcores: number, engines: Engines | undefined): number[] {
  if (engines === undefined) return [];
  const { of, shared } = engines;
  const lane = step.lane();
  const used = lane >= 0 ? [of[lane] as number] : [...new Set(of.filter((_, guest) => guest % lcores === lcore))];
  return used.filter((engine) => shared[engine] === true);
}
