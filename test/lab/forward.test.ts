import { expect, test } from 'vitest';
import { startForwarding, VARIATIONS } from '#build/lab/forward-bench.js';
import { readPortCounters } from '#build/telemetry/counters.js';

test.each(VARIATIONS)('$name: every packet gets through, in as many buffers as it says', async (variation) => {
  const { machine, pipeline } = await startForwarding(variation);
  const polls = 300;
  for (let poll = 0; poll < polls; poll++) expect(pipeline.poll()).toBe(32);
  for (let port = 1; port <= variation.sinks; port++) {
    expect(readPortCounters(machine.arena, machine.counters, port).txPackets).toBe(polls * 32);
  }
  expect(machine.pool.audit().inFlight).toBe(variation.hold);
  expect(machine.switch.stats().macs).toBe(4096);
  expect(machine.arena.damaged()).toEqual([]);
});
