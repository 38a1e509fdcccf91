import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { Namespace, namespacesUnavailable } from '../support/netns.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms, type Program } from '../support/program.ts';

const missing = missingPrograms('ip', 'ethtool', 'busybox');
const reason = missing.length > 0 ? `no ${missing.join(', ')}` : namespacesUnavailable();
if (reason !== undefined) console.warn(`interfaces.peers.test.ts is skipped: ${reason}`);
const on = test.skipIf(reason !== undefined);

const folder = testFolder();
afterAll(folder.rm);

const MAIN = resolve('dist/cli/main.js');
const TRANSFER = resolve('test/support/tcp-transfer.mjs');
const BYTES = 8 << 20;
const TYPES = ['af-packet', 'af-xdp', 'tap'] as const;

/** Two hosts, and the switch between them: ringway runs there. */
let hosts: [Namespace, Namespace];
let between: Namespace;

beforeEach(() => {
  if (reason !== undefined) return;
  between = new Namespace();
  hosts = [new Namespace(), new Namespace()];
});
afterEach(async () => {
  await endPrograms();
  if (reason === undefined) for (const each of [...hosts, between]) each.remove();
});

const addressOf = (host: number): string => `10.77.0.${host + 1}`;

/** Gives the interface `eth0` of a host its address. */
function configure(host: number): void {
  hosts[host]?.run('ip', 'addr', 'add', `${addressOf(host)}/24`, 'dev', 'eth0');
  hosts[host]?.run('ip', 'link', 'set', 'eth0', 'up');
}

