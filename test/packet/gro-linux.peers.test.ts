import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest';
import { namespacesUnavailable } from '../support/netns.ts';
import { testFolder } from '../support/port-bench.ts';
import { endPrograms, missingPrograms } from '../support/program.ts';
import { CHANGES, type FlowSpec, Sender, traffic } from './support/gro-model.ts';
import { GroRig } from './support/gro-properties.ts';
import { BURST_MAX, LinuxGro } from './support/linux-gro.ts';
import { carriesEthernet, KINDS, OUTER_CHANGES, type Tunnel, wrap } from './support/tunnels.ts';

const missing = missingPrograms('ip', 'ethtool', 'tcpreplay', 'dumpcap', 'sysctl', 'sh');
const reason = missing.length > 0 ? `no ${missing.join(', ')}` : namespacesUnavailable();
if (reason !== undefined) console.warn(`gro-linux.peers.test.ts is skipped: ${reason}`);
const on = test.skipIf(reason !== undefined);

const folder = testFolder();
afterAll(folder.rm);

let linux: LinuxGro;
beforeEach(() => {
  if (reason === undefined) linux = new LinuxGro(folder.path);
});
afterEach(async () => {
  await endPrograms();
  if (reason === undefined) linux.remove();
});

const FLOW: FlowSpec = {
  tags: [],
  family: 4,
  extensions: [],
  options: 3,
  seed: 5,
  sequence: 0xffff_ff00,
  identification: 0xfffe,
  size: 500,
};
const FAMILIES = [4, 6] as const;
const hex = (frame: Uint8Array): string => Buffer.from(frame).toString('hex');

/** Frames that come one after another, and what is said of them. */
interface Case {
  readonly name: string;
  readonly frames: readonly Uint8Array[];
  /** Place of two bytes that are not compared. */
  readonly left?: number;
}

/** What became of them, in order. */
interface Result extends Case {
  readonly linux: readonly Uint8Array[];
  readonly ringway: readonly Uint8Array[];
}

/** What ringway makes of them. */
function merge(frames: readonly Uint8Array[]): Uint8Array[] {
  const rig = new GroRig(512);
  const out: Uint8Array[] = [];
  for (let at = 0; at < frames.length; at += 32) {
    out.push(...rig.merge(frames.slice(at, at + 32).map((frame) => ({ frame }))));
  }
  return [...out, ...rig.merge([], 1000)];
}

/** Bursts of cases, as many as fit in each. */
function pack(cases: readonly Case[]): Case[][] {
  const bursts: Case[][] = [[]];
  for (const one of cases) {
    const last = bursts.at(-1) as Case[];
    if (last.reduce((sum, { frames }) => sum + frames.length, one.frames.length) <= BURST_MAX) last.push(one);
    else bursts.push([one]);
  }
  return bursts;
}

/** Runs bursts through both. `flowOf`: what tells the frames of one case in a burst from those of another. */
async function compare(bursts: readonly Case[][], flowOf: (frame: Uint8Array) => string): Promise<Result[]> {
  const received = await linux.receive(bursts.map((burst) => burst.flatMap(({ frames }) => frames)));
  return bursts.flatMap((burst, index) =>
    burst.map((one) => {
      const { frames } = one;
      const flow = flowOf(frames[0] as Uint8Array);
      const own = (all: readonly Uint8Array[]): Uint8Array[] => all.filter((frame) => flowOf(frame) === flow);
      return { ...one, linux: own(received[index] as Uint8Array[]), ringway: own(merge(frames)) };
    }),
  );
}

/** MAC addresses, which differ from one flow of these tests to another. */
const macs = (frame: Uint8Array): string => hex(frame.subarray(0, 12));

/** Segments in each packet. */
function segmentsOf(packets: readonly Uint8Array[], { frames }: Case): number[] {
  const header = (frames[0] as Uint8Array).length - FLOW.size;
  return packets.map(({ length }) => Math.max(1, Math.round((length - header) / FLOW.size)));
}

