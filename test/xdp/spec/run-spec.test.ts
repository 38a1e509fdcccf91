import { writeFileSync } from 'node:fs';
import { CaptureWriter } from 'ringway/packet';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseXdpSpec } from '#build/config/xdp-spec.js';
import { runSpec, type SpecResult } from '#build/xdp/spec/run-spec.js';
import { testFolder } from '../../support/port-bench.ts';
import { writeObject } from '../support/object.ts';

const folder = testFolder();
afterAll(folder.rm);
const at = (name: string): string => folder.path(name);
const example = (name: string): string => new URL(`../../../examples/xdp/${name}.o`, import.meta.url).pathname;
const HEX = '02 00 00 00 00 02 02 00 00 00 00 01 08 00';
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

/** Passes what has an even first byte, and drops the rest; says which. */
const EVEN = `ldxw %r2, [%r1+0]
ldxw %r3, [%r1+4]
mov %r4, %r2
add %r4, 14
mov %r0, 0
jgt %r4, %r3, +4
ldxb %r5, [%r2+0]
mov %r0, 2
jset %r5, 1, +1
exit
mov %r0, 1
exit`;

beforeAll(() => {
  writeFileSync(at('even.o'), writeObject('even', EVEN));
  writeFileSync(at('wild.o'), writeObject('wild', 'mov %r1, 4096\nldxdw %r0, [%r1+0]\nexit'));
  const says = 'mov %r1, 0x6968\nstxdw [%r10-8], %r1\nmov %r1, %r10\nadd %r1, -8\nmov %r2, 3\ncall trace_printk\n';
  writeFileSync(at('says.o'), writeObject('says', `${says}mov %r0, 2\nexit`));
  const writer = new CaptureWriter(at('in.pcap'));
  for (const first of [2, 3, 4, 5, 7])
    writer.write(bytes(HEX.replace('02', `0${first}`)), { seconds: first, nanoseconds: 0 });
  writer.close();
  const out = new CaptureWriter(at('out.pcap'));
  for (const first of [2, 6]) out.write(bytes(HEX.replace('02', `0${first}`)), { seconds: 0, nanoseconds: 0 });
  out.close();
});

async function run(text: string): Promise<SpecResult[]> {
  const results: SpecResult[] = [];
  for await (const result of runSpec(parseXdpSpec(text, at('spec.yaml')))) results.push(result);
  return results;
}

/** What a test of one packet has to say: places without the file. */
async function failures(object: string, packet: string, rest = ''): Promise<string[]> {
  const text = `object: ${object}\n${rest}tests:\n  - name: one\n    packets: [{ ${packet} }]\n`;
  const [result] = await run(text);
  return (result?.failures ?? []).map(({ place, message, details }) =>
    [`${place.slice(at('spec.yaml').length)}: ${message}`, ...details].join('\n'),
  );
}

test('what is as it says passes; what is not is said with its place', async () => {
  expect(await failures('even.o', `in: ${HEX}, action: PASS, out: same`)).toEqual([]);
  expect(await failures('even.o', `in: ${HEX}, action: DROP`)).toEqual([
    ':4:64 tests[0].packets[0].action: expected DROP, got PASS',
  ]);
  expect(await failures('even.o', `in: ${HEX}, redirect: { target: 3 }`)).toEqual([
    expect.stringContaining('redirect.target: expected 3, got no redirect, but PASS'),
  ]);
});

test('another packet is shown byte by byte', async () => {
  const [failure] = await failures('even.o', `in: ${HEX}, out: ${HEX.replace('01 08', '09 08')}`);
  expect(failure).toMatch(/^:4:\d+ tests\[0\]\.packets\[0\]\.out: 1 byte differs, the first at offset 11\n/);
  expect(failure).toContain('\n0000  expected 02 00 00 00 00 02 02 00 00 00 00 09 08 00\n');
});

test('a program that was ended says why', async () => {
  expect(await failures('wild.o', `in: ${HEX}, action: PASS`)).toEqual([
    expect.stringContaining(
      'expected PASS, got ABORTED: it reaches memory that is not in its packet, stack or maps, at wild, instruction 1',
    ),
  ]);
});

test('what it says is compared line by line', async () => {
  expect(await failures('says.o', `in: ${HEX}, log: [hi]`)).toEqual([]);
  expect(await failures('says.o', `in: ${HEX}, log: []`)).toEqual([
    expect.stringContaining('log[0]: expected no more, got "hi"'),
  ]);
  expect(await failures('says.o', `in: ${HEX}, log: [hi, ho]`)).toEqual([
    expect.stringContaining('log[1]: expected "ho", got no more'),
  ]);
});

