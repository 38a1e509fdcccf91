import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { ip, object, udp, udp6 } from './support.mjs';

test('drops sources on the list, by longest prefix, and counts them', async () => {
  const program = await loadXdp(object('drop-list'));
  const { denied, packets } = program.maps;
  denied.set({ prefixlen: 24, addr: ip('203.0.113.0') }, 0n);
  denied.set({ prefixlen: 32, addr: ip('203.0.113.7') }, 0n);

  assert.equal(program.run(udp({ source: '198.51.100.1' })).action, 'PASS');
  assert.equal(program.run(udp({ source: '203.0.113.1' })).action, 'DROP');
  assert.equal(program.run(udp({ source: '203.0.113.7' })).action, 'DROP');
  assert.deepEqual(packets.get(0), [1n]);
  assert.deepEqual(packets.get(1), [2n]);
  // The longer prefix has the second one.
  assert.equal(denied.get({ prefixlen: 24, addr: ip('203.0.113.0') }), 1n);
  assert.equal(denied.get({ prefixlen: 32, addr: ip('203.0.113.7') }), 1n);
});

test('IPv6 has a list of its own', async () => {
  const program = await loadXdp(object('drop-list'));
  const addr = new Uint8Array(16);
  addr.set([0x20, 0x01, 0x0d, 0xb8]);
  program.maps.denied6.set({ prefixlen: 32, addr }, 0n);
  assert.equal(program.run(udp6({})).action, 'DROP');
  assert.equal(program.run(udp6({ source: '2001:db9::1' })).action, 'PASS');
});

test('what is no IP passes, and a frame that ends too early does too', async () => {
  const program = await loadXdp(object('drop-list'));
  const frame = udp({});
  assert.equal(program.run(frame.subarray(0, 20)).action, 'PASS');
  frame.set([0x88, 0xb5], 12);
  assert.equal(program.run(frame).action, 'PASS');
});
