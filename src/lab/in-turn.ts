import { requireSys, sysAvailable } from '../sys/index.ts';
import { median } from './windows.ts';

/** Each one's window, one after another, so that the machine's speed is the same for all. */
const WINDOW_MS = 4;
const ROUNDS = 31;
/** Before anything counts. */
const WARM_UP_MS = 150;
/** A window counts when the thread had its CPU for this share of it. */
const SHARE_MIN = 0.97;
const ENOUGH = 5;

/** What is measured beside others: two sides that work in turn. */
export interface Contender {
  /** Gives work to the other side. Returns how many items. */
  give(): number;
  /** Takes all of it. */
  take(): void;
}

/** ns an item of each side; of both, since a core that does both does one after the other. */
export interface Sides {
  readonly give: number;
  readonly take: number;
}

/** The thread's CPU time in ns; where the system does not say, the time. */
function cpuClock(): () => number {
  const sys = sysAvailable() ? requireSys('a bench') : undefined;
  return sys === undefined ? () => performance.now() * 1e6 : () => sys.threadCpuNs();
}

/**
 * Runs windows that alternate, each of some ms. Returns what `read` says of them, and a note: the medians of those in which the thread had
 * its CPU.
 * @param windows each runs for as many ms as it is told, and returns its figures.
 */
export function inTurn<K extends string>(
  windows: readonly ((ms: number) => Readonly<Record<K, number>>)[],
): (Readonly<Record<K, number>> & { readonly note: string })[] {
  const cpuNs = cpuClock();
  const all: { readonly figures: Readonly<Record<K, number>>; readonly counts: boolean }[][] = windows.map(() => []);
  for (const run of windows) run(WARM_UP_MS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, run] of windows.entries()) {
      const cpu = cpuNs();
      const from = performance.now();
      const figures = run(WINDOW_MS);
      const share = (cpuNs() - cpu) / ((performance.now() - from) * 1e6);
      all[i]?.push({ figures, counts: share >= SHARE_MIN });
    }
  }
  return all.map((each) => {
    const counted = each.filter(({ counts }) => counts);
    const enough = counted.length >= ENOUGH;
    const used = (enough ? counted : each).map(({ figures }) => figures);
    const keys = Object.keys(used[0] ?? {}) as K[];
    const middle = Object.fromEntries(keys.map((key) => [key, median(used.map((figures) => figures[key]))]));
    const note = enough ? '' : `other programs had the CPU in all but ${counted.length} windows`;
    return { ...(middle as Record<K, number>), note };
  });
}

function runFor(ms: number, { give, take }: Contender): Sides {
  const from = performance.now();
  let [items, giving, taking, now] = [0, 0, 0, from];
  while (now - from < ms) {
    const start = now;
    items += give();
    const middle = performance.now();
    take();
    now = performance.now();
    giving += middle - start;
    taking += now - middle;
  }
  return { give: (giving * 1e6) / items, take: (taking * 1e6) / items };
}

/** Measures all contenders in windows that alternate. */
export function measureInTurn(contenders: readonly Contender[]): (Sides & { readonly note: string })[] {
  return inTurn(contenders.map((contender) => (ms: number) => ({ ...runFor(ms, contender) })));
}
