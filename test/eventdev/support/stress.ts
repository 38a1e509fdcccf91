import { createEventDevice } from 'ringway/eventdev';
import { expect } from 'vitest';
import { testArena } from '../../support/arena.ts';
import { runWorkers } from '../../support/workers.ts';

const FLOWS = 40;

export interface StressOptions {
  readonly ports: number;
  /** Events in all, a multiple of 40. */
  readonly events: number;
  /** The first stage is ordered, not atomic. */
  readonly ordered: boolean;
  /** After which it gives up. */
  readonly seconds: number;
}

/** Two stages on threads, flows moved all the time: a lock for each flow of an atomic one, and an order of its events. */
export async function runStress({ ports, events, ordered, seconds }: StressOptions): Promise<void> {
  // The test build of the kernels begins moves when asked to.
  const arena = testArena();
  const device = createEventDevice(arena, {
    name: 'events',
    ports: new Array(ports).fill({ implicitRelease: false }),
    queues: [{ schedule: ordered ? 'ordered' : 'atomic' }, { schedule: 'atomic' }],
  });
  for (let port = 0; port < ports; port++) for (const queue of [0, 1]) device.link(port, queue);
  device.start();
  const shared = arena.allocate('shared', (4 * FLOWS + 3) * 4);
  const data = Array.from({ length: ports }, (_, id) => ({
    handle: arena.handle,
    device: device.address,
    address: device.portAddress(id),
    slots: arena.allocate(`slots ${id}`, 32 * 16),
    shared,
    ports,
    flows: FLOWS,
    events: events / FLOWS,
    ordered,
    seconds,
  }));
  expect(await runWorkers('event-stress.mjs', data)).toEqual(new Array(ports).fill('done, moved'));
  const stats = device.xstats.all();
  const sum = (name: string): number => data.reduce((all, _, id) => all + (stats[`port_${id}_${name}`] ?? 0), 0);
  expect(stats.dev_credits_on_loan).toBe(sum('inflight_credits'));
  expect([sum('new_enqueued'), sum('dequeued'), sum('pending_releases')]).toEqual([events, 2 * events, 0]);
  if (ordered) expect(sum('drained')).toBe(events);
  expect(sum('emigrations')).toBeGreaterThan(10);
  device.stop((slot) => expect(`an event at ${slot}`).toBe('none'));
  expect(arena.damaged()).toEqual([]);
}
