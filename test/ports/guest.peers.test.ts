import { spawnSync } from 'node:child_process';
import {
  ARP_REQUEST,
  buildFrame,
  CaptureWriter,
  type FrameRepr,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_SOLICITATION,
  parseIpv6,
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
  TCP_SYN,
} from 'ringway/packet';
import { afterAll, expect, test } from 'vitest';
import { Random } from '#build/util/random.js';
import { problemsOf, start } from '../support/dataplanes.ts';
import { testFolder } from '../support/port-bench.ts';

const folder = testFolder();
afterAll(folder.rm);

const ready = spawnSync('tshark', ['-v']).error === undefined;
if (!ready) console.warn('guest.peers.test.ts is skipped: tshark is not installed');

const SEED = 7;
const CLIENT = { mac: '02:00:00:00:00:99', v4: '10.0.0.9', v6: '2001:db8::9' };
const GUESTS = [
  { name: 'packed', mac: '02:00:00:00:00:01', v4: '10.0.0.1', v6: '2001:db8::1' },
  { name: 'split', mac: '02:00:00:00:00:02', v4: '10.0.0.2', v6: undefined },
] as const;
type Guest = (typeof GUESTS)[number];

/** A connection that opens, sends `bytes`, and closes; `first` is what the other side will start with. */
function connection(bytes: number, first: number): Pick<FrameRepr, 'tcp' | 'payload'>[] {
  const ports = { sourcePort: 40_000, destinationPort: 80, window: 65_535 };
  const acknowledgment = (first + 1) >>> 0;
  const at = (sequence: number, flags: number, ack = acknowledgment) => ({
    tcp: { ...ports, sequence, flags, ...(flags & TCP_ACK ? { acknowledgment: ack } : {}) },
  });
  const end = 1001 + bytes;
  return [
    at(1000, TCP_SYN),
    at(1001, TCP_ACK),
    { ...at(1001, TCP_PSH | TCP_ACK), payload: new Uint8Array(bytes).fill(65) },
    at(end, TCP_FIN | TCP_ACK),
    at(end + 1, TCP_ACK, (acknowledgment + 1) >>> 0),
  ];
}

/** What a client asks over IPv4 or IPv6, in their order: pings, UDP echo, a port where nobody is, TCP. */
function questions(isV6: boolean, first: number): Omit<FrameRepr, 'ethernet'>[] {
  const ping = (length: number, sequence: number) => {
    const echo = { identifier: 5, sequence };
    const payload = new Uint8Array(length).fill(length);
    return isV6
      ? { icmpv6: { type: ICMPV6_ECHO_REQUEST, ...echo }, payload }
      : { icmp: { type: ICMP_ECHO_REQUEST, ...echo }, payload };
  };
  const udp = (destinationPort: number, text: string) => ({
    udp: { sourcePort: 50_000, destinationPort },
    payload: new TextEncoder().encode(text),
  });
  return [ping(0, 1), ping(56, 2), ping(1400, 3), udp(7, 'hello'), udp(9, 'nobody'), ...connection(1000, first)];
}

function framesFor({ mac, v4, v6 }: Guest): Uint8Array[] {
  const toAll = { source: CLIENT.mac, destination: 'ff:ff:ff:ff:ff:ff' };
  const ethernet = { source: CLIENT.mac, destination: mac };
  // The guest's connections start with these numbers.
  const random = new Random(SEED);
  const arp = { senderMac: CLIENT.mac, senderIp: CLIENT.v4, targetMac: '00:00:00:00:00:00', targetIp: v4 };
  const frames = [
    buildFrame({ ethernet: toAll, arp: { operation: ARP_REQUEST, ...arp } }),
    ...questions(false, random.next()).map((inner) =>
      buildFrame({ ethernet, ipv4: { source: CLIENT.v4, destination: v4 }, ...inner }),
    ),
  ];
  if (v6 === undefined) return frames;
  const solicitation = Uint8Array.of(...(parseIpv6(v6) as Uint8Array), 1, 1, 2, 0, 0, 0, 0, 0x99);
  return [
    ...frames,
    buildFrame({
      ethernet: { source: CLIENT.mac, destination: '33:33:ff:00:00:01' },
      ipv6: { source: CLIENT.v6, destination: 'ff02::1:ff00:1', hopLimit: 255 },
      icmpv6: { type: ICMPV6_NEIGHBOR_SOLICITATION },
      payload: solicitation,
    }),
    ...questions(true, random.next()).map((inner) =>
      buildFrame({ ethernet, ipv6: { source: CLIENT.v6, destination: v6 }, ...inner }),
    ),
  ];
}

