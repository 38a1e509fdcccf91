import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, tcp, udp } from './support.mjs';

test('datagrams to the port go to the socket of their queue', async () => {
  const program = await loadXdp(object('to-socket'), { variables: { port: 4789 } });
  program.maps.sockets.set(2, 1);
  const result = program.run(udp({ to: 4789 }), { rxQueue: 2 });
  assert.equal(result.action, 'REDIRECT');
  assert.deepEqual(result.redirect, { to: 'socket', target: 1, map: 'sockets', key: 2 });
});

test('what no socket waits for passes on', async () => {
  const program = await loadXdp(object('to-socket'), { variables: { port: 4789 } });
  program.maps.sockets.set(2, 1);
  assert.equal(program.run(udp({ to: 4789 }), { rxQueue: 0 }).action, 'PASS');
  assert.equal(program.run(udp({ to: 53 }), { rxQueue: 2 }).action, 'PASS');
  assert.equal(program.run(tcp({ to: 4789 }), { rxQueue: 2 }).action, 'PASS');
});
