import { expect, test } from 'vitest';
import { LCORE_BYTES, LCORE_NANOSECONDS, LCORE_SECONDS } from '#build/lcore/layout.js';
import { SLOT_PORT } from '#build/memory/layout.js';
import { XenPort } from '#build/ports/xen-port.js';
import { DROP_LINK_DOWN } from '#build/telemetry/layout.js';
import { VIFSTEER_BYTES } from '#build/xen/control-layout.js';
import { connect } from '../xen/support/exchange.ts';
import { frameOf, makeVif, type Served, settle, type VifRigOptions } from '../xen/support/vif-rig.ts';

const RATE = '/local/domain/0/backend/vif/1/0/rate';

/** A backend's port, at a time that is set, and the frontend of its device. */
async function open(options: Partial<VifRigOptions> = {}) {
  const rig = await makeVif({ mode: 'plain', hash: true, ...options });
  const stops = [rig.driver.startEvents(), rig.guest.startEvents()];
  await connect(rig);
  await settle();
  const { arena, pool, hashState, burst } = rig;
  const lcore = arena.allocate('lcore', LCORE_BYTES);
  const work = arena.allocate('work', VIFSTEER_BYTES);
  const lost = new Map<number, number>();
  const count = (reason: number, n: number): void => {
    lost.set(reason, (lost.get(reason) ?? 0) + n);
  };
  const context = { arena, index: 0, queue: 0, lcore, cache: pool.caches[0] ?? 0, refuse: count, lost: count };
  const port = new XenPort(context, { side: 'back', hash: hashState, work });
  port.set('xenQueues', rig.netback.bus.queues);
  return {
    rig,
    port,
    lost,
    front: rig.netfront.queues[0] as Served,
    setTime(ms: number): void {
      arena.u32[(lcore + LCORE_SECONDS) >>> 2] = Math.floor(ms / 1000);
      arena.u32[(lcore + LCORE_NANOSECONDS) >>> 2] = (ms % 1000) * 1e6;
    },
    /** Sends frames; what is not taken is freed. Returns how many are. */
    send(frames: readonly Uint8Array[]): number {
      rig.make(frames);
      const sent = port.txBurst(burst, frames.length);
      rig.free(sent, frames.length - sent);
      return sent;
    },
    end(): void {
      expect(rig.held()).toBe(0);
      for (const stop of stops) stop();
    },
  };
}

const few = (n: number): Uint8Array[] => Array.from({ length: n }, (_, i) => frameOf(i, 60));

test('a frontend that asks for no packets is the port’s fault after ten seconds, until it asks again', async () => {
  const { rig, port, lost, front, setTime, send, end } = await open();
  setTime(1_000_000);
  for (let i = 0; i < 8; i++) expect(send(few(32))).toBe(32);
  expect(send(few(1))).toBe(0);
  setTime(1_009_999);
  expect([send(few(1)), port.info()]).toEqual([0, { done: false }]);
  setTime(1_010_000);
  expect(send(few(7))).toBe(7);
  expect(port.info().fault).toMatch(/asks for no packets on queue 0: they are dropped until it does/);
  expect([...lost]).toEqual([[DROP_LINK_DOWN, 7]]);
  while (rig.receive(front).length > 0);
  expect([send(few(7)), port.info()]).toEqual([7, { done: false }]);
  expect(rig.receive(front).length).toBe(7);
  end();
});

test('a port that may not take more yet rests until it may', async () => {
  const { rig, port, front, setTime, end } = await open();
  setTime(1_000_000);
  await rig.driver.hypervisor.store.write(RATE, '100,40000');
  await settle();
  rig.make(few(3));
  front.send(rig.burst, 3);
  // Two are more than a window's 100 bytes; then 20 are owed.
  expect([port.rxBurst(rig.burst, 32), port.rest()]).toEqual([2, 40]);
  rig.free(0, 2);
  setTime(1_000_030);
  expect([port.rxBurst(rig.burst, 32), port.rest()]).toEqual([0, 10]);
  setTime(1_000_040);
  expect([port.rest(), port.rxBurst(rig.burst, 32)]).toEqual([0, 1]);
  rig.free(0, 1);
  // Nothing waits.
  expect(port.rest()).toBeGreaterThan(100);
  end();
});

