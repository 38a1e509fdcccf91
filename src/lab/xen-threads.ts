import type { SideResult } from './bench-worker.ts';
import type { State } from './row.ts';
import { coreDistance, runRoles, stateOf } from './two-cores.ts';
import { medianNs, type Window } from './windows.ts';
import type { XenPlayed, XenRole } from './xen-role.ts';
import { endsOf, fill, type Way } from './xen-turns.ts';
import { shareUse, type Use } from './xen-use.ts';
import type { XenLane, XenWorld } from './xen-world.ts';

/** Each one's runs, in turn, so that the machine's speed is the same for all; and how long one is. */
const ROUNDS = 2;
const RUN_MS = 300;

/** A queue whose ends play roles: the first one's items are counted. */
export interface ThreadedCase {
  readonly world: XenWorld;
  readonly roles: readonly [XenRole, XenRole];
}

/** What a case came to: ns an item, quantiles of single ones, and what was counted an item. */
export interface Threaded {
  readonly ns: number | null;
  readonly quantiles: SideResult['quantiles'];
  readonly note: string;
  readonly copies: number;
  readonly events: number;
  /** Times that both ends together slept. */
  readonly slept: number;
}

/** Packets of `bytes` bytes, sent by one thread and received by another. */
export function packetsCase(world: XenWorld, way: Way, bytes: number, use: Use = 'free'): ThreadedCase {
  const [lane] = world.lanes as [XenLane];
  const [from, to] = endsOf(lane, way);
  if (use === 'stack') fill(world, from);
  const both = { role: 'xen', bytes, sleeps: false } as const;
  return {
    world,
    roles: [
      { ...both, does: 'receive', side: shareOf(to), use: shareUse(world, lane, use) },
      { ...both, does: 'send', side: shareOf(from), use: { kind: 'free' } },
    ],
  };
}

/** A packet of `bytes` bytes from the frontend, and its answer, again and again. With `sleeps` who waits is woken by events. */
export function roundTripCase(world: XenWorld, bytes: number, sleeps: boolean): ThreadedCase {
  const [{ front, back }] = world.lanes as [XenLane];
  const both = { role: 'xen', bytes, sleeps, use: { kind: 'free' } } as const;
  return {
    world,
    roles: [
      { ...both, does: 'ask', side: shareOf(front) },
      { ...both, does: 'answer', side: shareOf(back) },
    ],
  };
}

/** What of an end can be posted. */
const shareOf = ({ share, cache, burst }: XenLane['front']) => ({ share, cache, burst });

/** Runs cases in turn, each end on a CPU of its own. */
export async function runThreaded(
  cases: readonly ThreadedCase[],
  cpus: [number, number],
  { rounds = ROUNDS, runMs = RUN_MS } = {},
): Promise<{ readonly state: State; readonly results: readonly Threaded[] }> {
  const [first] = cases as [ThreadedCase];
  const { arena } = first.world;
  const windows: Window[][][] = cases.map(() => [[], []]);
  const counted = cases.map(() => ({ items: 0, slept: 0, quantiles: [] as SideResult['quantiles'][] }));
  const began = cases.map(({ world }) => costsOf(world));
  const distances = [await coreDistance(arena, cpus)];
  for (let round = 0; round < rounds; round++) {
    for (const [i, { world, roles }] of cases.entries()) {
      const played = (await world.withoutEvents(() => runRoles(arena, cpus, roles, runMs))) as (SideResult &
        XenPlayed)[];
      for (const [end, side] of played.entries()) windows[i]?.[end]?.push(...side.windows);
      const sum = counted[i] as (typeof counted)[number];
      sum.items += played[0]?.items ?? 0;
      sum.slept += played.reduce((all, { slept }) => all + slept, 0);
      sum.quantiles.push((played[0] as SideResult).quantiles);
    }
    distances.push(await coreDistance(arena, cpus));
  }
  const results = cases.map(({ world, roles }, i): Threaded => {
    const [mine = [], others = []] = windows[i] ?? [];
    const { items, slept, quantiles } = counted[i] as (typeof counted)[number];
    const { value, note } = medianNs(roles[0].sleeps ? [asRunning(mine)] : [mine, others]);
    const now = costsOf(world);
    const { copies, events } = began[i] as ReturnType<typeof costsOf>;
    return {
      ns: value,
      note,
      quantiles: quantiles.at(-1) ?? { p50: 0, p99: 0, p999: 0 },
      copies: (now.copies - copies) / items,
      events: (now.events - events) / items,
      slept: slept / items,
    };
  });
  return { state: stateOf(distances), results };
}

/** One that sleeps has no CPU meanwhile, and did not lose it. */
const asRunning = (windows: readonly Window[]): Window[] => windows.map((window) => ({ ...window, share: 1 }));

function costsOf({ driver, guest }: XenWorld): { readonly copies: number; readonly events: number } {
  const [back, front] = [driver.costs(), guest.costs()];
  return { copies: back.copies, events: back.events + front.events };
}
