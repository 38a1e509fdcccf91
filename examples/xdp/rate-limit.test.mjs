import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, udp } from './support.mjs';

const MILLISECOND = 1_000_000n;

/** How many of `count` packets of a source pass. */
const passing = (program, source, count, context) =>
  program.runBatch(Array(count).fill(udp({ source })), context).filter(({ action }) => action === 'PASS').length;

test('a burst passes, then as many as the rate says', async () => {
  const program = await loadXdp(object('rate-limit'), { variables: { rate: 1000, burst: 10 } });
  let now = 1_000_000_000n;
  program.setTime(now);
  assert.equal(passing(program, '198.51.100.1', 100), 10);
  now += 5n * MILLISECOND;
  program.setTime(now);
  assert.equal(passing(program, '198.51.100.1', 100), 5);
  // A bucket holds no more than a burst.
  program.setTime(now + 3_600_000n * MILLISECOND);
  assert.equal(passing(program, '198.51.100.1', 100), 10);
  assert.deepEqual(program.maps.packets.get(0), [25n]);
  assert.deepEqual(program.maps.packets.get(1), [275n]);
});

test('sources have buckets of their own, and CPUs too', async () => {
  const program = await loadXdp(object('rate-limit'), { variables: { burst: 3 }, cpus: 2 });
  assert.equal(passing(program, '198.51.100.1', 5), 3);
  assert.equal(passing(program, '198.51.100.2', 5), 3);
  assert.equal(passing(program, '198.51.100.1', 5, { cpu: 1 }), 3);
  assert.equal(program.maps.buckets.size, 2);
});
