import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EVERYTHING, SwitchRig } from '../support/switch-rig.ts';
import { runWorkers } from '../support/workers.ts';
import { bridgeCase, runBridge } from './support/bridge-case.ts';
import { hostileCase, runHostile } from './support/hostile-case.ts';
import { routerCase, runRouter } from './support/router-case.ts';
import { runSteering, steeringCase } from './support/steering-case.ts';

const DEEP = { numRuns: 1_000_000, interruptAfterTimeLimit: 40_000, markInterruptAsFailure: false };

test('forwarding against a simple bridge', () => {
  fc.assert(
    fc.property(bridgeCase, (given) => runBridge(given)),
    DEEP,
  );
});

test('the router against every route', () => {
  fc.assert(
    fc.property(routerCase, (given) => runRouter(given)),
    DEEP,
  );
});

test('steering against the bytes', () => {
  fc.assert(fc.property(steeringCase, runSteering), DEEP);
});

test('hostile frames', () => {
  fc.assert(fc.property(hostileCase, runHostile), DEEP);
});

test('two lcores learn and look up in one table: a station that never moves is never found elsewhere', async () => {
  const rig = new SwitchRig({ ports: new Array(20).fill(EVERYTHING), lcores: 2, macs: 64 });
  const data = rig.switch.paths.map((path, lcore) => ({
    handle: rig.arena.handle,
    path,
    sw: rig.switch.address,
    rounds: 20_000_000,
    lcore,
  }));
  expect(await runWorkers('mac-stress.mjs', data)).toEqual(['done', 'done']);
  expect(rig.switch.stats().evicted).toBeGreaterThan(1_000_000);
  expect(rig.arena.damaged()).toEqual([]);
});
