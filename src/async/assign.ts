/**
 * Which engine copies for whom:
 *
 * - `lcore`: engine N for all queues of lcore N, and nobody else. The CPU copies for lcores beyond the last engine.
 * - `vring`: each queue is dealt an engine when it comes, in turn, and keeps it.
 * - `dynamic-lcore`: lcores that have queues share the engines that work, evenly, whenever either changes.
 * - `dynamic-vring`: so do queues.
 */
export type Assignment = 'lcore' | 'vring' | 'dynamic-lcore' | 'dynamic-vring';

/** A queue, as far as its assignment goes. */
export interface Assignable {
  /** Number of the queue, in the order in which they came. */
  readonly serial: number;
  /** The lcore that serves it. */
  readonly lcore: number;
  /** Index of the engine that copies for it now; -1: the CPU. */
  readonly engine: number;
}

/**
 * Shares `engines` out evenly. Whoever has one of them keeps it, as long as none has two users more than another.
 * @param current engine of each user now, by any key.
 */
function balance<K>(current: ReadonlyMap<K, number>, engines: readonly number[]): Map<K, number> {
  const users = new Map<number, K[]>(engines.map((engine) => [engine, []]));
  const least = (): number =>
    engines.reduce((a, b) => ((users.get(b)?.length ?? 0) < (users.get(a)?.length ?? 0) ? b : a));
  const most = (): number =>
    engines.reduce((a, b) => ((users.get(b)?.length ?? 0) > (users.get(a)?.length ?? 0) ? b : a));
  if (engines.length === 0) return new Map([...current.keys()].map((key) => [key, -1]));
  for (const [key, engine] of current) users.get(engine)?.push(key);
  for (const [key, engine] of current) if (!users.has(engine)) users.get(least())?.push(key);
  while ((users.get(most())?.length ?? 0) > (users.get(least())?.length ?? 0) + 1) {
    const moved = users.get(most())?.pop() as K;
    users.get(least())?.push(moved);
  }
  return new Map([...users].flatMap(([engine, keys]) => keys.map((key): [K, number] => [key, engine])));
}

/**
 * The engine for each of `queues`, in their order; -1: the CPU copies.
 * @param engines by index, whether each works.
 */
export function assign(assignment: Assignment, queues: readonly Assignable[], engines: readonly boolean[]): number[] {
  const working = [...engines.keys()].filter((index) => engines[index] === true);
  const ifWorks = (engine: number): number => (engines[engine] === true ? engine : -1);
  switch (assignment) {
    case 'lcore':
      return queues.map(({ lcore }) => ifWorks(lcore));
    case 'vring':
      return queues.map(({ serial }) => ifWorks(serial % engines.length));
    case 'dynamic-lcore': {
      const byLcore = new Map<number, number>();
      for (const { lcore, engine } of queues) byLcore.set(lcore, Math.max(engine, byLcore.get(lcore) ?? -1));
      const shared = balance(byLcore, working);
      return queues.map(({ lcore }) => shared.get(lcore) ?? -1);
    }
    case 'dynamic-vring': {
      const shared = balance(new Map(queues.map(({ serial, engine }) => [serial, engine])), working);
      return queues.map(({ serial }) => shared.get(serial) ?? -1);
    }
  }
}
