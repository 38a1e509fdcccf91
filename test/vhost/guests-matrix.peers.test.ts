import { afterAll, expect, test } from 'vitest';
import { problemsOf, start } from '../support/dataplanes.ts';
import { FEATURE } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { bootGuest, type GuestNetdev } from '../support/qemu.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms('qemu-system-x86_64', 'busybox');
if (missing.length > 0) console.warn(`guests-matrix.peers.test.ts is skipped: no ${missing.join(', ')}`);

type Name = 'a' | 'b';
const NETWORKS = Array.from({ length: 8 }, (_, index) => index);
const NOTIFY = ['adaptive', 'interrupt', 'poll'] as const;

/**
 * The device of a guest in a network: what it has in `a`, it has not in `b`. Of `a` the packed devices have two pairs of
 * queues and of `b` the split ones, so that the sixteen devices are all that there can be.
 */
function deviceOf(guest: Name, network: number): Required<Omit<GuestNetdev, 'reconnect' | 'extra'>> {
  const bits = guest === 'a' ? network : network ^ 7;
  return {
    socket: folder.path(`${guest}${network}.sock`),
    mac: `02:00:00:00:0${network}:0${guest === 'a' ? 1 : 2}`,
    packed: (bits & 1) !== 0,
    mrgRxbuf: (bits & 2) !== 0,
    eventIdx: (bits & 4) !== 0,
    queues: 1 + (network & 1),
    indirect: network % 3 !== 0,
    tso: (bits & 2) !== 0,
    csum: network !== 5,
    server: [1, 2, 4, 7].includes(network),
  };
}

const portOf = (guest: Name, network: number) => {
  const { socket, server, queues } = deviceOf(guest, network);
  return {
    type: 'vhost-user',
    socket,
    mode: server ? 'client' : 'server',
    queues,
    notify: NOTIFY[network % 3],
    // Ports that look by themselves would wake those that wait for a kick.
    lcore: network % 3,
    vlan: { access: 10 + network },
  };
};

const inProcess = (network: number) => ({
  type: 'guest',
  ipv4: `10.0.${network}.3`,
  layout: network & 1 ? 'packed' : 'split',
  idle: 'park',
  lcore: 3,
  vlan: { access: 10 + network },
});

test.skipIf(missing.length > 0)(
  'guests with all kinds of rings reach each other and a guest in this process',
  async () => {
    const dataplane = await start({
      version: 1,
      name: 'matrix',
      memory: '512MiB',
      lcores: Array.from({ length: 4 }, () => ({ idle: 'park' })),
      ports: Object.fromEntries(
        NETWORKS.flatMap((network) => [
          [`a${network}`, portOf('a', network)],
          [`b${network}`, portOf('b', network)],
          [`in${network}`, inProcess(network)],
        ]),
      ),
    });
    const boot = (name: Name) =>
      bootGuest({
        name,
        cpus: 2,
        memoryMb: 192,
        netdevs: NETWORKS.map((network) => deviceOf(name, network)),
      });
    const guests = { a: await boot('a'), b: await boot('b') };
    for (const [name, own] of [
      ['a', 1],
      ['b', 2],
    ] as const) {
      const found = await guests[name].must(
        `cd /sys/class/net; for i in ${NETWORKS.join(' ')}; do ip addr add 10.0.$i.${own}/24 dev eth$i;
        echo $(cat eth$i/device/features) $(ls -d eth$i/queues/rx-* | wc -l); done`,
      );
      for (const [network, line] of found.split('\n').entries()) {
        const { packed, mrgRxbuf, eventIdx, indirect, tso, queues } = deviceOf(name, network);
        const [bits = '', count] = line.split(' ');
        const has = (feature: keyof typeof FEATURE): boolean => bits[FEATURE[feature]] === '1';
        expect({
          packed: has('packed'),
          mrgRxbuf: has('mrgRxbuf'),
          eventIdx: has('eventIdx'),
          indirect: has('indirect'),
          tso: has('hostTso4'),
          queues: Number(count),
        }).toEqual({ packed, mrgRxbuf, eventIdx, indirect, tso, queues });
      }
    }
    for (const [from, to] of [
      ['a', 2],
      ['a', 3],
      ['b', 3],
    ] as const) {
      for (const network of NETWORKS) {
        const output = await guests[from].must(`ping -c 3 -i 0.05 -s 1400 -W 5 10.0.${network}.${to}`);
        const [, average] = / 0% packet loss\n.* = [\d.]+\/([\d.]+)\//.exec(output) ?? [];
        // A port that no kick woke would look after a second.
        expect(Number(average), `${from} to 10.0.${network}.${to}: ${output}`).toBeLessThan(300);
      }
    }
    await Promise.all([guests.a.stop(), guests.b.stop()]);
    expect(problemsOf(await dataplane.stop())).toEqual([]);
  },
  120_000,
);