test('captures go in whole or one frame of them, and what goes on is compared', async () => {
  expect(await failures('even.o', 'capture: in.pcap, action: { PASS: 2, DROP: 3 }')).toEqual([]);
  expect(await failures('even.o', 'capture: in.pcap, frame: 2, action: DROP')).toEqual([]);
  expect(await failures('even.o', 'capture: in.pcap, action: { PASS: 5 }')).toEqual([
    expect.stringContaining('action.DROP: expected 0 of DROP, got 3'),
    expect.stringContaining('action.PASS: expected 5 of PASS, got 2'),
  ]);
  expect(await failures('even.o', 'capture: in.pcap, action: DROP')).toEqual([
    expect.stringContaining('action: packet 1 of 5: expected DROP, got PASS'),
    expect.stringContaining('action: packet 3 of 5: expected DROP, got PASS'),
  ]);
  expect(await failures('even.o', 'capture: in.pcap, outCapture: out.pcap')).toEqual([
    expect.stringContaining('outCapture: packet 2 of those that go on: 1 byte differs, the first at offset 0'),
  ]);
});

test.each([
  ['none.o', `in: ${HEX}`, '', /:1:1 object: .*none\.o: cannot be read/],
  ['even.o', `in: ${HEX}`, 'program: odd\n', /:2:1 program: .*no program "odd"; there are: even/],
  ['even.o', `in: ${HEX}`, 'maps: { denied: { 1: 2 } }\n', /:2:9 maps\.denied: even: no map "denied"; there are: none/],
  ['even.o', `in: ${HEX}, cpu: 1`, '', /packets\[0\]: cpu 1, must be 0 to 0/],
  ['even.o', 'capture: none.pcap', '', /packets\[0\]\.capture: .*none\.pcap: cannot be opened/],
  ['even.o', 'capture: in.pcap, frame: 6', '', /packets\[0\]\.frame: .*in\.pcap has no frame 6/],
])('with %s and %s: what cannot be is an error with its place', async (object, packet, rest, message) => {
  await expect(failures(object, packet, rest)).rejects.toMatchObject({
    code: 'BAD_CONFIG',
    message: expect.stringMatching(message),
  });
});

test('each test begins with maps, time and chance as new; packets of one see what those before left', async () => {
  const packet = `{ in: { ethernet: { source: "02:00:00:00:00:01", destination: "02:00:00:00:00:02" }, ipv4: { source: 10.0.0.1, destination: 10.0.0.2, protocol: 59 } }`;
  const results = await run(`object: ${example('rate-limit')}
variables: { rate: 1, burst: 2 }
cpus: 2
tests:
  - name: two at once, and one a second
    packets:
      - ${packet}, action: PASS }
      - ${packet}, action: PASS }
      - ${packet}, action: DROP }
      - ${packet}, action: PASS, now: 2000000000 }
      - ${packet}, action: PASS, cpu: 1 }
    after: { packets: { 0: [3, 1], 1: [1, 0] }, buckets: { 10.0.0.1: [{ at: 2000000000 }, { at: 2000000000, tokens: 1000000000 }], 10.0.0.9: null } }
  - name: as new
    maps: { packets: { 0: 5 } }
    packets: [${packet}, action: PASS }]
    after: { packets: { 0: [6, 5], 1: 0 }, buckets: { 10.0.0.1: { at: 1 } } }
`);
  expect(results.map(({ packets, failures: those }) => [packets, those.map(({ message }) => message)])).toEqual([
    [5, []],
    [1, ['expected [{"at":1},{"at":1}], got [{"at":1000000000},{"at":0}]']],
  ]);
});

test('redirects are compared in parts', async () => {
  const frame = `in: { ethernet: { source: "02:00:00:00:00:01", destination: "02:00:00:00:00:02", type: 0x88b5 } }`;
  const maps = 'maps: { stations: { "02:00:00:00:00:02": 3 }, ports: { 3: 7 } }\n';
  const wanted = 'redirect: { to: interface, target: 7, map: ports, key: 3 }';
  expect(await failures(example('l2-forward'), `${frame}, action: REDIRECT, out: same, ${wanted}`, maps)).toEqual([]);
  expect(await failures(example('l2-forward'), `${frame}, redirect: { key: 4 }`, maps)).toEqual([
    expect.stringContaining('redirect.key: expected 4, got 3'),
  ]);
});
