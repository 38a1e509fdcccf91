import { XenbusState } from 'ringway/xen';
import { expect, test } from 'vitest';
import { connect, disconnect, exchange } from './support/exchange.ts';
import { MODES } from './support/rig.ts';
import { frameOf, makeVif, settle } from './support/vif-rig.ts';

const FRONT = '/local/domain/1/device/vif/0';
const BACK = '/local/domain/0/backend/vif/1/0';

const matrix = MODES.flatMap((mode) =>
  [1, 2].flatMap((queues) => [true, false].map((split) => [mode, queues, split] as const)),
);

test.each(matrix)(
  '%s, %i queues, split channels %s: packets of all sizes get through whole, both ways',
  async (mode, queues, split) => {
    const rig = await makeVif({ mode, queues: { front: queues, back: queues }, split: { front: split, back: true } });
    await connect(rig);
    expect(rig.events).toEqual([`back connected ${queues}`, `front connected ${queues}`]);
    exchange(rig, queues, 120);
    const { maps, copies, hypercalls } = rig.driver.costs();
    expect(maps).toBe(2 * queues);
    // A burst is one hypercall, however many copies it has.
    expect(copies).toBeGreaterThan(hypercalls);
    await disconnect(rig);
  },
);

test('a frontend that closes comes back, and so does a backend', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, events, make, burst, receive } = rig;
  await netfront.start();
  await settle();
  expect(netfront.state).toBe(XenbusState.initialising);
  await netback.start();
  await settle();
  for (let round = 0; round < 3; round++) {
    expect([netback.state, netfront.state]).toEqual([XenbusState.connected, XenbusState.connected]);
    make([frameOf(round, 60)]);
    expect(netfront.queues[0]?.send(burst, 1)).toBe(1);
    expect(receive(netback.queues[0])).toEqual([frameOf(round, 60)]);
    await netfront.close();
    await settle();
    expect([netback.state, netfront.state]).toEqual([XenbusState.closed, XenbusState.closed]);
    expect([netback.queues, netfront.queues, rig.guest.grants.inUse]).toEqual([[], [], 0]);
    await netfront.start();
    await settle();
  }
  await netback.close();
  await settle();
  expect([netback.state, netfront.state]).toEqual([XenbusState.closed, XenbusState.closed]);
  const again = rig.makeBack('again');
  await again.start();
  await netfront.start();
  await settle();
  expect([again.state, netfront.state]).toEqual([XenbusState.connected, XenbusState.connected]);
  expect(events.slice(-2)).toEqual(['again connected 1', 'front connected 1']);
});

test.each([
  ['closed', 'close'],
  ['ended', 'destroy'],
] as const)('a frontend that was %s begins again, and finds a backend that has waited for it', async (_, end) => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  await rig.netfront.bus[end]();
  await settle();
  await rig.netback.close();
  await rig.netback.start();
  // It sees that, while it is closed.
  await settle();
  await rig.netfront.start();
  await settle();
  expect([rig.netback.state, rig.netfront.state]).toEqual([XenbusState.connected, XenbusState.connected]);
});

test.each([
  { kind: 'copy' },
  { kind: 'staging', tx: 256, rx: 256 },
  { kind: 'persistent' },
  { kind: 'control' },
  { kind: 'data-ring', order: 2 },
] as const)('a backend that leaves is followed by one that goes on where it was, %j', async (path) => {
  const rig = await makeVif({ mode: 'plain', path });
  await connect(rig);
  exchange(rig, 1, 10, 4096);
  const { netback, netfront, burst, make, receive } = rig;
  make([frameOf(1, 60)]);
  expect(netfront.queues[0]?.send(burst, 1)).toBe(1);
  await netback.bus.leave();
  await settle();
  expect([netback.state, netfront.state]).toEqual([XenbusState.connected, XenbusState.connected]);
  expect(netback.queues).toEqual([]);
  const { maps, unmaps } = rig.driver.costs();
  expect(maps - unmaps).toBe(0);
  make([frameOf(2, 2000)]);
  expect(netfront.queues[0]?.send(burst, 1)).toBe(1);
  const again = rig.makeBack('again');
  await again.start();
  await settle();
  expect([again.error, again.state, netfront.state]).toEqual([undefined, XenbusState.connected, XenbusState.connected]);
  expect(receive(again.queues[0])).toEqual([frameOf(1, 60), frameOf(2, 2000)]);
  const after = { ...rig, netback: again };
  exchange(after, 2, 10, 4096);
  await disconnect(after);
});

test('a backend that leaves a device which the tools take away closes it', async () => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  await rig.driver.hypervisor.store.write(`${BACK}/online`, '0');
  await rig.netback.bus.leave();
  await settle();
  expect([rig.netback.state, rig.netfront.state]).toEqual([XenbusState.closed, XenbusState.closed]);
});

