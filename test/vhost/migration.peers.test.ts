import { afterAll, expect, test } from 'vitest';
import { problemsOf, start } from '../support/dataplanes.ts';
import { migrate } from '../support/guest-migration.ts';
import { featuresOf, setAddress } from '../support/guest-net.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { bootGuest } from '../support/qemu.ts';

const folder = testFolder();
afterAll(async () => {
  await endPrograms();
  folder.rm();
});

const missing = missingPrograms('qemu-system-x86_64', 'busybox');
if (missing.length > 0) console.warn(`migration.peers.test.ts is skipped: no ${missing.join(', ')}`);

const LAYOUTS = ['split', 'packed'] as const;
const NAMES = ['a', 'b', 'moved'] as const;
const BYTES = 5 << 20;
const PIECE = 64 << 10;

// Now and then QEMU's emulation loses what its own processor wrote while it migrates, and the guest dies of it in places that
// no device knows (as its timer's). With DPDK in ringway's place one of eight migrations failed too. Hence several tries.
test.skipIf(missing.length > 0)(
  'a guest that receives over split and packed rings moves to another QEMU, and nothing of it is lost',
  { timeout: 120_000, retry: 2 },
  async ({ task }) => {
    const turn = task.result?.retryCount ?? 0;
    const socket = (guest: string, layout: string) => folder.path(`${guest}-${layout}-${turn}.sock`);
    const dataplane = await start({
      version: 1,
      name: 'migration',
      lcores: [{ idle: 'park' }],
      ports: Object.fromEntries(
        LAYOUTS.flatMap((layout, index) =>
          NAMES.map((guest) => [
            `${guest}-${layout}`,
            { type: 'vhost-user', socket: socket(guest, layout), vlan: { access: 10 + index } },
          ]),
        ),
      ),
    });
    const netdevs = (name: string, own: number) =>
      LAYOUTS.map((layout, index) => ({
        socket: socket(name, layout),
        mac: `02:00:00:00:0${index}:0${own}`,
        packed: layout === 'packed',
      }));
    const uri = `unix:${folder.path(`migration-${turn}.sock`)}`;
    const [a, b] = await Promise.all([
      bootGuest({ name: 'a', netdevs: netdevs('a', 1) }),
      bootGuest({ name: 'b', netdevs: netdevs('b', 2) }),
    ]);
    const moved = await bootGuest({ name: 'moved', netdevs: netdevs('moved', 1), incoming: uri });
    for (const [index, layout] of LAYOUTS.entries()) {
      await setAddress(a, `10.0.${index}.1/24`, `eth${index}`);
      await setAddress(b, `10.0.${index}.2/24`, `eth${index}`);
      expect((await featuresOf(a, `eth${index}`))('packed')).toBe(layout === 'packed');
    }
    // Each file is on its way, some pieces at a time, while the guest moves.
    await b.must(`head -c ${BYTES} /dev/urandom > /run/sent`);
    const sum = await b.must('sha256sum < /run/sent');
    for (const index of LAYOUTS.keys()) {
      await a.must(
        `mkfifo /run/in${index}
        (nc -l -p 700${index} <> /run/in${index} > /run/got${index}; touch /run/end${index}) > /dev/null 2>&1 &
        until netstat -ltn | grep -q ':700${index} '; do sleep 0.05; done`,
      );
    }
    const pieces = `for i in $(seq 0 ${BYTES / PIECE - 1}); do dd if=/run/sent bs=${PIECE} skip=$i count=1 2> /dev/null; sleep 0.02; done`;
    const sending = [...LAYOUTS.keys()].map((index) => b.must(`(${pieces}) | nc 10.0.${index}.1 700${index}`));
    const pings = b.must('ping -c 200 -i 0.05 -W 1 -q 10.0.1.1 || true');
    for (const each of [...sending, pings]) each.catch(() => {});
    const size = async (): Promise<number> => Number(await a.must('wc -c < /run/got1'));
    await expect.poll(size, { timeout: 20_000 }).toBeGreaterThan(BYTES / 20);
    await migrate(a, moved, uri);
    await a.kill();
    const half = Number(await moved.must('wc -c < /run/got1'));
    expect(half).toBeLessThan(BYTES);
    await Promise.all(sending);
    for (const index of LAYOUTS.keys()) {
      await moved.must(`until [ -e /run/end${index} ]; do sleep 0.05; done`);
      expect(await moved.must(`sha256sum < /run/got${index}`)).toBe(sum);
      expect(await b.must(`ping -c 3 -i 0.05 -W 5 10.0.${index}.1`)).toMatch(/ 0% packet loss/);
    }
    const [, received] = /(\d+) packets received/.exec(await pings) ?? [];
    // Some find nobody while neither of them runs.
    expect(Number(received)).toBeGreaterThan(100);
    await Promise.all([moved.stop(), b.stop()]);
    expect(problemsOf(await dataplane.stop())).toEqual([]);
  },
);
