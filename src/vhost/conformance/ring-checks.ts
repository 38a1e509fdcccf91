import { VIRTIO_F } from '../../virtio/features.ts';
import { VIRTIO_NET_F } from '../../virtio/net-features.ts';
import type { VirtqueueLayout } from '../../virtio/rings.ts';
import { PROTOCOL_F, REQUEST } from '../protocol.ts';
import { type Check, CheckFailed, CheckSkipped, type Needs, quiet, same } from './check.ts';

/** More than a lap of a ring of 64. */
const BURST = 16;
const BURSTS = 7;
/** A backend that polls looks more often than that. */
const POLLED_MS = 800;
const PACKED_SECTION = 'A vring descriptor index for packed virtqueues';

async function laps(bench: Parameters<Check['run']>[0], layout: VirtqueueLayout, size = 64) {
  const session = await bench.run({ layout, size });
  for (let i = 0; i < BURSTS; i++) await session.ring.burst(Math.min(BURST, Math.floor(size / 4)));
  return session;
}

function checksOf(layout: VirtqueueLayout): Check[] {
  const features = [VIRTIO_F.VERSION_1, ...(layout === 'packed' ? [VIRTIO_F.RING_PACKED] : [])];
  const needs: Needs = { features };
  const withEvents: Needs = { features: [...features, VIRTIO_F.RING_EVENT_IDX] };
  const base = layout === 'packed' ? PACKED_SECTION : 'Front-end message types: GET_VRING_BASE';
  const calls = (eventIdx: boolean): Check[] => {
    const name = `${layout}${eventIdx ? '-event-idx' : ''}-call`;
    const section = layout === 'packed' ? 'virtio 2.7.10' : eventIdx ? 'virtio 2.6.7.2' : 'virtio 2.6.7';
    return [
      {
        name,
        section,
        needs: eventIdx ? withEvents : needs,
        async run(bench) {
          const { ring } = await bench.run({ layout, eventIdx });
          for (let i = 0; i < BURSTS; i++) {
            ring.driver.queue.setNotify(true);
            ring.calls();
            await ring.burst(BURST);
            // The call may come a moment after the chains.
            await quiet(5);
            if (ring.calls() === 0) throw new CheckFailed(`a call for burst ${i + 1}`, 'none');
          }
        },
      },
      {
        name: `${name}-suppressed`,
        section,
        needs: eventIdx ? withEvents : needs,
        async run(bench) {
          const { ring } = await bench.run({ layout, eventIdx });
          ring.driver.queue.setNotify(false);
          await ring.burst(1);
          await quiet(5);
          ring.calls();
          for (let i = 0; i < BURSTS; i++) {
            ring.driver.queue.setNotify(false);
            await ring.burst(BURST);
          }
          await quiet(5);
          const n = ring.calls();
          if (n > 0) throw new CheckFailed('no calls, which the driver does not want', String(n));
        },
      },
    ];
  };
  return [
    {
      name: `${layout}-burst`,
      section: layout === 'split' ? 'virtio 2.6.8' : 'virtio 2.7.13',
      needs,
      async run(bench) {
        const { ring } = await laps(bench, layout);
        await ring.untouched('nothing is out');
      },
    },
    {
      name: `${layout}-receive-untouched`,
      section: 'Ring states',
      type: 'net',
      needs,
      async run(bench) {
        const { receive, ring } = await bench.run({ layout });
        receive.offer(BURST);
        receive.notify();
        await ring.burst(1);
        await receive.untouched('there is no frame to receive');
      },
    },
    {
      name: `${layout}-disabled`,
      section: 'Ring states',
      type: 'net',
      needs: { features, protocol: [] },
      async run(bench) {
        const session = await bench.run({ layout }, { disabled: true });
        const { ring, receive } = session;
        receive.offer(BURST);
        receive.notify();
        ring.submit(BURST);
        ring.notify();
        await receive.untouched('the ring is disabled');
        // What was drained meanwhile came back; the rest does now.
        const drained = ring.reap().length;
        for (const each of session.rings) await session.enable(each, true);
        ring.notify();
        await ring.served(BURST - drained, 'chains to come back once the ring is enabled');
        await ring.burst(BURST);
      },
    },
    {
      name: `${layout}-enable-again`,
      section: 'Ring states; SET_VRING_ENABLE',
      type: 'net',
      needs,
      async run(bench) {
        const session = await bench.run({ layout });
        for (let i = 0; i < 5; i++) {
          await session.ring.burst(BURST);
          for (const each of session.rings) await session.enable(each, false);
          for (const each of session.rings) await session.enable(each, true);
        }
        await session.ring.burst(BURST);
      },
    },
    {
      name: `${layout}-base`,
      section: base,
      needs,
      async run(bench) {
        const session = await laps(bench, layout);
        same('base', await session.stop(session.ring), session.ring.driver.queue.base());
      },
    },
    {
      name: `${layout}-base-again`,
      section: base,
      needs,
      async run(bench) {
        const session = await laps(bench, layout);
        const first = await session.stop(session.ring);
        same('the same base again', await session.stop(session.ring), first);
      },
    },
    {
      name: `${layout}-base-receive`,
      section: base,
      type: 'net',
      needs,
      async run(bench) {
        const session = await bench.run({ layout });
        session.receive.offer(BURST);
        session.receive.notify();
        await session.ring.burst(1);
        // Buffers without a frame were not used: who comes next is to find them.
        same('base', await session.stop(session.receive), session.firstBase);
      },
    },
    {
      name: `${layout}-stop-and-go-on`,
      section: 'Ring states',
      needs,
      async run(bench) {
        const session = await laps(bench, layout);
        const { ring } = session;
        for (let i = 0; i < 3; i++) {
          const stopped = await session.stop(ring);
          ring.submit(BURST);
          await ring.untouched('the ring is stopped', 20);
          await session.start(ring, { base: stopped });
          await ring.served(BURST, 'chains to come back from the base');
          await ring.burst(BURST);
        }
      },
    },
    {
      name: `${layout}-start-elsewhere`,
      section: layout === 'packed' ? PACKED_SECTION : 'Front-end message types: SET_VRING_BASE',
      needs,
      async run(bench) {
        const session = await bench.open({ layout });
        // Well into the second lap.
        const there = session.ring.advance(80);
        await session.startAll({ base: there });
        for (let i = 0; i < BURSTS; i++) await session.ring.burst(BURST);
      },
    },
    {
      name: `${layout}-kick`,
      section: 'Front-end message types: SET_VRING_KICK; virtio 2.6.10',
      needs,
      async run(bench) {
        const { ring } = await bench.run({ layout });
        for (let i = 0; i < 5; i++) {
          // Long enough for a backend that sleeps to do so.
          await quiet(10 + 10 * i);
          await ring.burst(1);
        }
      },
    },
    {
      name: `${layout}-kick-event-idx`,
      section: 'Front-end message types: SET_VRING_KICK; virtio 2.6.10',
      needs: withEvents,
      async run(bench) {
        const { ring } = await bench.run({ layout, eventIdx: true });
        for (let i = 0; i < 5; i++) {
          await quiet(10 + 10 * i);
          await ring.burst(1);
        }
      },
    },
    {
      name: `${layout}-polled`,
      section: 'Front-end message types: SET_VRING_KICK, bit 8',
      needs,
      async run(bench) {
        const { ring } = await bench.run({ layout }, { withoutKick: true });
        for (let i = 0; i < 5; i++) {
          await quiet(10);
          ring.submit(BURST);
          await ring.served(BURST, 'chains to come back without a kick', POLLED_MS);
        }
      },
    },
    {
      name: `${layout}-uncalled`,
      section: 'Front-end message types: SET_VRING_CALL, bit 8',
      needs,
      async run(bench) {
        const { ring } = await bench.run({ layout }, { withoutCall: true });
        ring.driver.queue.setNotify(true);
        await ring.burst(BURST);
        same('calls', ring.calls(), 0);
      },
    },
    ...calls(false),
    ...calls(true),
    {
      name: `${layout}-queues`,
      section: 'Multiple queue support',
      type: 'net',
      needs: { features: [...features, VIRTIO_NET_F.MQ], protocol: [PROTOCOL_F.MQ] },
      async run(bench) {
        const probe = await bench.connect();
        await probe.greet();
        if ((await probe.askNumber(REQUEST.GET_QUEUE_NUM)) < 2n) throw new CheckSkipped('two queue pairs');
        probe.close();
        const { rings } = await bench.run({ layout, pairs: 2 });
        for (let i = 0; i < 3; i++) for (const ring of [rings[1], rings[3]]) await ring?.burst(BURST);
      },
    },
    {
      name: `${layout}-reconnect`,
      section: 'Communication',
      needs,
      async run(bench) {
        const before = await laps(bench, layout);
        const { ring, receive } = before;
        if (receive !== ring) receive.offer(BURST);
        // Abruptly, and a driver does not stop for it.
        before.frontend.close();
        await quiet(20);
        const base = ring.driver.queue.base();
        ring.submit(BURST);
        const session = await bench.open({ layout }, before.rings);
        await session.startAll({ base });
        await ring.served(BURST, 'chains to come back after a reconnect');
        await ring.burst(BURST);
      },
    },
  ];
}

/** Rings that run, stop and go on. */
export const RING_CHECKS: readonly Check[] = [
  ...checksOf('split'),
  ...checksOf('packed'),
  {
    name: 'packed-odd-size',
    section: 'virtio 2.7.10.1',
    needs: { features: [VIRTIO_F.VERSION_1, VIRTIO_F.RING_PACKED] },
    async run(bench) {
      await laps(bench, 'packed', 60);
    },
  },
  {
    name: 'packed-base-half',
    section: `${PACKED_SECTION}; DPDK's virtio-user leaves the upper half zero`,
    needs: { features: [VIRTIO_F.VERSION_1, VIRTIO_F.RING_PACKED] },
    async run(bench) {
      const { ring } = await bench.run({ layout: 'packed' }, { base: 0x8000 });
      for (let i = 0; i < BURSTS; i++) await ring.burst(BURST);
    },
  },
];