test('a frontend that begins anew, its end unseen, is offered to again', async () => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  // As when the frontend's domain was replaced between two looks of the backend.
  await rig.guest.hypervisor.store.write(`${FRONT}/state`, String(XenbusState.initialising));
  await settle();
  expect([rig.netback.state, rig.netback.queues, rig.events.at(-1)]).toEqual([
    XenbusState.initWait,
    [],
    'back disconnected',
  ]);
});

test('what the tools have removed a backend does not make again', async () => {
  const rig = await makeVif({ mode: 'plain' });
  await connect(rig);
  const { store } = rig.driver.hypervisor;
  await store.remove(BACK);
  await store.remove(FRONT);
  await settle();
  expect(rig.netback.queues).toEqual([]);
  await rig.netback.close();
  await expect(store.read(`${BACK}/state`)).rejects.toMatchObject({ error: 'ENOENT' });
});

test('however often a frontend changes its state, one look waits', async () => {
  const rig = await makeVif({ mode: 'plain' });
  await rig.netback.start();
  await settle();
  const { store } = rig.driver.hypervisor;
  const read = store.read.bind(store);
  let reads = 0;
  store.read = (path) => {
    reads++;
    return read(path);
  };
  const { store: own } = rig.guest.hypervisor;
  await Promise.all(Array.from({ length: 500 }, (_, i) => own.write(`${FRONT}/state`, String(1 + (i % 2)))));
  await settle();
  expect(reads).toBeLessThan(250);
});

test('the end with fewer queues decides, and a peer without a feature is not asked for it', async () => {
  const fewer = await makeVif({ mode: 'plain', queues: { front: 2, back: 1 }, split: { front: true, back: false } });
  await fewer.netback.start();
  await fewer.netfront.start();
  await settle();
  expect([fewer.netback.queues.length, fewer.netfront.queues.length]).toEqual([1, 1]);
  const { store } = fewer.driver.hypervisor;
  expect(await store.directory(FRONT)).toContain('event-channel');
  expect(await store.directory(FRONT)).not.toContain('event-channel-tx');

  const plain = await makeVif({ mode: 'plain', front: { sg: false }, back: { sg: false } });
  await plain.netback.start();
  await plain.netfront.start();
  await settle();
  for (const [from, to] of [
    [plain.netfront, plain.netback],
    [plain.netback, plain.netfront],
  ] as const) {
    plain.make([frameOf(1, 4096), frameOf(2, 4097), frameOf(3, 60)]);
    expect(from.queues[0]?.send(plain.burst, 3)).toBe(3);
    expect(plain.receive(to.queues[0]).map(({ length }) => length)).toEqual([4096, 60]);
    expect(from.queues[0]?.drops().sent.long).toBe(1);
  }
  expect(plain.held()).toBe(0);
});

/** An IPv4 packet with a TCP segment whose checksum is not there yet. */
function tcpFrame(bytes: number): Uint8Array {
  const frame = new Uint8Array(bytes);
  frame.set([8, 0, 0x45, 0], 12);
  frame.set([(bytes - 14) >> 8, (bytes - 14) & 255], 16);
  frame.set([64, 6], 22);
  frame.set([10, 0, 0, 1, 10, 0, 0, 2, 1, 0, 2, 0], 26);
  frame[46] = 0x50;
  return frame;
}

test('checksums and segments that are left to do stay so, both ways', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, arena, burst, make, free } = rig;
  await netback.start();
  await netfront.start();
  await settle();
  for (const [from, to] of [
    [netfront, netback],
    [netback, netfront],
  ] as const) {
    make([tcpFrame(60), tcpFrame(9000)]);
    for (const i of [0, 1]) {
      const slot = burst + i * 16;
      const buffer = arena.u32[slot >>> 2] ?? 0;
      // NEEDS_CSUM, then TCPV4 in the second; header length, segment size, checksum start and offset.
      arena.u8.set([1, i], buffer + 28);
      arena.u16.set([54, i * 1448, 34, 16], (buffer + 30) >>> 1);
      arena.u8[slot + 13] = (arena.u8[slot + 13] ?? 0) | 8;
    }
    expect(from.queues[0]?.send(burst, 2)).toBe(2);
    expect(to.queues[0]?.receive(burst, 32)).toBe(2);
    for (const i of [0, 1]) {
      const slot = burst + i * 16;
      const buffer = arena.u32[slot >>> 2] ?? 0;
      expect((arena.u8[slot + 13] ?? 0) & 8).toBe(8);
      expect([...arena.u8.slice(buffer + 28, buffer + 30)]).toEqual([1, i]);
      const [header, size, start, offset] = arena.u16.subarray((buffer + 30) >>> 1, (buffer + 38) >>> 1);
      expect([header, size, start, offset]).toEqual([i === 0 ? 0 : 54, i * 1448, 34, 16]);
    }
    free(0, 2);
  }
  // One that asks for a checksum, and has no header that holds one, is refused.
  make([frameOf(1, 60)]);
  const buffer = arena.u32[burst >>> 2] ?? 0;
  arena.u8.set([1, 0], buffer + 28);
  arena.u16.set([0, 0, 34, 16], (buffer + 30) >>> 1);
  arena.u8[burst + 13] = 8;
  netfront.queues[0]?.send(burst, 1);
  expect(netback.queues[0]?.receive(burst, 32)).toBe(0);
  expect(netback.queues[0]?.drops().received.bad).toBe(1);
  // Its answer is an error.
  netfront.queues[0]?.receive(burst, 32);
  expect(netfront.queues[0]?.drops().sent.failed).toBe(1);
  expect(rig.held()).toBe(0);
});

