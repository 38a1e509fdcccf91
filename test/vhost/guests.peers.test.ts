import { afterAll, expect, test } from 'vitest';
import { problemsOf, start } from '../support/dataplanes.ts';
import { featuresOf, pingBetween, setAddress, transferFile, untilCarrier } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms('qemu-system-x86_64', 'busybox');
if (missing.length > 0) console.warn(`guests.peers.test.ts is skipped: no ${missing.join(', ')}`);

const LAYOUTS = ['split', 'packed'] as const;
const BYTES = 4 << 20;

test.skipIf(missing.length > 0)(
  'TCP in segments longer than the MTU passes whole, and links go down and up, over split and packed rings',
  async () => {
    const socket = (guest: string, layout: string) => folder.path(`${guest}-${layout}.sock`);
    const dataplane = await start({
      version: 1,
      name: 'guests',
      lcores: [{ idle: 'park' }],
      ports: Object.fromEntries(
        LAYOUTS.flatMap((layout, index) =>
          ['a', 'b'].map((guest) => [
            `${guest}-${layout}`,
            { type: 'vhost-user', socket: socket(guest, layout), vlan: { access: 10 + index } },
          ]),
        ),
      ),
    });
    const boot = (name: string, own: number) =>
      bootGuest({
        name,
        netdevs: LAYOUTS.map((layout, index) => ({
          socket: socket(name, layout),
          mac: `02:00:00:00:0${index}:0${own}`,
          packed: layout === 'packed',
          csum: true,
          tso: true,
          reconnect: 1,
        })),
      });
    const [a, b] = await Promise.all([boot('a', 1), boot('b', 2)]);
    const counters = (port: string) => {
      const { rxPackets, rxBytes } = dataplane.snapshot().ports.find(({ name }) => name === port) as {
        rxPackets: number;
        rxBytes: number;
      };
      return { rxPackets, rxBytes };
    };
    for (const [index, layout] of LAYOUTS.entries()) {
      const device = `eth${index}`;
      await setAddress(a, `10.0.${index}.1/24`, device);
      await setAddress(b, `10.0.${index}.2/24`, device);
      const has = await featuresOf(a, device);
      expect([has('packed'), has('csum'), has('hostTso4'), has('guestTso4')]).toEqual([
        layout === 'packed',
        true,
        true,
        true,
      ]);
      const before = counters(`a-${layout}`);
      await transferFile(a, b, `10.0.${index}.2`, BYTES);
      const after = counters(`a-${layout}`);
      const bytes = after.rxBytes - before.rxBytes;
      expect(bytes).toBeGreaterThan(BYTES);
      expect(bytes / (after.rxPackets - before.rxPackets)).toBeGreaterThan(3000);
    }
    for (const [index, layout] of LAYOUTS.entries()) {
      const device = `eth${index}`;
      const address = `10.0.${index}.2`;
      for (let cycle = 0; cycle < 3; cycle++) {
        await dataplane.set(`ports.a-${layout}.link`, 'down');
        await untilCarrier(a, false, device);
        expect(await b.must(`ping -c 1 -W 1 10.0.${index}.1 || true`)).toMatch(/100% packet loss/);
        await dataplane.set(`ports.a-${layout}.link`, 'up');
        await untilCarrier(a, true, device);
        expect(await pingBetween(a, address, { count: 3 })).toEqual({ sent: 3, received: 3 });
      }
      await transferFile(b, a, `10.0.${index}.1`, 1 << 20);
    }
    await Promise.all([a.stop(), b.stop()]);
    expect(problemsOf(await dataplane.stop())).toEqual([]);
  },
  120_000,
);