test('the hash of a packet for the only queue is told, too', async () => {
  const setHash = { flags: 1, key: new Uint8Array(40).fill(0x6d), mapping: [0] };
  const rig = await open({ setHash });
  const packet = frameOf(1, 60);
  packet.set([8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 12);
  expect(rig.send([packet, frameOf(2, 60)])).toBe(2);
  expect(rig.front.receive(rig.rig.burst, 32)).toBe(2);
  const flow = (i: number): number => rig.rig.arena.u32[(rig.rig.burst + i * 16 + 8) >>> 2] ?? 0;
  expect(flow(0)).not.toBe(0);
  expect(flow(1)).toBe(0);
  rig.rig.free(0, 2);
  rig.end();
});

test('what each queue of a frontend received is sent back on it, from where it lies', async () => {
  const path = { kind: 'staging', tx: 256, rx: 256 } as const;
  const { rig, end } = await open({ path, queues: { front: 2, back: 2 } });
  const { arena, pool, burst, hashState } = rig;
  const lcore = arena.allocate('front lcore', LCORE_BYTES);
  const share = { side: 'front', hash: hashState, work: arena.allocate('front work', 2 * VIFSTEER_BYTES) } as const;
  const none = (): void => expect.unreachable();
  const context = { arena, index: 1, lcore, cache: pool.caches[0] ?? 0, refuse: none, lost: none };
  const ports = [0, 1].map((queue) => new XenPort({ ...context, queue }, share));
  for (const port of ports) port.set('xenQueues', rig.netfront.bus.queues);
  const [first, second] = ports as [XenPort, XenPort];
  const backs = rig.netback.queues as [Served, Served];
  /** What the backend receives on a queue: each frame, and whether its request names an rx buffer. */
  const answers = (queue: 0 | 1): [Uint8Array, boolean][] => {
    const { tx } = rig.netfront.queues[queue] as Served;
    const sring = arena.u32[tx.address >>> 2] ?? 0;
    const from = arena.u32[(sring + 8) >>> 2] ?? 0;
    const lends = (i: number): boolean => ((arena.u16[(sring + 64 + (from + i) * 12 + 6) >>> 1] ?? 0) & 16) !== 0;
    // Responses lie where requests were.
    const lent = Array.from({ length: 32 }, (_, i) => lends(i));
    return rig.receive(backs[queue]).map((frame, i) => [frame, lent[i] === true]);
  };
  for (const queue of [1, 0, 1] as const) {
    // One of them is longer than a staging buffer: it goes by the queue that it came on, too.
    const sent = [...few(2), frameOf(9, 300)];
    rig.make(sent);
    expect(backs[queue].send(burst, 3)).toBe(3);
    expect((queue === 0 ? first : second).rxBurst(burst, 32)).toBe(3);
    for (let i = 0; i < 3; i++) arena.u8[burst + i * 16 + SLOT_PORT] = context.index;
    expect(first.txBurst(burst, 3)).toBe(3);
    expect(answers(queue)).toEqual(sent.map((frame) => [frame, frame.length === 60]));
  }
  // What came from elsewhere goes by its flow, though it lies in the same buffers.
  rig.make(few(32));
  expect(first.txBurst(burst, 32)).toBe(32);
  const others = [...answers(0), ...answers(1)];
  expect(others.map(([frame]) => frame[0]).sort()).toEqual(
    few(32)
      .map((frame) => frame[0])
      .sort(),
  );
  expect(others.filter(([, lends]) => lends)).toEqual([]);
  // One that is closed once more takes no other with it.
  first.set('xenQueues', []);
  second.close();
  second.close();
  first.set('xenQueues', rig.netfront.bus.queues);
  rig.make(few(3));
  expect(first.txBurst(burst, 3)).toBe(3);
  expect(rig.receive(backs[0])).toHaveLength(3);
  first.close();
  end();
});