/** What Linux makes other packets of, by name: segments in each. */
function differing(results: readonly Result[]): Record<string, number[]> {
  const text = (packets: readonly Uint8Array[], from: number): string =>
    packets.map((packet) => hex(packet.map((byte, at) => (at === from || at === from + 1 ? 0 : byte)))).join();
  const others = results.filter(({ left = -2, linux: theirs, ringway }) => text(theirs, left) !== text(ringway, left));
  return Object.fromEntries(others.map((result) => [result.name, segmentsOf(result.linux, result)]));
}

const inBoth = (kind: string, segments: readonly number[]) =>
  Object.fromEntries(FAMILIES.map((family) => [`IPv${family}, ${kind}`, segments]));

/** Five segments of each kind over `family`: those that are so have an x in `places`. */
function oddFlows(family: 4 | 6, places: readonly string[]): Case[] {
  const kinds = ['', 'short', 'long', 'push', 'loss', 'again', 'id', 'empty', 'options', ...Object.keys(CHANGES)];
  const cases = kinds.map((kind, index) => {
    const sender = new Sender({ ...FLOW, family, seed: 100 * family + index });
    return { name: `IPv${family}, ${kind}`, frames: places.map((at) => sender.next(at === 'x' ? kind : '').frame) };
  });
  const staying = places.map((at, index) => {
    const sequence = (FLOW.sequence + index * FLOW.size) % 2 ** 32;
    const identification = (FLOW.identification + (at === 'x' ? 0 : index)) % 65536;
    return new Sender({ ...FLOW, family, seed: 100 * family + 99, sequence, identification }).next('').frame;
  });
  return [...cases, { name: `IPv${family}, identifications that stay`, frames: staying }];
}

on('one odd segment of five has the same outcome in both, but for these', async () => {
  const cases = FAMILIES.flatMap((family) => oddFlows(family, ['', '', 'x', '', '']));
  expect(differing(await compare(pack(cases), macs))).toEqual({
    // It says nothing without URG, but cutting would copy the first one's.
    ...inBoth('another urgent pointer', [5]),
    // Cutting would give 0.
    ...inBoth('a checksum of 0xffff', [5]),
    // Linux hands on what is broken before what waits of its flow: here it stays in its place.
    ...inBoth('a wrong TCP checksum', [1, 2, 2]),
    ...inBoth('a wrong payload', [1, 2, 2]),
    'IPv4, a wrong header or length': [1, 2, 2],
  });
});

on('five odd segments have the same outcome in both, but for these', async () => {
  const cases = FAMILIES.flatMap((family) => oddFlows(family, ['x', 'x', 'x', 'x', 'x']));
  expect(differing(await compare(pack(cases), macs))).toEqual({
    ...inBoth('a checksum of 0xffff', [5]),
    // No stream has such segments.
    ...inBoth('no ACK', [5]),
    // They need not count where there are no fragments (RFC 6864, 4.1), but cutting counts.
    'IPv4, identifications that stay': [5],
  });
});

on('any traffic has the same outcome in both, but for the order of flows', async () => {
  const seed = Number(process.env.RINGWAY_SEED ?? Date.now() % 2 ** 31);
  // The kinds above, and a flow label, by which Linux tells flows apart that are one here.
  const others = Object.keys(CHANGES).filter((kind) => /wrong|urgent|0xffff|no ACK|label/.test(kind));
  const hasTags = linux.knows('link', 'port0', 'type', 'vlan', 'id', '5');
  const cases = fc.sample(traffic, { seed, numRuns: 12 }).map(({ flows, steps, swaps }, index) => {
    const senders = flows.map((flow) => new Sender(hasTags ? flow : { ...flow, tags: [] }));
    const frames = steps.slice(0, BURST_MAX).map(({ flow, kind }) => {
      return (senders[flow % senders.length] as Sender).next(others.includes(kind) ? '' : kind).frame;
    });
    for (const at of swaps) frames.splice(at, 2, ...frames.slice(at, at + 2).reverse());
    return { name: `burst ${index}`, frames };
  });
  const byFlow = (packets: readonly Uint8Array[]): Uint8Array[] =>
    packets.toSorted((a, b) => Buffer.compare(a.subarray(0, 12), b.subarray(0, 12)));
  const results = (
    await compare(
      cases.map((one) => [one]),
      () => '',
    )
  ).map((result) => {
    return { ...result, linux: byFlow(result.linux), ringway: byFlow(result.ringway) };
  });
  expect(differing(results), `with RINGWAY_SEED=${seed}`).toEqual({});
  const count = (all: readonly (readonly Uint8Array[])[]): number => all.flat().length;
  expect(count(results.map(({ ringway }) => ringway))).toBeLessThan(count(cases.map(({ frames }) => frames)) / 2);
});