test.each([
  ['a ring reference that is none', 'tx-ring-ref', '1', /cannot be mapped: -1/],
  ['a ring reference outside the table', 'rx-ring-ref', '4294967295', /cannot be mapped: -3/],
  ['a ring reference that is no number', 'tx-ring-ref', '-1', /must be a whole number/],
  ['a ring reference that wraps', 'tx-ring-ref', '4294967304', /must be a whole number/],
  ['an event channel that is not offered', 'event-channel-tx', '200', /does not offer/],
  ['many queues', 'multi-queue-num-queues', '2', /from 0 to 1/],
  ['no queue', 'multi-queue-num-queues', '0', /0 queues/],
  ['no request-rx-copy', 'request-rx-copy', '0', /request-rx-copy/],
])('a frontend with %s is let go, and nothing of it is kept', async (_, key, value, reason) => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, guest, driver } = rig;
  const { store } = guest.hypervisor;
  // Between its own write and the backend's look.
  await store.watch(`${FRONT}/state`, 'meddler', async () => {
    if ((await store.read(`${FRONT}/state`)) === '4') await store.write(`${FRONT}/${key}`, value);
  });
  await netback.start();
  await netfront.start();
  await settle();
  expect(String(netback.error)).toMatch(reason);
  expect([netback.state, netfront.state]).toEqual([XenbusState.closed, XenbusState.closed]);
  expect([guest.grants.inUse, driver.costs().maps]).toEqual([0, driver.costs().unmaps]);
  expect(rig.arena.regions().filter(({ name }) => name.startsWith('back '))).toEqual([]);
  expect(netback.queues).toEqual([]);
});

test('a domain that is destroyed is let go, and its memory comes back', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, xen, make, burst, receive } = rig;
  await netback.start();
  await netfront.start();
  await settle();
  make([frameOf(1, 60), frameOf(2, 60)]);
  netfront.queues[0]?.send(burst, 2);
  xen.destroyDomain(1);
  // The ring is still mapped; grants are not taken any more.
  expect(receive(netback.queues[0])).toEqual([]);
  expect(netback.queues[0]?.drops().received.failed).toBe(2);
  await settle();
  expect(netback.state).toBe(XenbusState.closed);
  expect(xen.createDomain(1, { pages: 4 }).pages).toBe(4);
  expect(rig.held()).toBe(0);
  expect(await rig.driver.hypervisor.store.read(`${BACK}/state`)).toBe('6');
});

test('a packet whose grant is gone is dropped, and answered; the rest of its burst gets through', async () => {
  const rig = await makeVif({ mode: 'plain' });
  const { netback, netfront, guest, arena, make, burst, receive } = rig;
  await netback.start();
  await netfront.start();
  await settle();
  make([frameOf(1, 60), frameOf(2, 5000), frameOf(3, 60)]);
  netfront.queues[0]?.send(burst, 3);
  // The second page of the second packet: the third that was taken.
  const sring = netback.queues[0]?.tx.address ?? 0;
  const slots = (arena.u32[sring >>> 2] ?? 0) + 64;
  const ref = arena.u32[(slots + 2 * 12) >>> 2] ?? 0;
  arena.u16[(guest.grants.address + ref * 8) >>> 1] = 0;
  expect(receive(netback.queues[0])).toEqual([frameOf(1, 60), frameOf(3, 60)]);
  expect(netback.queues[0]?.drops().received.failed).toBe(1);
  receive(netfront.queues[0]);
  expect(netfront.queues[0]?.drops().sent.failed).toBe(1);
  expect(rig.held()).toBe(0);
});

test('without buffers packets are dropped and answered, and come again when there are some', async () => {
  const rig = await makeVif({ mode: 'plain', buffers: 64 });
  const { netback, netfront, make, burst, receive, free } = rig;
  await netback.start();
  await netfront.start();
  await settle();
  make([frameOf(1, 60), frameOf(2, 60)]);
  netfront.queues[0]?.send(burst, 2);
  make(Array.from({ length: 32 }, (_, i) => frameOf(i, 3000)));
  expect(netback.queues[0]?.receive(burst + 32 * 16 - 16, 1)).toBe(0);
  expect(netback.queues[0]?.drops().received.empty).toBe(1);
  free(0, 32);
  expect(receive(netback.queues[0])).toEqual([frameOf(2, 60)]);
  expect(rig.held()).toBe(0);
});
