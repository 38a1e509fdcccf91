import { RingwayError } from '../util/errors.ts';
import { benchAsync } from './async-bench.ts';
import { benchAtomic } from './atomic-bench.ts';
import { benchBalance } from './balance-bench.ts';
import { takeBenchLock } from './bench-lock.ts';
import { benchBlock } from './block-bench.ts';
import { benchCopies } from './copies-bench.ts';
import { benchDma } from './dma-bench.ts';
import { benchEventdev } from './eventdev-bench.ts';
import { benchForward } from './forward-bench.ts';
import { benchGro } from './gro-bench.ts';
import { benchKeyed } from './keyed-bench.ts';
import { benchMemory } from './memory-bench.ts';
import { BENCH_NAMES } from './names.ts';
import { benchNetif } from './netif-bench.ts';
import { Peers } from './peers.ts';
import { benchPool } from './pool-bench.ts';
import { benchPvp } from './pvp-bench.ts';
import { benchReplay } from './replay-bench.ts';
import { benchRing } from './ring-bench.ts';
import type { Row } from './row.ts';
import { benchScale } from './scale-bench.ts';
import { benchTso } from './tso-bench.ts';
import { benchVerify } from './verify-bench.ts';
import { benchVhost } from './vhost-bench.ts';
import { benchVirtqueue } from './virtqueue-bench.ts';
import { benchXdp } from './xdp-bench.ts';
import { benchXen } from './xen-bench.ts';

const BENCHES: Readonly<Record<(typeof BENCH_NAMES)[number], (peers: Peers) => Promise<Row[]>>> = {
  ring: benchRing,
  pool: benchPool,
  tso: benchTso,
  gro: benchGro,
  block: benchBlock,
  forward: benchForward,
  replay: benchReplay,
  memory: benchMemory,
  virtqueue: benchVirtqueue,
  vhost: benchVhost,
  pvp: benchPvp,
  eventdev: benchEventdev,
  balance: async () => benchBalance(),
  scale: benchScale,
  keyed: benchKeyed,
  atomic: benchAtomic,
  xdp: benchXdp,
  verify: benchVerify,
  dma: benchDma,
  netif: benchNetif,
  async: benchAsync,
  copies: benchCopies,
  xen: benchXen,
};

function isName(name: string): name is (typeof BENCH_NAMES)[number] {
  return Object.hasOwn(BENCHES, name);
}

/**
 * Runs benches one after another, with the lock held.
 * @param names of `BENCH_NAMES`; all when empty.
 * @param options.peers compiles and runs the programs that figures are compared with.
 * @throws RingwayError `BAD_ARGUMENT` for a name that is none, `BUSY` when another process is measuring.
 */
export async function runBenches(names: readonly string[], options: { readonly peers: boolean }): Promise<Row[]> {
  const wanted = names.map((name) => {
    if (isName(name)) return name;
    throw new RingwayError('BAD_ARGUMENT', `bench: no ${JSON.stringify(name)}; there are: ${BENCH_NAMES.join(', ')}`);
  });
  const release = takeBenchLock();
  const peers = new Peers(options.peers);
  try {
    const rows: Row[] = [];
    for (const name of wanted.length === 0 ? BENCH_NAMES : wanted) rows.push(...(await BENCHES[name](peers)));
    return rows;
  } finally {
    await peers.close();
    release();
  }
}
