import { setTimeout } from 'node:timers/promises';
import { readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { type FlowSpec, Sender } from '../packet/support/gro-model.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const MODULE = new URL('../support/offload-port.mjs', import.meta.url).href;
const FLOW: FlowSpec = { tags: [], family: 4, options: 3, seed: 5, sequence: 9, identification: 7, size: 1448 };

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
