import { BURST_MAX } from '../memory/layout.ts';
import type { DomainShare } from '../xen/hypervisor.ts';
import { DOMAIN_COPIES } from '../xen/layout.ts';
import { clockCost } from './measure.ts';
import { XEN_COST, XEN_SERIAL } from './xen-model.ts';
import { endsOf, fill, ownCopyNs, type Way } from './xen-turns.ts';
import { attachUse, shareUse, type Use } from './xen-use.ts';
import type { XenLane, XenWorld } from './xen-world.ts';

/** What a step asked of Xen. */
export interface XenOperations {
  tx: number;
  rx: number;
  maps: number;
}

/** What a core does again and again. */
export interface VirtualCore {
  /** The core that gives it work, and takes it from it. */
  readonly peer: number;
  /**
   * A step at `now` (virtual ns), which counts what it asks of Xen. Returns how many items it moved: 0 when there was nothing to do, or
   * no room.
   */
  run(now: number, operations: XenOperations): number;
}

/** Steps before what a copy takes here is looked at. */
const WARM_UP_STEPS = 20_000;

/**
 * Ends of queues, each on a core of its own, in virtual time. The core that is least far goes on. A step takes what it takes here and now, less
 * what this Xen's copies take, and what the model says of the operations that it counted. Of those a part waits until no other core
 * is at it. What a step did the others see at once, so that they are early by a step at most. A core with nothing to do looks
 * again when its peer has gone on.
 */
export class VirtualXen {
  readonly #cores: readonly VirtualCore[];
  readonly #clocks: number[];
  readonly #cost = clockCost();
  readonly #operations: XenOperations = { tx: 0, rx: 0, maps: 0 };
  readonly #own: { readonly tx: number; readonly rx: number };
  #freeAt = 0;

  constructor(world: XenWorld, cores: readonly VirtualCore[]) {
    this.#cores = cores;
    this.#clocks = cores.map(() => 0);
    this.#own = { tx: 0, rx: 0 };
    for (let i = 0; i < WARM_UP_STEPS; i++) this.step();
    const [lane] = world.lanes as [XenLane];
    this.#own = { tx: ownCopyNs(world, lane, 'tx'), rx: ownCopyNs(world, lane, 'rx') };
  }

  /** Virtual ns of the core that is least far. */
  get now(): number {
    return Math.min(...this.#clocks);
  }

  step(): void {
    const now = this.now;
    const i = this.#clocks.indexOf(now);
    const { run, peer } = this.#cores[i] as VirtualCore;
    const operations = this.#operations;
    operations.tx = operations.rx = operations.maps = 0;
    const from = performance.now();
    const moved = run(now, operations);
    const took = (performance.now() - from) * 1e6 - this.#cost;
    const { tx, rx, maps } = operations;
    const own = Math.max(took - tx * this.#own.tx - rx * this.#own.rx, 1);
    const xen = tx * XEN_COST.copyTx + rx * XEN_COST.copyRx + maps * XEN_COST.map;
    const serial = tx * XEN_SERIAL.copyTx + rx * XEN_SERIAL.copyRx + maps * XEN_SERIAL.map;
    let end = now + own + xen - serial;
    if (serial > 0) {
      end = Math.max(end, this.#freeAt) + serial;
      this.#freeAt = end;
    }
    this.#clocks[i] = moved > 0 ? end : Math.max(end, this.#clocks[peer] as number);
  }
}

/** How many copies by grant the backend of a world has asked for, modulo 2^32. */
export function copyCounter({ arena: { u32 } }: XenWorld, { back }: XenLane): () => number {
  const word = ((back.share.data as DomainShare).record + DOMAIN_COPIES) >>> 2;
  return () => u32[word] as number;
}

/** Packets of `bytes` bytes through all queues of a world, both ends of each on a core of its own. */
export function startPackets(
  world: XenWorld,
  way: Way,
  bytes: number,
  use: Use = 'free',
): { window(ms: number): { ns: number; copies: number } } {
  let [received, copied] = [0, 0];
  const cores = world.lanes.flatMap((lane, i): VirtualCore[] => {
    const [from, to] = endsOf(lane, way);
    const copies = copyCounter(world, lane);
    // A map is counted, and not done: what it takes here is no part of it.
    const useBurst = attachUse(world.arena, shareUse(world, lane, use === 'map' ? 'free' : use), to.cache);
    if (use === 'stack') fill(world, from);
    const counted = (operations: XenOperations, work: () => number): number => {
      const before = copies();
      const n = work();
      const more = (copies() - before) >>> 0;
      operations[way] += more;
      copied += more;
      return n;
    };
    const send = (): number => from.send(BURST_MAX, bytes);
    const receive = (): number => to.receive(useBurst);
    return [
      { peer: 2 * i + 1, run: (_, operations) => counted(operations, send) },
      {
        peer: 2 * i,
        run(_, operations) {
          const n = counted(operations, receive);
          if (use === 'map') operations.maps += n;
          received += n;
          return n;
        },
      },
    ];
  });
  const xen = new VirtualXen(world, cores);
  return {
    window(ms) {
      const end = performance.now() + ms;
      const from = xen.now;
      [received, copied] = [0, 0];
      while (performance.now() < end) for (let i = 0; i < BURST_MAX; i++) xen.step();
      return { ns: (xen.now - from) / received, copies: copied / received };
    },
  };
}