/** The hosts' ends of virtual cables whose other ends, `port0` and `port1`, are ringway's. */
function layCables({ checksums }: { checksums: boolean }): void {
  for (const [host, { name }] of hosts.entries()) {
    const port = `port${host}`;
    between.run('ip', 'link', 'add', 'name', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
    between.run('ip', 'link', 'set', port, 'up');
    // A frame whose checksum the system left to a device that there is not, and XDP has no word for that.
    if (!checksums) hosts[host]?.run('ethtool', '-K', 'eth0', 'tx', 'off');
    configure(host);
  }
}

async function startRingway(ports: object, namespace = between): Promise<Program> {
  const file = folder.path(`${namespace.name}.yaml`);
  writeFileSync(file, JSON.stringify({ version: 1, lcores: [{ idle: 'park' }], ports }));
  const ringway = namespace.start('ringway', process.execPath, MAIN, 'run', file, '--json');
  await ringway.until('a snapshot', 20_000, () => (ringway.text.includes('"event":"snapshot"') ? true : undefined));
  return ringway;
}

const portsOf = (type: string, options: object = {}) => ({
  port0: { type, interface: 'port0', ...options },
  port1: { type, interface: 'port1', ...options },
});

/** Every echo request of host 0 is answered by `address`. */
function ping(address: string): void {
  const text = hosts[0].run('busybox', 'ping', '-c', '3', '-w', '10', address);
  expect(text).toContain(', 0% packet loss');
}

/** Bytes go from host 0 to host 1 by TCP, and arrive as they were. */
async function transfer(): Promise<void> {
  const receiver = hosts[1].start('receiver', process.execPath, TRANSFER, 'listen', '5000');
  await receiver.until('a listener', 10_000, () => (receiver.text.includes('listening') ? true : undefined));
  const sender = hosts[0].start('sender', process.execPath, TRANSFER, 'send', addressOf(1), '5000', String(BYTES));
  const hash = (program: Program, word: string) =>
    program.until(`a hash`, 60_000, () => new RegExp(`${word} ([0-9a-f]{64})`).exec(program.text)?.[1]);
  expect(await hash(receiver, 'received')).toBe(await hash(sender, 'sent'));
}

/** Ends a run. Returns its summary. */
async function finish(ringway: Program): Promise<{ ports: { name: string; rxPackets: number; txPackets: number }[] }> {
  ringway.child.kill('SIGINT');
  await ringway.ended;
  const line = ringway.text.split('\n').find((text) => text.includes('"event":"summary"'));
  expect(ringway.child.exitCode, ringway.text.slice(-2000)).toBe(0);
  return JSON.parse(line ?? '{}').summary;
}

on.each(TYPES)(
  '%s: two hosts ping each other through the switch, and bytes arrive as they were',
  async (type) => {
    if (type !== 'tap') layCables({ checksums: type === 'af-packet' });
    const ringway = await startRingway(portsOf(type));
    if (type === 'tap') {
      // The far end of a tap is an interface like any other, which may live elsewhere.
      for (const [host, { name }] of hosts.entries()) {
        between.run('ip', 'link', 'set', `port${host}`, 'netns', name, 'name', 'eth0');
        configure(host);
      }
    }
    ping(addressOf(1));
    await transfer();
    const { ports } = await finish(ringway);
    for (const { rxPackets } of ports) expect(rxPackets).toBeGreaterThan(10);
  },
  120_000,
);

on.each(TYPES)(
  '%s: a host pings a guest in the process, after a long sleep',
  async (type) => {
    if (type !== 'tap') layCables({ checksums: false });
    const ringway = await startRingway({
      port0: { type, interface: 'port0' },
      vm: { type: 'guest', ipv4: '10.77.0.9' },
    });
    if (type === 'tap') {
      between.run('ip', 'link', 'set', 'port0', 'netns', hosts[0].name, 'name', 'eth0');
      configure(0);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    ping('10.77.0.9');
    await finish(ringway);
  },
  60_000,
);

on(
  'VLAN tags that the system takes out of frames are put back',
  async () => {
    layCables({ checksums: true });
    // Another ringway at the host's end: the system has no part in the tags but that it takes them out.
    const vlan = { access: 7 };
    const at = (namespace: Namespace, port: string, guest: object) =>
      startRingway(
        {
          wire: { type: 'af-packet', interface: port, vlan: { trunk: [7] } },
          vm: { type: 'guest', vlan, ...guest },
        },
        namespace,
      );
    const there = await at(between, 'port0', { ipv4: '10.77.0.9', mac: '02:00:00:00:00:09' });
    const here = await at(hosts[0], 'eth0', { ipv4: '10.77.0.8', app: { to: '10.77.0.9', limit: 50, rate: 500 } });
    await here.until('all sent', 20_000, () => (/"rxPackets":(5[1-9])/.test(here.text) ? true : undefined));
    await finish(here);
    const [, vm] = (await finish(there)).ports;
    // The question for its address, too.
    expect(vm?.txPackets).toBeGreaterThanOrEqual(50);
  },
  60_000,
);

on(
  'two queues of a tap, and of packet sockets, share what arrives',
  async () => {
    layCables({ checksums: true });
    const ringway = await startRingway({
      ...portsOf('af-packet', { queues: 2 }),
      spare: { type: 'tap', interface: 'spare', queues: 2 },
    });
    ping(addressOf(1));
    await transfer();
    await finish(ringway);
  },
  120_000,
);

on(
  'an interface that is not there is named, with what to do',
  async () => {
    const file = folder.path('gone.yaml');
    for (const type of ['af-packet', 'af-xdp']) {
      writeFileSync(file, JSON.stringify({ version: 1, ports: { a: { type, interface: 'nosuch' } } }));
      const ringway = between.start('ringway', process.execPath, MAIN, 'run', file);
      await ringway.ended;
      expect(ringway.child.exitCode).not.toBe(0);
      expect(ringway.text).toMatch(/port a: ioctl\(SIOCGIFINDEX of nosuch\): ENODEV: no interface of that name/);
    }
  },
  60_000,
);

on(
  'an interface that goes away breaks its port, and no other',
  async () => {
    layCables({ checksums: false });
    const ringway = await startRingway({
      ...portsOf('af-xdp'),
      vm: { type: 'guest', ipv4: '10.77.0.9' },
    });
    between.run('ip', 'link', 'delete', 'port1');
    ping('10.77.0.9');
    ringway.child.kill('SIGINT');
    await ringway.ended;
    expect(ringway.child.signalCode).toBeNull();
    expect(ringway.text).toMatch(/port port1: the interface is (down|gone)/);
    expect(ringway.text).not.toMatch(/port port0: /);
  },
  60_000,
);
