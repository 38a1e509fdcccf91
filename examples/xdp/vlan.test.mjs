import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, udp } from './support.mjs';

test('a tag is put in behind the addresses, and the frame is four bytes longer', async () => {
  const push = await loadXdp(object('vlan'), { prog: 'xdp_vlan_push', variables: { vid: 42 } });
  const frame = udp({});
  const { action, packet } = push.run(frame);
  assert.equal(action, 'PASS');
  assert.equal(packet.length, frame.length + 4);
  assert.deepEqual(packet.subarray(0, 12), frame.subarray(0, 12));
  assert.deepEqual([...packet.subarray(12, 16)], [0x81, 0x00, 0, 42]);
  assert.deepEqual(packet.subarray(16), frame.subarray(12));
});

test('what was pushed can be popped', async () => {
  const push = await loadXdp(object('vlan'), { prog: 'xdp_vlan_push' });
  const pop = await loadXdp(object('vlan'), { prog: 'xdp_vlan_pop' });
  const frame = udp({});
  const once = push.run(frame).packet;
  const twice = push.run(once).packet;
  assert.deepEqual(pop.run(twice).packet, once);
  assert.deepEqual(pop.run(once).packet, frame);
  // No tag is left.
  assert.deepEqual(pop.run(frame).packet, frame);
});

test('there is room for many tags, but not for any number', async () => {
  const push = await loadXdp(object('vlan'), { prog: 'xdp_vlan_push' });
  let frame = udp({});
  for (let tags = 0; tags < 40; tags++) frame = push.run(frame).packet;
  assert.equal(frame.length, udp({}).length + 160);
});
