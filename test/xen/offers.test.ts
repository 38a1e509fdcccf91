import { type NetfrontOptions, XenbusState } from 'ringway/xen';
import { expect, test } from 'vitest';
import { connect, disconnect, exchange, type VifRig } from './support/exchange.ts';
import { frameOf, makeVif, type Served, settle } from './support/vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';
const BACK = '/local/domain/0/backend/vif/1/0';

/** Without these there is no device. */
const ALWAYS = ['feature-rx-copy', 'multi-queue-max-queues', 'max-ring-page-order'];
/** Keys of a backend, each a frontend that wants what it is for, and what that frontend asks for then, and for nothing else. */
const OFFERS: readonly (readonly [offer: string, value: number, path: NetfrontOptions['path'], asks: string[]])[] = [
  ['feature-staging-grants', 1, { kind: 'staging', tx: 256, rx: 256 }, ['rx-data-len', 'tx-data-len']],
  ['feature-persistent', 1, { kind: 'persistent' }, ['feature-persistent']],
  ['feature-data-ring', 1, { kind: 'data-ring', order: 3 }, ['data-ring-ref']],
  ['feature-ctrl-ring', 1, { kind: 'control' }, ['ctrl-ring-ref', 'event-channel-ctrl']],
  ['feature-split-event-channels', 1, { kind: 'copy' }, ['event-channel-rx', 'event-channel-tx']],
  ['feature-xdp-headroom', 1, { kind: 'copy' }, ['xdp-headroom']],
  ['multi-queue-max-queues', 2, { kind: 'copy' }, ['multi-queue-num-queues']],
  ['max-ring-page-order', 1, { kind: 'copy' }, ['rx-ring-page-order', 'tx-ring-page-order']],
  // What a frontend takes it says to any backend; what it sends depends on what the backend takes.
  ...['feature-sg', 'feature-gso-tcpv4', 'feature-gso-tcpv6', 'feature-ipv6-csum-offload'].map(
    (key) => [key, 1, { kind: 'copy' }, []] as const satisfies [string, number, NetfrontOptions['path'], string[]],
  ),
  // Nobody asks for it: Linux's frontend does not either.
  ['feature-multicast-control', 1, { kind: 'copy' }, []],
];
const ASKED = [...OFFERS.flatMap(([, , , asks]) => asks), 'request-multicast-control'];

test.each(OFFERS)(
  'a backend that offers %s (%i) alone is asked for what that is for',
  async (offer, value, path, asks) => {
    const rig = await makeVif({
      mode: 'plain',
      path,
      ringOrder: 1,
      queues: { front: 2, back: 2 },
      hash: true,
      setHash: { flags: 15, key: new Uint8Array(40).fill(0x6d), mapping: [0, 1] },
    });
    const { netback, netfront, driver, guest } = rig;
    const stops = [driver.startEvents(), guest.startEvents()];
    await netfront.bus.setHeadroom(256);
    await netback.start();
    const { store } = driver.hypervisor;
    const keys = (await store.directory(BACK)).filter((key) => /^(feature|multi|max)-/.test(key));
    expect(keys).toContain(offer);
    for (const key of keys)
      if (key !== 'feature-rx-copy') await store.write(`${BACK}/${key}`, ALWAYS.includes(key) ? '1' : '0');
    await store.write(`${BACK}/max-ring-page-order`, '0');
    await store.write(`${BACK}/${offer}`, String(value));
    await netfront.start();
    await settle();
    expect([netback.error, netfront.error]).toEqual([undefined, undefined]);
    expect([netback.state, netfront.state]).toEqual([4, 4]);
    const written = [
      ...(await store.directory(FRONT)),
      ...(value === 2 ? await store.directory(`${FRONT}/queue-0`) : []),
    ];
    expect(ASKED.filter((key) => written.includes(key)).sort()).toEqual(asks);
    expect(netfront.queues.length).toBe(offer === 'multi-queue-max-queues' ? 2 : 1);
    expect(await netfront.bus.control?.request(1)).toEqual(
      offer === 'feature-ctrl-ring' ? { status: 0, data: 15 } : undefined,
    );
    exchange(rig, 7, 40, offer === 'feature-sg' ? 65_534 : 3840);
    await disconnect(rig);
    for (const stop of stops) stop();
  },
);

/** Bytes before a packet that the backend sends now. */
function headroomOf(rig: VifRig, back = rig.netback): number {
  const front = rig.netfront.queues[0] as Served;
  const word = (address: number): number => rig.arena.u32[address >>> 2] ?? 0;
  const sring = word(front.rx.address);
  const slot = word(sring + 8) & (front.rx.slots - 1);
  rig.make([frameOf(1, 60)]);
  expect(back.queues[0]?.send(rig.burst, 1)).toBe(1);
  expect(rig.receive(front)).toEqual([frameOf(1, 60)]);
  return word(sring + 64 + slot * 8) >>> 16;
}

test('a frontend wants bytes before a packet, others, and none, before it is connected and while it is', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, events, driver } = rig;
  await netfront.bus.setHeadroom(256);
  await connect(rig);
  expect(headroomOf(rig)).toBe(256);
  const seen = [...events];
  for (const bytes of [2048, 0, 64]) {
    await netfront.bus.setHeadroom(bytes);
    await settle();
    expect([netback.state, netfront.state]).toEqual([4, 4]);
    expect(headroomOf(rig)).toBe(bytes);
  }
  // One that changes its mind while the backend reads gets the last.
  const all = [1, 2, 3].map((bytes) => netfront.bus.setHeadroom(bytes));
  expect(netfront.state).toBe(XenbusState.connected);
  await Promise.all(all);
  await settle();
  expect([netfront.state, headroomOf(rig)]).toEqual([4, 3]);
  // Queues stay where they are.
  expect(events).toEqual(seen);
  for (const bytes of [-1, 2049, 0.5]) {
    await expect(netfront.bus.setHeadroom(bytes)).rejects.toThrow(
      `front: bytes before a packet ${bytes}, must be a whole number from 0 to 2048`,
    );
  }
  // The next connection is told, too.
  await netfront.close();
  await settle();
  await netfront.start();
  await settle();
  expect([netfront.state, headroomOf(rig)]).toEqual([4, 3]);
  expect(await driver.hypervisor.store.read(`${FRONT}/xdp-headroom`)).toBe('3');
});

test('a backend that does not answer keeps nothing from passing, and the one that takes its place has read it', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, driver } = rig;
  await connect(rig);
  // As one that has ended without a word.
  await netback.bus.leave();
  await netfront.bus.setHeadroom(512);
  await settle();
  expect(netfront.state).toBe(XenbusState.reconfiguring);
  const next = rig.makeBack();
  await next.start();
  await settle();
  expect([next.state, netfront.state]).toEqual([4, 4]);
  expect(headroomOf(rig, next)).toBe(512);
  await netfront.close();
  await settle();
  expect([next.state, netfront.state, driver.costs().maps - driver.costs().unmaps]).toEqual([6, 6, 0]);
});
