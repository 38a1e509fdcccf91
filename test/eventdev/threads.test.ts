import { createEventDevice } from 'ringway/eventdev';
import { expect, test } from 'vitest';
import { testArena } from '../support/arena.ts';
import { runWorkers } from '../support/workers.ts';

const FLOWS = 40;
const EVENTS = 2500;

test.each([2, 3])(
  'atomic_queue on %i threads: two atomic stages, a lock per stage and flow, flows moved all the time',
  async (ports) => {
    const arena = testArena();
    const device = createEventDevice(arena, {
      name: 'events',
      ports: new Array(ports).fill({ implicitRelease: false }),
      queues: [{ schedule: 'atomic' }, { schedule: 'atomic' }],
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
      events: EVENTS,
    }));
    expect(await runWorkers('event-stress.mjs', data)).toEqual(new Array(ports).fill('done, moved'));
    const stats = device.xstats.all();
    const sum = (name: string): number => data.reduce((all, _, id) => all + (stats[`port_${id}_${name}`] ?? 0), 0);
    expect(stats.dev_credits_on_loan).toBe(sum('inflight_credits'));
    expect([sum('new_enqueued'), sum('dequeued'), sum('pending_releases')]).toEqual([
      FLOWS * EVENTS,
      2 * FLOWS * EVENTS,
      0,
    ]);
    expect(sum('emigrations')).toBeGreaterThan(10);
    device.stop((slot) => expect(`an event at ${slot}`).toBe('none'));
    expect(arena.damaged()).toEqual([]);
  },
);
