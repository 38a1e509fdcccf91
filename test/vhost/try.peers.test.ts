import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { bootGuest } from '../support/qemu.ts';
import { parseConfig, startDataplane } from '#dist/dataplane/index.js';

test('ping', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'rw-'));
  const config = parseConfig(
    JSON.stringify({
      version: 1,
      lcores: [{ idle: 'park' }],
      ports: {
        a: { type: 'vhost-user', socket: join(folder, 'a.sock') },
        b: { type: 'vhost-user', socket: join(folder, 'b.sock') },
      },
    }),
    { file: 't.yaml' },
  );
  const dataplane = await startDataplane(config);
  const guests = [];
  for (const [i, name] of ['a', 'b'].entries()) {
    guests.push(bootGuest({ name, netdevs: [{ socket: join(folder, `${name}.sock`), mac: `52:54:00:00:00:0${i + 1}`, packed: i === 1 }] }));
  }
  const [a, b] = await Promise.all(guests);
  console.log(await a.must('cat /sys/class/net/eth0/device/features'));
  await a.must('ip addr add 10.0.0.1/24 dev eth0; ip link set eth0 up');
  await b.must('ip addr add 10.0.0.2/24 dev eth0; ip link set eth0 up');
  console.log((await a.run('ping -c 5 -i 0.2 10.0.0.2')).output);
  console.log(JSON.stringify(dataplane.snapshot().ports.map(({ name, rx, tx, fault }: any) => ({ name, rx, tx, fault }))));
  await a.kill();
  await b.kill();
  await dataplane.stop();
});