/** Replays the frames to the guests; what the client sent and got is in the file `name`. */
async function converse(name: string): Promise<string> {
  const input = folder.path('in.pcapng');
  const writer = new CaptureWriter(input);
  const frames = GUESTS.flatMap(framesFor);
  // Apart, as each question comes after the answer to the one before.
  for (const [i, frame] of frames.entries())
    writer.write(frame, { seconds: 1 + Math.floor(i / 16), nanoseconds: (i % 16) * 60_000_000 });
  writer.close();
  const all = folder.path(name);
  const guest = ({ mac, v4, v6, name: layout }: Guest) => ({
    type: 'guest',
    layout,
    mac,
    ipv4: v4,
    ...(v6 === undefined ? {} : { ipv6: v6 }),
  });
  const dataplane = await start({
    version: 1,
    name: 'guests',
    seed: SEED,
    lcores: 1,
    ports: {
      ...Object.fromEntries(GUESTS.map((each) => [each.name, guest(each)])),
      client: { type: 'capture', path: input, speed: 'recorded', write: folder.path('answers.pcap'), tap: all },
    },
  });
  const answers = (): number => dataplane.snapshot().ports.find((port) => port.name === 'client')?.txPackets ?? 0;
  await expect.poll(answers, { timeout: 10_000 }).toBeGreaterThanOrEqual(ANSWERS);
  const last = await dataplane.stop();
  expect(problemsOf(last)).toEqual([]);
  expect(last.drops).toEqual({});
  return all;
}

/** Of each kind of IP: three pings, UDP echo, unreachable, SYN and ACK, ACK, FIN and ACK. And two ARP, one neighbor. */
const ANSWERS = 3 * 8 + 2 + 1;

const CHECKED = ['ip', 'tcp', 'udp'].flatMap((protocol) => ['-o', `${protocol}.check_checksum:TRUE`]);

/** Lines of what tshark says of the packets that `filter` lets through. */
function tshark(path: string, filter: string, ...fields: readonly string[]): string[] {
  const wanted = fields.flatMap((field) => ['-e', field]);
  const args = ['-n', '-r', path, ...CHECKED, '-Y', filter, '-T', 'fields', '-E', 'separator= ', ...wanted];
  const { status, stdout, stderr } = spawnSync('tshark', args, { encoding: 'utf8' });
  expect({ status, stderr: stderr.replace(/^Running as user.*\n/, '') }).toEqual({ status: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

test.skipIf(!ready)(
  'tshark understands all that guests answer, and finds every checksum right',
  async () => {
    const path = await converse('all.pcapng');
    const wrong = [
      '_ws.malformed',
      '_ws.expert.severity == error',
      'ip.checksum.status == "Bad"',
      'tcp.checksum.status == "Bad"',
      'udp.checksum.status == "Bad"',
      'icmp.checksum.status == "Bad"',
      'icmpv6.checksum.status == "Bad"',
      'tcp.analysis.flags',
    ].join(' || ');
    expect(tshark(path, wrong, 'frame.number', '_ws.expert.message')).toEqual([]);

    const of = GUESTS.map(({ mac }) => `eth.src == ${mac}`);
    const answers = of.map((source) => tshark(path, source, 'frame.number'));
    expect(answers.map(({ length }) => length)).toEqual([8 * 2 + 2, 8 + 1]);
    for (const [i, { mac, v4, v6 }] of GUESTS.entries()) {
      const from = of[i] as string;
      expect(tshark(path, `${from} && arp`, 'arp.opcode', 'arp.src.hw_mac', 'arp.src.proto_ipv4')).toEqual([
        `2 ${mac} ${v4}`,
      ]);
      const pings = tshark(path, `${from} && icmp.type == 0`, 'icmp.seq', 'icmp.resp_to', 'frame.len');
      expect(pings.map((line) => line.split(' ').map(Number))).toEqual([
        [1, expect.any(Number), 42],
        [2, expect.any(Number), 98],
        [3, expect.any(Number), 1442],
      ]);
      expect(tshark(path, `${from} && udp.srcport == 7`, 'udp.dstport', 'udp.payload')).toEqual(
        Array(v6 === undefined ? 1 : 2).fill('50000 68656c6c6f'),
      );
      expect(tshark(path, `${from} && icmp.type == 3`, 'icmp.code')).toEqual(['3']);
      // SYN and ACK, ACK of the data, FIN and ACK: relative numbers.
      const tcp = tshark(path, `${from} && tcp`, 'tcp.flags', 'tcp.seq', 'tcp.ack');
      const flow = ['0x0012 0 1', '0x0010 1 1001', '0x0011 1 1002'];
      expect(tcp).toEqual(v6 === undefined ? flow : [...flow, ...flow]);
    }
    const [packed] = of as [string];
    expect(tshark(path, `${packed} && icmpv6.type == 136`, 'icmpv6.nd.na.target_address')).toEqual(['2001:db8::1']);
    expect(tshark(path, `${packed} && icmpv6.type == 129`, 'icmpv6.echo.sequence_number')).toEqual(['1', '2', '3']);
    expect(tshark(path, `${packed} && icmpv6.type == 1`, 'icmpv6.code')).toEqual(['4']);
    // What was recorded as it left the switch is the same.
    expect(tshark(folder.path('answers.pcap'), of.join(' || '), 'frame.number')).toHaveLength(ANSWERS);
  },
  60_000,
);

test.skipIf(!ready)('tshark finds a checksum that is wrong', () => {
  const writer = new CaptureWriter(folder.path('wrong.pcap'));
  for (const frame of framesFor(GUESTS[0]).slice(1)) {
    const damaged = frame.slice();
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1;
    writer.write(damaged, { seconds: 1, nanoseconds: 0 });
  }
  writer.close();
  const bad = 'tcp.checksum.status == "Bad" || udp.checksum.status == "Bad"';
  expect(tshark(folder.path('wrong.pcap'), bad, 'frame.number').length).toBeGreaterThan(3);
});
