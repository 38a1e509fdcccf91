import { setTimeout } from 'node:timers/promises';
import { readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { CHANGES, type FlowSpec, Sender } from '../packet/support/gro-model.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const MODULE = new URL('../support/offload-port.mjs', import.meta.url).href;
const FLOW: FlowSpec = {
  tags: [],
  family: 4,
  extensions: [],
  options: 3,
  seed: 5,
  sequence: 9,
  identification: 7,
  size: 1448,
};

test('what a port merged leaves as it came, and every packet is accounted for', async () => {
  const sender = new Sender(FLOW);
  const frames = Array.from({ length: 64 }, () => {
    const { frame } = sender.next('');
    frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    return Buffer.from(frame).toString('base64');
  });
  const packets = frames.map((frame) => ({ frame }));
  const dataplane = await start({
    version: 1,
    name: 'gro',
    ports: {
      in: { type: 'module', module: MODULE, gro: true, options: { packets, offloads: 0, repeat: 1 } },
      out: { type: 'capture', write: folder.path('out.pcap') },
    },
  });
  for (let i = 0; i < 200 && dataplane.snapshot().totals.sent < 64; i++) await setTimeout(10);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  const merged = last.totals.merged ?? 0;
  // 45 of 1,448 bytes are in a packet at most.
  expect(merged).toBeGreaterThan(32);
  expect(last.totals).toEqual({ received: 64, copied: merged, sent: 64, dropped: 0, merged });
  expect(last.ports[0]?.merged).toBe(merged);
  const left = Array.from(readCapture(folder.path('out.pcap')), ({ frame }) => Buffer.from(frame).toString('base64'));
  expect(left).toEqual(frames);
});

/** Flows over IPv4 and IPv6, with tags and without, of which every seventh segment is odd in one way or another. */
function interleaved(random: Random, count: number): Uint8Array[] {
  const senders = Array.from({ length: 8 }, (_, seed) => {
    const tags = seed % 4 === 3 ? [7] : [];
    return new Sender({ ...FLOW, tags, family: seed % 2 === 0 ? 4 : 6, seed, size: 100 + random.below(900) });
  });
  // Fragments do not say which connection they are of, and pass by what waits.
  const changes = Object.keys(CHANGES).filter((name) => name !== 'a fragment');
  const odd = ['loss', 'again', 'id', 'short', 'push', 'empty', 'options', ...changes];
  return Array.from({ length: count }, () => {
    const flow = random.below(senders.length);
    const kind = random.below(7) === 0 ? odd[random.below(odd.length)] : '';
    const { frame } = (senders[flow] as Sender).next(kind ?? '');
    frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, flow, 1]);
    return frame;
  });
}

test('each of several connections leaves as it came, odd segments too, and every byte is accounted for', async () => {
  const seed = Number(process.env.RINGWAY_SEED ?? 1);
  const frames = interleaved(new Random(seed), 800);
  const packets = frames.map((frame) => ({ frame: Buffer.from(frame).toString('base64') }));
  const dataplane = await start({
    version: 1,
    name: 'gro-flows',
    ports: {
      in: { type: 'module', module: MODULE, gro: true, options: { packets, offloads: 0, repeat: 1 } },
      out: { type: 'capture', write: folder.path('flows.pcap') },
    },
  });
  for (let i = 0; i < 500 && dataplane.snapshot().totals.sent < frames.length; i++) await setTimeout(10);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.totals.merged).toBeGreaterThan(frames.length / 5);
  const [input, output] = last.ports;
  expect([output?.txPackets, output?.txBytes], `RINGWAY_SEED=${seed}`).toEqual([input?.rxPackets, input?.rxBytes]);
  const byFlow = (all: Iterable<Uint8Array>): string[][] => {
    const flows: string[][] = Array.from({ length: 8 }, () => []);
    for (const frame of all) flows[frame[10] ?? 0]?.push(Buffer.from(frame).toString('hex'));
    return flows;
  };
  const left = Array.from(readCapture(folder.path('flows.pcap')), ({ frame }) => frame.slice());
  expect(byFlow(left), `RINGWAY_SEED=${seed}`).toEqual(byFlow(frames));
});
