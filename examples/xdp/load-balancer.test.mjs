import assert from 'node:assert/strict';
import test from 'node:test';
import { internetSum, pseudoHeaderSum } from 'ringway/packet';
import { loadXdp } from 'ringway/xdp';
import { ip, object, tcp, udp } from './support.mjs';

const VIP = '192.0.2.1';
const SERVERS = ['10.0.0.1', '10.0.0.2', '10.0.0.3'];

/** A number in memory as its bytes are on the wire. */
const wire = (text) => new DataView(ip(text).buffer).getUint32(0, true);
const port = (number) => ((number & 255) << 8) | (number >> 8);

async function balancer() {
  const program = await loadXdp(object('load-balancer'));
  const { services, servers } = program.maps;
  for (const protocol of [6, 17]) {
    services.set({ address: wire(VIP), port: port(80), protocol, zero: 0 }, { first: 0, count: SERVERS.length });
  }
  for (const [index, address] of SERVERS.entries()) {
    servers.set(index, { address: wire(address), mac: [2, 0, 0, 0, 1, index], zero: [0, 0] });
  }
  return program;
}

/** True when both checksums of a frame of IPv4 and UDP or TCP are right. */
function areChecksumsRight(frame) {
  const length = ((frame[16] << 8) | frame[17]) - 20;
  const pseudo = pseudoHeaderSum(frame.subarray(26, 34), frame[23], length);
  return internetSum(frame, 14, 20) === 0xffff && internetSum(frame, 34, length, pseudo) === 0xffff;
}

const destination = ({ packet }) => packet.subarray(30, 34).join('.');

test('connections are spread over the servers, and each stays where it is', async () => {
  const program = await balancer();
  const chosen = new Map();
  for (let round = 0; round < 2; round++) {
    for (let from = 1000; from < 1300; from++) {
      const result = program.run(tcp({ destination: VIP, from }));
      assert.equal(result.action, 'TX');
      if (round === 0) chosen.set(from, destination(result));
      else assert.equal(destination(result), chosen.get(from));
    }
  }
  for (const server of SERVERS) assert.ok([...chosen.values()].filter((one) => one === server).length > 50, server);
  assert.equal(program.maps.connections.size, 300);
});

test('a connection stays when servers are added', async () => {
  const program = await balancer();
  const before = destination(program.run(udp({ destination: VIP, to: 80, from: 5 })));
  program.maps.services.set({ address: wire(VIP), port: port(80), protocol: 17, zero: 0 }, { first: 0, count: 1 });
  assert.equal(destination(program.run(udp({ destination: VIP, to: 80, from: 5 }))), before);
});

test('addresses change and both checksums stay right', async () => {
  const program = await balancer();
  for (const frame of [tcp({ destination: VIP }), udp({ destination: VIP, to: 80 })]) {
    const { packet } = program.run(frame);
    assert.ok(areChecksumsRight(frame));
    assert.ok(areChecksumsRight(packet));
    const index = SERVERS.indexOf(packet.subarray(30, 34).join('.'));
    assert.deepEqual([...packet.subarray(0, 6)], [2, 0, 0, 0, 1, index]);
    assert.deepEqual([...packet.subarray(6, 12)], [2, 0, 0, 0, 0, 2]);
  }
});

test('what goes to no service passes on untouched', async () => {
  const program = await balancer();
  for (const frame of [tcp({ destination: VIP, to: 81 }), udp({ destination: '192.0.2.2', to: 80 })]) {
    const { action, packet } = program.run(frame);
    assert.equal(action, 'PASS');
    assert.deepEqual(packet, frame);
  }
});
