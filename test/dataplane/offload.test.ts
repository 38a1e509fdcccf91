import { setTimeout } from 'node:timers/promises';
import { readCapture } from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import {
  ACK,
  type BigFrame,
  build,
  CWR,
  FIN,
  PSH,
  type Request,
  receiverObjections,
  referenceSegments,
} from '../packet/support/big-frames.ts';
import { problemsOf, start } from '../support/dataplanes.ts';
import { MachineBench, problemsAtEnd } from '../support/machine-bench.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const MODULE = new URL('../support/offload-port.mjs', import.meta.url).href;
const TCP: BigFrame = {
  tags: [],
  family: 4,
  ipWords: 1,
  extensions: [],
  identification: 9,
  protocol: 6,
  options: 3,
  flags: ACK | PSH | FIN | CWR,
  sequence: 1000,
  payload: 65_000,
  seed: 5,
  size: 1448,
};

interface Injected {
  readonly frame: Uint8Array;
  readonly request?: Request;
}

/** A request from a MAC of its own to nobody known, so that it is flooded. */
function injected(spec: BigFrame): Injected {
  const { frame, request } = build(spec);
  return { frame: withMacs(frame), request };
}

function withMacs(frame: Uint8Array): Uint8Array {
  const out = frame.slice();
  out.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
  return out;
}

const textOf = (frame: Uint8Array): string => Buffer.from(frame).toString('base64');
const options = (packets: readonly Injected[], offloads = 0, repeat = 1): object => ({
  packets: packets.map(({ frame, request }) => ({ frame: textOf(frame), ...(request && { request }) })),
  offloads,
  repeat,
});
const captured = (path: string): string[] => Array.from(readCapture(path), ({ frame }) => textOf(frame));
const segmentsOf = (specs: readonly BigFrame[]): string[] =>
  specs.flatMap((spec) => referenceSegments(spec).map((frame) => textOf(withMacs(frame))));

const SPECS: BigFrame[] = [
  TCP,
  { ...TCP, family: 6, extensions: [0, 60], payload: 20_001, size: 999 },
  { ...TCP, protocol: 17, payload: 30_000, size: 1200 },
  { ...TCP, family: 6, protocol: 17, payload: 9000, size: 3001 },
  { ...TCP, payload: 100 },
];

/** Runs ports over debug kernels until nothing is in flight. */
async function run(ports: object, seed = 1, extra: object = {}, buffers = 3000) {
  const bench = new MachineBench({ version: 1, lcores: 1, ports, ...extra }, new Random(seed), { buffers });
  await bench.start();
  bench.poll(60);
  const last = await bench.stop(2000);
  return { last, problems: problemsAtEnd(last, bench.machine) };
}

test('captures, taps and mirrors get complete frames, though all hold the same buffers; null gets what there is', async () => {
  const names = ['a', 'b', 'mirror'];
  const ports = {
    in: { type: 'module', module: MODULE, options: options(SPECS.map(injected)), tap: folder.path('tap.pcap') },
    ...Object.fromEntries(names.map((name) => [name, { type: 'capture', write: folder.path(`${name}.pcap`) }])),
    all: { type: 'null' },
    host: { type: 'module', module: MODULE, options: options([], 255 - 64) },
    watched: { type: 'null', tap: folder.path('watched.pcap') },
  };
  const { last, problems } = await run(ports, 1, {
    switch: { mirrors: [{ from: 'in', to: 'mirror', direction: 'rx' }] },
  });
  expect(problems).toEqual([]);
  const segments = segmentsOf(SPECS);
  for (const name of ['tap', 'a', 'b', 'watched'])
    expect(captured(folder.path(`${name}.pcap`)), name).toEqual(segments);
  // It gets each packet twice: as it came in, and flooded.
  expect(captured(folder.path('mirror.pcap')).sort()).toEqual([...segments, ...segments].sort());
  const port = (name: string) => last.ports.find((each) => each.name === name);
  expect(port('in')).toMatchObject({ rxPackets: SPECS.length, copies: SPECS.length * 6 });
  expect(port('a')).toMatchObject({ txPackets: segments.length, copies: segments.length - SPECS.length });
  expect(port('all')).toMatchObject({ txPackets: SPECS.length, copies: 0 });
  expect(port('host')).toMatchObject({ txPackets: SPECS.length, copies: 0 });
  expect(last.drops).toEqual({});
});

