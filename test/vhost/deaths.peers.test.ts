import { writeFileSync } from 'node:fs';
import { afterAll, afterEach, expect, test } from 'vitest';
import { problemsOf, startWithMachine } from '../support/dataplanes.ts';
import { setAddress, startFlood } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms, Program } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';
import { descriptors, mappings } from '../support/resources.ts';

const folder = testFolder();
afterEach(endPrograms);
afterAll(folder.rm);

const missing = missingPrograms('qemu-system-x86_64', 'busybox');
if (missing.length > 0) console.warn(`deaths.peers.test.ts is skipped: no ${missing.join(', ')}`);

/** Deaths of ringway, as many as fit the time; all of them when `RINGWAY_CYCLES` says how many. */
const CYCLES = Number(process.env.RINGWAY_CYCLES ?? 20);
const CYCLES_MS = process.env.RINGWAY_CYCLES === undefined ? 20_000 : Number.POSITIVE_INFINITY;
/** Deaths of a guest, each after a boot of some seconds: 20 at most. */
const QEMU_CYCLES = Math.min(20, Number(process.env.RINGWAY_CYCLES ?? 3));
const LAYOUTS = ['split', 'packed'] as const;

const netdevs = (guest: string, own: number) =>
  LAYOUTS.map((layout, index) => ({
    socket: folder.path(`${guest}-${layout}.sock`),
    mac: `02:00:00:00:0${index}:0${own}`,
    packed: layout === 'packed',
    reconnect: 1,
  }));

const ports = (guests: readonly string[]) =>
  Object.fromEntries(
    LAYOUTS.flatMap((layout, index) =>
      guests.map((guest) => [
        `${guest}-${layout}`,
        { type: 'vhost-user', socket: folder.path(`${guest}-${layout}.sock`), vlan: { access: 10 + index } },
      ]),
    ),
  );

/** A ringway in a process of its own. */
function startRingway(): Program {
  const file = folder.path('deaths.json');
  const source = { version: 1, name: 'deaths', lcores: [{ idle: 'park' }], ports: ports(['a', 'b']) };
  writeFileSync(file, JSON.stringify(source));
  const args = [`XDG_RUNTIME_DIR=${folder.path('')}`, process.execPath, 'dist/cli/main.js', 'run', file];
  return new Program('ringway', 'env', args);
}

/** Where the floods to the guest that is the `own`th go. */
const target = (own: number) =>
  Object.fromEntries(
    LAYOUTS.map((_, index) => [`eth${index}`, [`02:00:00:00:0${index}:0${own}`, `10.0.${index}.${own}`] as const]),
  );

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test.skipIf(missing.length > 0)(
  'guests go on when ringway was killed under their traffic, again and again',
  async () => {
    let ringway = startRingway();
    const [a, b] = await Promise.all([
      bootGuest({ name: 'a', netdevs: netdevs('a', 1), lifeMs: 2 ** 31 - 1 }),
      bootGuest({ name: 'b', netdevs: netdevs('b', 2), lifeMs: 2 ** 31 - 1 }),
    ]);
    for (const index of LAYOUTS.keys()) {
      await setAddress(a, `10.0.${index}.1/24`, `eth${index}`);
      await setAddress(b, `10.0.${index}.2/24`, `eth${index}`);
    }
    const check = async () => {
      const carrier = 'for i in 0 1; do until [ "$(cat /sys/class/net/eth$i/carrier)" = 1 ]; do sleep 0.1; done; done';
      await Promise.all([a, b].map((guest) => guest.must(carrier, 20_000)));
      const ping = (index: number) => `ping -c 3 -i 0.05 -W 5 10.0.${index}.2`;
      for (const index of LAYOUTS.keys()) expect(await a.must(ping(index))).toMatch(/ 0% packet loss/);
    };
    await check();
    const start = Date.now();
    let cycle = 0;
    for (; cycle < CYCLES && Date.now() - start < CYCLES_MS; cycle++) {
      await Promise.all([startFlood(a, target(2), 3000), startFlood(b, target(1), 3000)]);
      await wait(300);
      await ringway.kill();
      ringway = startRingway();
      await check();
    }
    expect(cycle).toBeGreaterThan(3);
    await Promise.all([a.stop(), b.stop()]);
    await ringway.kill();
  },
  120_000 + CYCLES * 20_000,
);

test.skipIf(missing.length > 0)(
  'a guest that is killed under its traffic leaves nothing behind, and others lose nothing',
  async () => {
    const others = {
      from: { type: 'generator', rate: '10kpps', dstMac: '02:00:00:00:09:01', vlan: { access: 20 } },
      to: { type: 'null', vlan: { access: 20 } },
    };
    const { dataplane, machine } = await startWithMachine({
      version: 1,
      name: 'others',
      lcores: [{ idle: 'park' }, { idle: 'park' }],
      ports: { ...ports(['a', 'b']), ...others },
    });
    const state = () => ({
      regions: machine.arena.regions().map(({ name }) => name),
      descriptors: descriptors(),
      mappings: mappings(),
    });
    const boot = (name: string, own: number) => bootGuest({ name, netdevs: netdevs(name, own) });
    const b = await boot('b', 2);
    for (const index of LAYOUTS.keys()) await setAddress(b, `10.0.${index}.2/24`, `eth${index}`);
    const before = state();
    const received = (port: string): number =>
      dataplane.snapshot().ports.find(({ name }) => name === port)?.rxPackets ?? 0;
    for (let cycle = 0; cycle < QEMU_CYCLES; cycle++) {
      const a = await boot('a', 1);
      for (const index of LAYOUTS.keys()) await setAddress(a, `10.0.${index}.1/24`, `eth${index}`);
      for (const index of LAYOUTS.keys()) {
        expect(await a.must(`ping -c 1 -W 5 10.0.${index}.2`)).toMatch(/ 0% packet loss/);
      }
      const packets = received('a-packed');
      await Promise.all([startFlood(a, target(2), 3000), startFlood(b, target(1), 3000)]);
      await expect.poll(() => received('a-packed'), { timeout: 10_000 }).toBeGreaterThan(packets + 500);
      await a.kill();
      await expect.poll(state, { timeout: 10_000 }).toEqual(before);
      // Ends the floods of the other one.
      await b.must('ip link set eth0 down; ip link set eth1 down; sleep 0.2; ip link set eth0 up; ip link set eth1 up');
    }
    await b.stop();
    const last = await dataplane.stop();
    expect(problemsOf(last)).toEqual([]);
    const [from, to] = ['from', 'to'].map((port) => last.ports.find(({ name }) => name === port));
    expect(from?.rxPackets).toBeGreaterThan(10_000);
    expect([to?.txPackets, from?.drops, to?.drops]).toEqual([from?.rxPackets, {}, {}]);
  },
  120_000 + QEMU_CYCLES * 30_000,
);
