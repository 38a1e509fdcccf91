import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Arena } from '../memory/arena.ts';
import { requireSys, sysAvailable } from '../sys/index.ts';
import { RingwayError } from '../util/errors.ts';
import { moduleUrl } from '../util/module-url.ts';
import type { BenchRole, BenchThread } from './bench-worker.ts';
import { GO_RUN, GO_STOP, LAB_BYTES, LAB_GO, LAB_READY } from './layout.ts';
import type { State } from './row.ts';

/** One way, in ns: up to here two cores share a cache or sit side by side (measured: near 38 to 65, far 180 to 270). */
const NEAR_NS = 90;
const RUN_MS = 400;

/** A CPU for a peer that needs one. */
export function firstCpu(): number {
  return sysAvailable() ? (requireSys('a peer').currentCpus()[0] ?? 0) : 0;
}

/** Two CPUs to measure on; or why there are none. */
export function twoCpus(): [number, number] | string {
  if (!sysAvailable()) return 'two cores need Linux and koffi, to pin threads';
  const [first, second] = requireSys('a bench on two cores').currentCpus();
  return first === undefined || second === undefined ? 'two cores need two CPUs' : [first, second];
}

/**
 * Runs a worker for each role for `runMs`, on a CPU each, all starting together. Returns what each posts at its end. A
 * thread of its own also means that V8 has optimised its loop for nothing else.
 * @throws RingwayError `LCORE_DIED` when one fails.
 */
export async function runRoles(
  arena: Arena,
  cpus: readonly number[],
  roles: readonly BenchRole[],
  runMs = RUN_MS,
): Promise<unknown[]> {
  const lab = arena.allocate('lab', LAB_BYTES);
  const word = (offset: number): number => (lab + offset) >>> 2;
  const workers = roles.map((role, index) => {
    const workerData: BenchThread = { handle: arena.handle, lab, cpu: cpus[index] as number, role };
    return new Worker(moduleUrl('lab/bench-worker.js'), { workerData });
  });
  try {
    const answers = workers.map(async (worker) => {
      const [message] = await once(worker, 'message');
      return message as unknown;
    });
    while (Atomics.load(arena.i32, word(LAB_READY)) < workers.length) {
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 1)), ...answers]);
    }
    Atomics.store(arena.i32, word(LAB_GO), GO_RUN);
    Atomics.notify(arena.i32, word(LAB_GO));
    const stop = setTimeout(() => Atomics.store(arena.i32, word(LAB_GO), GO_STOP), runMs);
    const results = await Promise.all(answers);
    clearTimeout(stop);
    return results;
  } catch (cause) {
    throw new RingwayError('LCORE_DIED', `bench: a thread failed: ${cause}`, { cause });
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
    arena.release('lab');
  }
}

/** How long a word takes from one CPU to the other, in ns. */
export async function coreDistance(arena: Arena, cpus: [number, number]): Promise<number> {
  const [oneWay] = await runRoles(arena, cpus, [{ role: 'ping' }, { role: 'pong' }]);
  return oneWay as number;
}

/** Near or far when all distances say so. */
export function stateOf(distances: readonly number[]): State {
  const near = distances.filter((ns) => ns <= NEAR_NS).length;
  if (near === distances.length) return 'near';
  return near === 0 ? 'far' : 'moved';
}

/**
 * Runs two roles on two CPUs and then their peer, with the core distance measured before, between and after: cores of
 * a virtual machine drift, and every figure with them.
 */
export async function runOnTwoCores<P>(
  arena: Arena,
  cpus: [number, number],
  roles: [BenchRole, BenchRole],
  runPeer: () => Promise<P>,
): Promise<{ results: unknown[]; peer: P; state: State }> {
  const distances = [await coreDistance(arena, cpus)];
  const results = await runRoles(arena, cpus, roles);
  distances.push(await coreDistance(arena, cpus));
  const peer = await runPeer();
  distances.push(await coreDistance(arena, cpus));
  return { results, peer, state: stateOf(distances) };
}
