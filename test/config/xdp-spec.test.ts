import { resolve } from 'node:path';
import fc from 'fast-check';
import { buildFrame } from 'ringway/packet';
import { RingwayError } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { parseXdpSpec } from '#build/config/xdp-spec.js';

const FILE = 'folder/spec.yaml';
const ETHERNET = '{ source: "02:00:00:00:00:01", destination: "02:00:00:00:00:02" }';
const spec = (...packets: string[]): string =>
  `object: a.o\ntests:\n  - name: one\n    packets:\n${packets.map((packet) => `      - ${packet}\n`).join('')}`;
const HEX = '02 00 00 00 00 02 02 00 00 00 00 01 08 00';

/** The lines of the error that a text is refused with. */
function problems(text: string): string[] {
  try {
    parseXdpSpec(text, FILE);
  } catch (error) {
    if (error instanceof RingwayError && error.code === 'BAD_CONFIG') return error.message.split('\n');
    throw error;
  }
  throw new Error('it was accepted');
}

test('packets are hexadecimal, frames in layers, or captures beside the spec', () => {
  const udp = `{ in: { ethernet: ${ETHERNET}, ipv4: { source: 10.0.0.1, destination: 10.0.0.2 }, udp: { sourcePort: 1, destinationPort: 2 }, payload: 18 }, action: DROP }`;
  const tcp = `{ in: { ethernet: ${ETHERNET}, ipv6: { source: "::1", destination: "::2" }, tcp: { sourcePort: 1, destinationPort: 2, flags: S. }, payload: de ad }, out: same }`;
  const { object, tests } = parseXdpSpec(
    spec(`{ in: ${HEX}, cpu: 3 }`, udp, tcp, '{ capture: in.pcap, frame: 2, outCapture: out.pcap }'),
    FILE,
  );
  expect(object).toBe(resolve('folder/a.o'));
  const packets = tests[0]?.packets ?? [];
  const ethernet = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };
  const ports = { sourcePort: 1, destinationPort: 2 };
  expect(packets[0]).toMatchObject({ from: { ifindex: 1, rxQueue: 0, cpu: 3 } });
  expect(packets[0]?.in).toEqual(new Uint8Array(Buffer.from(HEX.replaceAll(' ', ''), 'hex')));
  const ipv4 = { source: '10.0.0.1', destination: '10.0.0.2' };
  expect(packets[1]?.in).toEqual(buildFrame({ ethernet, ipv4, udp: ports, payload: new Uint8Array(18) }));
  expect(packets[1]?.action).toBe('DROP');
  const ipv6 = { source: '::1', destination: '::2' };
  const payload = Uint8Array.of(0xde, 0xad);
  expect(packets[2]?.in).toEqual(buildFrame({ ethernet, ipv6, tcp: { ...ports, flags: 0x12 }, payload }));
  expect(packets[3]).toMatchObject({
    in: { capture: resolve('folder/in.pcap'), frame: 2 },
    out: { capture: resolve('folder/out.pcap') },
  });
});

test('a frame may be inside a tunnel', () => {
  const inner = `{ ethernet: ${ETHERNET}, ipv4: { source: 10.0.0.1, destination: 10.0.0.2, protocol: 59 } }`;
  const ports = 'udp: { sourcePort: 1, destinationPort: 4789 }';
  const outer = `{ ethernet: ${ETHERNET}, ipv4: { source: 10.1.0.1, destination: 10.1.0.2 }, ${ports}, vxlan: { vni: 7 }, payload: ${inner} }`;
  const [packet] = parseXdpSpec(spec(`{ in: ${outer} }`), FILE).tests[0]?.packets ?? [];
  expect(packet?.in).toHaveLength(14 + 20 + 8 + 8 + 14 + 20);
});

test.each([
  ['{ }', 'folder/spec.yaml:5:9 tests[0].packets[0]: has no packet, or two; give in or capture'],
  [`{ in: ${HEX}, capture: a.pcap }`, 'folder/spec.yaml:5:9 tests[0].packets[0]: has no packet, or two'],
  [`{ in: ${HEX}, frame: 1 }`, 'folder/spec.yaml:5:9 tests[0].packets[0]: has frame without capture; give both'],
  [`{ in: ${HEX}, out: same, outCapture: a.pcap }`, 'tests[0].packets[0]: has out and outCapture; give one of them'],
  ['{ in: 02 00 }', 'tests[0].packets[0].in: is a packet of 2 bytes, must have 14 to 65600'],
  ['{ in: hello }', 'folder/spec.yaml:5:11 tests[0].packets[0].in: "hello" is no packet; use hexadecimal bytes or a'],
  [`{ in: ${HEX}, action: DRP }`, 'tests[0].packets[0].action: "DRP" is no action; use ABORTED, DROP, PASS, TX,'],
  [`{ in: ${HEX}, action: { DRP: 1 } }`, 'tests[0].packets[0].action.DRP: is not a key of a count of actions; did you'],
  [`{ in: { ethernet: ${ETHERNET}, upd: {} } }`, 'tests[0].packets[0].in.upd: is not a key of a frame; did you mean'],
  [`{ in: { ethernet: ${ETHERNET} } }`, 'tests[0].packets[0].in: frame: ethernet.type is needed when no layer'],
  [
    `{ in: { ethernet: ${ETHERNET}, ipv4: { source: 10.0.0.300, destination: 10.0.0.1 } } }`,
    'tests[0].packets[0].in.ipv4.source: "10.0.0.300" is not an IP address; use one such as 10.0.0.2',
  ],
])('%s is refused with its place', (packet, message) => {
  const found = problems(spec(packet));
  expect(found.length).toBe(1);
  expect(found[0]).toContain(message);
});

test('all that is wrong is said at once', () => {
  const text = `objct: a.o\ntests:\n  - name: one\n    packets: []\n  - packets: [{ in: hello }]\n    after: 5\n`;
  expect(problems(text)).toEqual([
    'folder/spec.yaml:1:1 object: is missing; give a path, relative to this file or absolute',
    'folder/spec.yaml:1:1 objct: is not a key of a file of XDP tests; did you mean "object"?',
    'folder/spec.yaml:4:5 tests[0].packets: 0 items are not packets; use a list of 1 to 10000 items',
    'folder/spec.yaml:5:5 tests[1].name: is missing; give a sentence',
    expect.stringContaining('folder/spec.yaml:5:17 tests[1].packets[0].in: "hello" is no packet'),
    'folder/spec.yaml:6:5 tests[1].after: 5 is no set of maps; use a mapping of names to contents',
  ]);
});

test('any text gives a spec, or an error of which each line begins with a place', () => {
  const words = [
    'object',
    'tests',
    'name',
    'packets',
    'in',
    'out',
    ': ',
    '- ',
    '\n',
    '  ',
    '{',
    '}',
    HEX,
    'same',
    '&a',
  ];
  const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ maxLength: 4 })), { maxLength: 40 });
  fc.assert(
    fc.property(text, (parts) => {
      for (const line of problems(`${parts.join('')}\n: no spec`))
        expect(line).toMatch(/^folder\/spec\.yaml(:\d+:\d+)?/);
    }),
    { numRuns: 200 },
  );
});
