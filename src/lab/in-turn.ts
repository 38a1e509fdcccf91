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
  readonly note: string;
}

interface Window {
  readonly give: number;
  readonly take: number;
  readonly counts: boolean;
}

/** The thread's CPU time in ns; where the system does not say, the time. */
function cpuClock(): () => number {
  const sys = sysAvailable() ? requireSys('a bench') : undefined;
  return sys === undefined ? () => performance.now() * 1e6 : () => sys.threadCpuNs();
}

function runFor(ms: number, { give, take }: Contender, cpuNs: () => number): Window {
  const cpu = cpuNs();
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
  const share = (cpuNs() - cpu) / ((now - from) * 1e6);
  return { give: (giving * 1e6) / items, take: (taking * 1e6) / items, counts: share >= SHARE_MIN };
}

/** Measures all contenders in windows that alternate: medians of those in which the thread had its CPU. */
export function measureInTurn(contenders: readonly Contender[]): Sides[] {
  const cpuNs = cpuClock();
  const windows: Window[][] = contenders.map(() => []);
  for (const contender of contenders) runFor(WARM_UP_MS, contender, cpuNs);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, contender] of contenders.entries()) windows[i]?.push(runFor(WINDOW_MS, contender, cpuNs));
  }
  return windows.map((all) => {
    const counted = all.filter(({ counts }) => counts);
    const enough = counted.length >= ENOUGH;
    const used = enough ? counted : all;
    return {
      give: median(used.map(({ give }) => give)),
      take: median(used.map(({ take }) => take)),
      note: enough ? '' : `other programs had the CPU in all but ${counted.length} windows`,
    };
  });
}
