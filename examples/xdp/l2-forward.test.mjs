import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, udp } from './support.mjs';

test('sends frames to the port of their destination, and passes the rest on', async () => {
  const program = await loadXdp(object('l2-forward'));
  program.maps.stations.set({ bytes: [2, 0, 0, 0, 0, 0x10] }, 3);
  program.maps.ports.set(3, 7);

  const known = program.run(udp({ mac: '02:00:00:00:00:10' }));
  assert.equal(known.action, 'REDIRECT');
  assert.deepEqual(known.redirect, { to: 'interface', target: 7, map: 'ports', key: 3 });
  assert.equal(program.run(udp({ mac: '02:00:00:00:00:11' })).action, 'PASS');
});

test('a station at a port that is gone passes on', async () => {
  const program = await loadXdp(object('l2-forward'));
  program.maps.stations.set({ bytes: [2, 0, 0, 0, 0, 0x10] }, 3);
  assert.equal(program.run(udp({ mac: '02:00:00:00:00:10' })).action, 'PASS');
});
