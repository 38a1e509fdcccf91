import { type Arena, createArena } from '../memory/arena.ts';
import { createMpscRing, createSpscRing } from '../ring/ring.ts';
import type { BenchRole, SideResult } from './bench-worker.ts';
import { measure } from './measure.ts';
import type { PeerFigure, Peers } from './peers.ts';
import { type Figure, type Row, rowOf } from './row.ts';
import { firstCpu, runOnTwoCores, twoCpus } from './two-cores.ts';
import { medianNs } from './windows.ts';

const KINDS = ['spsc', 'mpsc'] as const;
type Kind = (typeof KINDS)[number];

const SLOTS = 1024;
const BURSTS = [32, 8, 1];
/** rte_ring has no many-to-one kind that is lock-free at one end only: its MP/MC ring stands for it. */
const PEER_KIND = { spsc: 'sp/sc', mpsc: 'mp/mc' };
const UNIT = 'ns/slot';

function makeRing(arena: Arena, kind: Kind): { address: number; release(): void } {
  const { address } = (kind === 'spsc' ? createSpscRing : createMpscRing)(arena, { slots: SLOTS, name: 'ring' });
  return { address, release: () => arena.release('ring') };
}

interface RingKernels {
  ringSpscPush(ring: number, source: number, count: number): number;
  ringSpscPop(ring: number, target: number, max: number): number;
  ringMpscPush(ring: number, source: number, count: number): number;
  ringMpscPop(ring: number, target: number, max: number): number;
}

/** A closure for each kind, so that its two calls stay monomorphic. */
function turnOf(k: RingKernels, kind: Kind, ring: number, burst: number, size: number): () => void {
  const { ringSpscPush, ringSpscPop, ringMpscPush, ringMpscPop } = k;
  if (kind === 'spsc') {
    return () => {
      ringSpscPush(ring, burst, size);
      ringSpscPop(ring, burst, size);
    };
  }
  return () => {
    ringMpscPush(ring, burst, size);
    ringMpscPop(ring, burst, size);
  };
}

function oneCore(arena: Arena, kind: Kind, size: number, burst: number): Figure {
  const ring = makeRing(arena, kind);
  const measured = measure(size, turnOf(arena.kernels<RingKernels>(), kind, ring.address, burst, size));
  ring.release();
  return { name: `ring ${kind}, burst ${size}`, unit: UNIT, ...measured, state: 'one core' };
}

async function twoCores(arena: Arena, kind: Kind, size: number, burst: number, peers: Peers): Promise<Row> {
  const name = `ring ${kind}, burst ${size}, two cores`;
  const cpus = twoCpus();
  if (typeof cpus === 'string') {
    const nothing = { value: null, p50: null, p99: null, p999: null };
    return rowOf({ name, unit: UNIT, ...nothing, state: 'not measured', note: cpus }, null);
  }
  const ring = makeRing(arena, kind);
  const side = (role: 'push' | 'pop', at: number): BenchRole => ({ role, kind, ring: ring.address, burst: at, size });
  const runPeer = (): Promise<PeerFigure> => peers.run('rte-ring', cpus, [PEER_KIND[kind], `${size}`]);
  const sides: [BenchRole, BenchRole] = [side('pop', burst), side('push', burst + 1024)];
  const { results, peer, state } = await runOnTwoCores(arena, cpus, sides, runPeer);
  ring.release();
  const [pop, push] = results as [SideResult, SideResult];
  const figure = { name, unit: UNIT, ...medianNs([pop.windows, push.windows]), ...pop.quantiles, state };
  return rowOf(figure, { name: `rte_ring ${PEER_KIND[kind]}`, ...peer });
}

/**
 * Rings: a slot of 16 bytes pushed and popped, against a pointer of 8 bytes through DPDK's rte_ring. Samples are, on
 * one core, a burst pushed and popped; on two, a slot's time on its way through a ring that is kept as full as it gets.
 */
export async function benchRing(peers: Peers): Promise<Row[]> {
  const arena = createArena({ bytes: 1 << 20 });
  const burst = arena.allocate('burst', 2048);
  const rows: Row[] = [];
  for (const kind of KINDS) {
    for (const size of BURSTS) {
      const one = oneCore(arena, kind, size, burst);
      const peer = await peers.run('rte-ring', [firstCpu()], [PEER_KIND[kind], `${size}`]);
      rows.push(rowOf(one, { name: `rte_ring ${PEER_KIND[kind]}`, ...peer }));
      rows.push(await twoCores(arena, kind, size, burst, peers));
    }
  }
  return rows;
}
