import assert from 'node:assert/strict';
import test from 'node:test';
import { loadXdp } from 'ringway/xdp';
import { object, tcp, udp, udp6 } from './support.mjs';

const seen = (program) => Array.from({ length: 5 }, (_, layer) => Number(program.maps.seen.get(layer)[0]));

test('each layer hands the packet on to the next', async () => {
  const program = await loadXdp(object('parser'), { prog: 'xdp_parser' });
  const frames = [udp({}), tcp({}), tcp({}), udp6({})];
  for (const frame of frames) assert.equal(program.run(frame).action, 'PASS');
  assert.deepEqual(seen(program), [0, 0, 0, 2, 2]);
  assert.equal(program.maps.offset.get(0)[0], 14 + 40);
});

test('headers that end too early are dropped by their own layer', async () => {
  const program = await loadXdp(object('parser'), { prog: 'xdp_parser' });
  assert.equal(program.run(udp({}).subarray(0, 30)).action, 'DROP');
  assert.equal(program.run(tcp({}).subarray(0, 40)).action, 'DROP');
  assert.deepEqual(seen(program), [0, 0, 0, 0, 0]);
});

test('a layer that is taken out ends the chain', async () => {
  const program = await loadXdp(object('parser'), { prog: 'xdp_parser' });
  program.maps.layers.delete(2);
  assert.equal(program.run(udp({})).action, 'PASS');
  assert.deepEqual(seen(program), [0, 1, 0, 0, 0]);
  program.maps.layers.set(2, program.programNumber('xdp_udp'));
  program.run(udp({}));
  assert.deepEqual(seen(program), [0, 1, 0, 1, 0]);
});
