import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, udp } from './support.mjs';

test('flows are spread evenly, and a flow goes to one CPU always', async () => {
  const program = await loadXdp(object('steer'), { variables: { cpus: 4 } });
  for (let cpu = 0; cpu < 4; cpu++) program.maps.targets.set(cpu, { qsize: 192, program: 0 });
  const counts = [0, 0, 0, 0];
  for (let from = 1000; from < 2000; from++) {
    const [one, again] = program.runBatch([udp({ from }), udp({ from })]);
    assert.equal(one.action, 'REDIRECT');
    assert.equal(one.redirect.to, 'cpu');
    assert.deepEqual(again.redirect, one.redirect);
    counts[one.redirect.target]++;
  }
  for (const count of counts) assert.ok(count > 150, `${counts}`);
});
