import { expect, test } from 'vitest';
import { parseConfig } from '#build/config/index.js';

const read = (ports: object) => parseConfig(JSON.stringify({ version: 1, ports }), { file: 't.yaml' });

test('the ends of a Xen device', () => {
  const { ports } = read({
    eth0: { type: 'xen-netfront', backend: 'vif', txDataLength: 4096, queues: 2 },
    vif: { type: 'xen-netback', paths: [] },
  });
  expect(ports).toMatchObject([
    {
      backend: 'vif',
      path: 'staging',
      txDataLength: 4096,
      rxDataLength: 256,
      dataRingOrder: 5,
      hash: false,
      queues: 2,
      ringOrder: 0,
      offloads: true,
    },
    { paths: [], queues: 1, ringOrder: 0, offloads: true, xen: 'process' },
  ]);
});

test.each([
  ['lost', /ports\.eth0\.backend: "lost" is not a port/],
  ['other', /ports\.eth0\.backend: "other" is no xen-netback port; name one, or make it one/],
  ['domain', /ports\.eth0\.backend: "domain" serves a domain of the system, and no port; name another/],
  ['vif', /ports\.eth1\.backend: "vif" is the backend of eth0 already, and takes one frontend/],
])('a configuration whose frontend names %s is refused', (backend, message) => {
  const eth0 = { type: 'xen-netfront', backend };
  expect(() =>
    read({
      eth0,
      vif: { type: 'xen-netback' },
      domain: { type: 'xen-netback', xen: 'system' },
      other: { type: 'null' },
      ...(backend === 'vif' ? { eth1: eth0 } : {}),
    }),
  ).toThrow(message);
});