test('requests go along when tags are put in and taken out', async () => {
  const tagged = SPECS.map((spec) => ({ ...spec, tags: [5] }));
  const into = {
    in: { type: 'module', module: MODULE, vlan: { access: 5 }, options: options(SPECS.map(injected)) },
    trunk: { type: 'capture', write: folder.path('trunk.pcap') },
    other: { type: 'capture', write: folder.path('access.pcap'), vlan: { access: 5 } },
  };
  expect((await run(into)).problems).toEqual([]);
  // The tag in front of the headers of the frame without one.
  const withTag = SPECS.flatMap((spec) =>
    referenceSegments(spec).map((frame) => {
      const plain = withMacs(frame);
      return textOf(Uint8Array.from([...plain.subarray(0, 12), 0x81, 0, 0, 5, ...plain.subarray(12)]));
    }),
  );
  expect(captured(folder.path('trunk.pcap'))).toEqual(withTag);
  expect(captured(folder.path('access.pcap'))).toEqual(segmentsOf(SPECS));

  const out = {
    in: { type: 'module', module: MODULE, options: options(tagged.map(injected)) },
    access: { type: 'capture', write: folder.path('out.pcap'), vlan: { access: 5 } },
  };
  expect((await run(out)).problems).toEqual([]);
  const untagged = captured(folder.path('out.pcap'));
  expect(untagged).toHaveLength(withTag.length);
  const objections = untagged.map((text, i) => {
    const specs = SPECS.flatMap((spec) => referenceSegments(spec).map(() => spec));
    return receiverObjections(specs[i] as BigFrame, Buffer.from(text, 'base64'));
  });
  expect(objections.flat()).toEqual([]);
});

test('a request that contradicts its packet is counted at the port it was to leave through', async () => {
  const bad = injected(TCP);
  const packets = [{ ...bad, request: { ...bad.request, size: 0 } as Request }, injected(TCP)];
  const ports = {
    in: { type: 'module', module: MODULE, options: options(packets), tap: folder.path('bad-tap.pcap') },
    out: { type: 'capture', write: folder.path('good.pcap') },
  };
  const { last, problems } = await run(ports);
  expect(problems).toEqual([]);
  expect(last.drops).toEqual({ 'bad-offload': 1 });
  expect(last.ports[1]?.drops).toEqual({ 'bad-offload': 1 });
  expect(captured(folder.path('good.pcap'))).toEqual(segmentsOf([TCP]));
  // What came is recorded, even if nobody can finish it.
  expect(captured(folder.path('bad-tap.pcap'))).toEqual([textOf(bad.frame), ...segmentsOf([TCP])]);
});

test('with few buffers packets are lost whole or in part, and every one is counted', async () => {
  let dropped = 0;
  for (let seed = 0; seed < 5; seed++) {
    const ports = {
      in: { type: 'module', module: MODULE, options: options(SPECS.map(injected), 0, 12) },
      a: { type: 'capture', write: folder.path('few-a.pcap'), fault: { delay: '20us', duplicate: 0.1 } },
      b: { type: 'capture', write: folder.path('few-b.pcap') },
    };
    const { last, problems } = await run(ports, seed, {}, 200);
    expect(problems, `seed ${seed}`).toEqual([]);
    dropped += last.totals.dropped;
  }
  expect(dropped).toBeGreaterThan(0);
});

test('on threads, from one lcore to another', async () => {
  const dataplane = await start({
    version: 1,
    name: 'offload',
    lcores: 2,
    buffers: 8000,
    ports: {
      in: { type: 'module', lcore: 0, module: MODULE, options: options(SPECS.map(injected), 0, 20) },
      out: { type: 'capture', lcore: 1, write: folder.path('threads.pcap') },
    },
  });
  const expected = segmentsOf(SPECS).length * 20;
  for (let i = 0; i < 200 && dataplane.snapshot().totals.sent < expected; i++) await setTimeout(10);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.totals).toEqual({ received: 100, copied: expected - 100, sent: expected, dropped: 0 });
  expect(captured(folder.path('threads.pcap')).slice(0, expected / 20)).toEqual(segmentsOf(SPECS));
});