/** Five segments in a tunnel, of which the third is changed outside as `change` says; undefined where there is no such thing. */
function tunnelled(tunnel: Tunnel, family: 4 | 6, change: string, flow: Partial<FlowSpec>): Case | undefined {
  const { kind, step, hasSum, hasLimit } = tunnel;
  const sender = new Sender({ ...FLOW, ...flow, family });
  const parts = Array.from({ length: 5 }, (_, index) => wrap(sender.next('').frame, tunnel, index));
  const third = OUTER_CHANGES[change]?.(parts[2] as (typeof parts)[0], tunnel);
  if (third === null) return undefined;
  const more = [step ? 'ids count' : 'ids stay', hasSum ? 'a sum' : '', hasLimit ? 'a limit' : '', change];
  return {
    name: `${kind} over IPv${tunnel.family} with IPv${family}: ${more.filter((word) => word !== '').join(', ')}`,
    frames: parts.map(({ frame }, index) => (index === 2 ? (third ?? frame) : frame)),
    // UDP's sum outside is no more than a sign that there is one, and signs differ.
    ...(kind === 'vxlan' && hasSum ? { left: (parts[0] as (typeof parts)[0]).l4 + 6 } : {}),
  };
}

on('segments in tunnels have the same outcome in both', async () => {
  linux.listenToVxlan();
  const hasTags = linux.knows('link', 'port0', 'type', 'vlan', 'id', '5');
  const hasGre = linux.knows('type', 'gre', 'local', '10.0.0.1', 'remote', '10.0.0.2');
  if (!hasTags || !hasGre)
    console.warn(`not compared, since this Linux has none: ${hasTags ? '' : 'VLANs '}${hasGre ? '' : 'GRE'}`);
  // What is broken is handed on first, as above; and Linux does not look at UDP's length.
  const changes = [
    '',
    'tags',
    'extensions',
    ...Object.keys(OUTER_CHANGES).filter((name) => !/wrong|padding/.test(name)),
  ];
  const cases: Case[] = [];
  for (const kind of KINDS.filter((name) => hasGre || !name.startsWith('gre'))) {
    for (const [family, inner] of FAMILIES.flatMap((one) => FAMILIES.map((two) => [one, two] as const))) {
      for (const step of [0, 1] as const) {
        for (const hasSum of kind === 'vxlan' ? [false, true] : [false]) {
          const tunnel = { kind, family, step, hasSum, hasLimit: family === 6 && step === 0, number: 7 };
          for (const change of changes) {
            if (change === 'tags' && !(hasTags && carriesEthernet(tunnel))) continue;
            const tags = change === 'tags' ? [5, 6] : [];
            const found = tunnelled(tunnel, inner, change, {
              tags,
              extensions: change === 'extensions' ? [0, 60] : [],
            });
            if (found !== undefined) cases.push(found);
          }
        }
      }
    }
  }
  // Outside they have MAC addresses of their own.
  for (const [index, { frames }] of cases.entries())
    for (const frame of frames) frame.set([2, 9, index >> 8, index & 255], 6);
  const results = await compare(pack(cases), macs);
  expect(differing(results)).toEqual({});
  for (const result of results.filter(({ name }) => !/another|DF|none/.test(name))) {
    expect(segmentsOf(result.ringway, result), result.name).toEqual([5]);
  }
});
