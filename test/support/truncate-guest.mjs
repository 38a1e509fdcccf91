// A dataplane with a vhost-user port, and a frontend in the same process that truncates the memory it shares. Prints what the
// port says at the end, and how much got through another pair of ports meanwhile.
import { ftruncateSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { parseConfig, startDataplane } from '../../build/dataplane/index.js';
import { requireSockets, requireSys } from '../../build/sys/index.js';
import { Channel } from '../../build/vhost/channel.js';
import { MEM_TABLE, REQUEST, U64, VRING_ADDR, VRING_STATE } from '../../build/vhost/protocol.js';

const [socket] = process.argv.slice(2);
const ports = {
  vm: { type: 'vhost-user', socket },
  load: { type: 'generator', rate: '50kpps', dstMac: '02:00:00:00:00:09' },
  sink: { type: 'null' },
};
const switching = { static: [{ mac: '02:00:00:00:00:09', port: 'sink' }] };
const config = parseConfig(JSON.stringify({ version: 1, lcores: 1, ports, switch: switching }), { file: 't.yaml' });
const dataplane = await startDataplane(config);
const { memfdCreate } = requireSys('the test');
const { connect, eventfd } = requireSockets('the test');
const bytes = 1 << 20;
const memory = memfdCreate('guest', bytes, { seal: false });
const channel = new Channel(connect(socket), 'frontend');
const send = (request, payload, fds = []) => channel.send(request, payload, { fds });
send(REQUEST.SET_FEATURES, U64.write(1n << 32n));
send(REQUEST.SET_MEM_TABLE, MEM_TABLE.write([{ guest: 0n, bytes: BigInt(bytes), user: 0x10000000n, offset: 0n }]), [
  memory,
]);
for (const index of [0, 1]) {
  const at = 0x10000000n + BigInt(index) * 0x10000n;
  send(REQUEST.SET_VRING_NUM, VRING_STATE.write(index, 256));
  send(REQUEST.SET_VRING_BASE, VRING_STATE.write(index, 0));
  send(
    REQUEST.SET_VRING_ADDR,
    VRING_ADDR.write({ index, flags: 0, descriptors: at, available: at + 0x4000n, used: at + 0x8000n, log: 0n }),
  );
  send(REQUEST.SET_VRING_KICK, U64.write(BigInt(index)), [eventfd()]);
}
await setTimeout(200);
ftruncateSync(memory, 0);
await setTimeout(400);
const port = (name) => dataplane.snapshot().ports.find((each) => each.name === name);
const before = port('sink').txPackets;
await setTimeout(300);
console.log(JSON.stringify({ fault: port('vm').fault, moved: port('sink').txPackets - before }));
channel.close();
await dataplane.stop();
