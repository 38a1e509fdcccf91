// Makes examples/edge.pcap: two seconds of a small network, the same bytes each time. Build first, since it uses the
// package as anybody would. `node scripts/make-edge-capture.mjs [FILE]`
import { resolve } from 'node:path';
import {
  ARP_REPLY,
  ARP_REQUEST,
  buildFrame,
  CaptureWriter,
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ICMPV6_ECHO_REPLY,
  ICMPV6_ECHO_REQUEST,
  ICMPV6_NEIGHBOR_ADVERTISEMENT,
  ICMPV6_NEIGHBOR_SOLICITATION,
  TCP_ACK,
  TCP_FIN,
  TCP_PSH,
  TCP_SYN,
} from 'ringway/packet';

/** 2023-11-14 22:13:20 UTC. */
const START_SECONDS = 1_700_000_000;
/** Shortest frame on a wire, without FCS. */
const FRAME_MIN = 60;
const MSS = 1460;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const text = new TextEncoder();

/** Hosts of the documentation networks (RFC 5737, RFC 3849). The first one is the gateway. */
const hosts = ['gateway', 'desk', 'laptop', 'phone', 'printer', 'nas'].map((name, i) => ({
  name,
  mac: `02:00:5e:10:00:0${i + 1}`,
  ipv4: `192.0.2.${i + 1}`,
  ipv6: `2001:db8::${i + 1}`,
  last: i + 1,
}));
const [gateway, desk, laptop, phone, printer, nas] = hosts;
/** Servers beyond the gateway: their frames come from its MAC. */
const web = { ...gateway, ipv4: '198.51.100.80', ipv6: '2001:db8:1::80' };
const resolver = { ...gateway, ipv4: '203.0.113.53', ipv6: '2001:db8:2::53' };

const frames = [];

/** Adds a frame seen `ms` milliseconds after the start, padded as a network interface pads it. */
function add(ms, repr) {
  const frame = buildFrame(repr);
  const padded = new Uint8Array(Math.max(FRAME_MIN, frame.length));
  padded.set(frame);
  frames.push({ nanoseconds: Math.round(ms * 1e6), frame: padded });
}

/** The layers below UDP, TCP or ICMP from one host to another; IPv6 when `six`. */
function between(from, to, six = false) {
  return {
    ethernet: { source: from.mac, destination: to.mac },
    ...(six ? { ipv6: { source: from.ipv6, destination: to.ipv6 } } : {}),
    ...(six ? {} : { ipv4: { source: from.ipv4, destination: to.ipv4, dontFragment: true } }),
  };
}

function resolveArp(ms, asker, asked) {
  const none = '00:00:00:00:00:00';
  const question = { senderMac: asker.mac, senderIp: asker.ipv4, targetMac: none, targetIp: asked.ipv4 };
  const answer = { senderMac: asked.mac, senderIp: asked.ipv4, targetMac: asker.mac, targetIp: asker.ipv4 };
  add(ms, { ethernet: { source: asker.mac, destination: BROADCAST }, arp: { operation: ARP_REQUEST, ...question } });
  add(ms + 0.3, { ethernet: { source: asked.mac, destination: asker.mac }, arp: { operation: ARP_REPLY, ...answer } });
}

/** A DHCP message (RFC 2131): the fixed part, the magic cookie, the message type, the end. */
function dhcp(operation, type, { mac, ipv4 }) {
  const bytes = new Uint8Array(300);
  bytes.set([operation, 1, 6, 0, 0x12, 0x34, 0x56, 0x78]);
  if (operation === 2) bytes.set(ipv4.split('.').map(Number), 16);
  bytes.set(
    mac.split(':').map((byte) => Number.parseInt(byte, 16)),
    28,
  );
  bytes.set([99, 130, 83, 99, 53, 1, type, 255], 236);
  return bytes;
}

function lease(ms, host) {
  const [discover, offer, request, acknowledge] = [1, 2, 3, 5];
  const up = {
    ethernet: { source: host.mac, destination: BROADCAST },
    ipv4: { source: '0.0.0.0', destination: '255.255.255.255' },
    udp: { sourcePort: 68, destinationPort: 67 },
  };
  const down = { ...between(gateway, host), udp: { sourcePort: 67, destinationPort: 68 } };
  add(ms, { ...up, payload: dhcp(1, discover, host) });
  add(ms + 2, { ...down, payload: dhcp(2, offer, host) });
  add(ms + 3, { ...up, payload: dhcp(1, request, host) });
  add(ms + 5, { ...down, payload: dhcp(2, acknowledge, host) });
}

/** A DNS message (RFC 1035) with one question for the A record of `name`, and its answer when there is one. */
function dns(id, name, answer) {
  const labels = name.split('.').flatMap((label) => [label.length, ...text.encode(label)]);
  const header = [id >> 8, id & 255, answer === undefined ? 1 : 0x81, answer === undefined ? 0 : 0x80, 0, 1];
  const question = [...labels, 0, 0, 1, 0, 1];
  if (answer === undefined) return Uint8Array.from([...header, 0, 0, 0, 0, 0, 0, ...question]);
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, ...answer.split('.').map(Number)];
  return Uint8Array.from([...header, 0, 1, 0, 0, 0, 0, ...question, ...record]);
}

function lookUp(ms, host, name, six, id) {
  const port = 40_000 + id;
  const ask = { ...between(host, resolver, six), udp: { sourcePort: port, destinationPort: 53 } };
  const tell = { ...between(resolver, host, six), udp: { sourcePort: 53, destinationPort: port } };
  add(ms, { ...ask, payload: dns(id, name) });
  add(ms + 8, { ...tell, payload: dns(id, name, web.ipv4) });
}

/** A TCP connection: handshake, a request, `bytes` bytes of an answer, and the end. */
function connection(ms, client, server, { port, six = false, bytes, request }) {
  const state = { client: 1000 * port, server: 777 * port };
  let at = ms;
  const segment = (fromClient, flags, payload = new Uint8Array(0), options) => {
    const [from, to] = fromClient ? [client, server] : [server, client];
    const [own, other] = fromClient ? ['client', 'server'] : ['server', 'client'];
    const [sourcePort, destinationPort] = fromClient ? [port, 80] : [80, port];
    const acknowledgment = (flags & TCP_ACK) === 0 ? 0 : state[other];
    const tcp = { sourcePort, destinationPort, sequence: state[own], acknowledgment, flags, window: 64_240 };
    add(at, { ...between(from, to, six), tcp: options === undefined ? tcp : { ...tcp, options }, payload });
    state[own] += payload.length + ((flags & (TCP_SYN | TCP_FIN)) === 0 ? 0 : 1);
    at += fromClient ? 0.2 : 1.7;
  };
  const mss = Uint8Array.of(2, 4, MSS >> 8, MSS & 255);
  segment(true, TCP_SYN, undefined, mss);
  segment(false, TCP_SYN | TCP_ACK, undefined, mss);
  segment(true, TCP_ACK);
  segment(true, TCP_ACK | TCP_PSH, text.encode(request));
  const most = six ? MSS - 20 : MSS;
  for (let left = bytes; left > 0; left -= most) {
    const payload = Uint8Array.from({ length: Math.min(left, most) }, (_, i) => 32 + ((i * 7 + left) % 95));
    segment(false, left <= most ? TCP_ACK | TCP_PSH : TCP_ACK, payload);
    segment(true, TCP_ACK);
  }
  segment(true, TCP_ACK | TCP_FIN);
  segment(false, TCP_ACK | TCP_FIN);
  segment(true, TCP_ACK);
}

function ping(ms, from, to, six, sequence) {
  const payload = Uint8Array.from({ length: 56 }, (_, i) => i);
  const echo = { identifier: 4660, sequence };
  const layer = (type) => (six ? { icmpv6: { type, ...echo } } : { icmp: { type, ...echo } });
  add(ms, { ...between(from, to, six), ...layer(six ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST), payload });
  add(ms + 1.1, { ...between(to, from, six), ...layer(six ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY), payload });
}

/** Neighbour discovery (RFC 4861): a question to the solicited-node group, and its answer. */
function resolveNeighbor(ms, asker, asked) {
  const target = Uint8Array.from([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, asked.last]);
  const group = { mac: `33:33:ff:00:00:0${asked.last}`, ipv6: `ff02::1:ff00:${asked.last}` };
  const to = between(asker, group, true);
  const back = between(asked, asker, true);
  const hopLimit = 255;
  const ask = { type: ICMPV6_NEIGHBOR_SOLICITATION };
  add(ms, { ...to, ipv6: { ...to.ipv6, hopLimit }, icmpv6: ask, payload: target });
  const tell = { type: ICMPV6_NEIGHBOR_ADVERTISEMENT, identifier: 0x6000 };
  add(ms + 0.4, { ...back, ipv6: { ...back.ipv6, hopLimit }, icmpv6: tell, payload: target });
}

/** A service announced to 224.0.0.251 or ff02::fb (RFC 6762). */
function announce(ms, host, six) {
  const group = six
    ? { mac: '33:33:00:00:00:fb', ipv6: 'ff02::fb' }
    : { mac: '01:00:5e:00:00:fb', ipv4: '224.0.0.251' };
  const udp = { sourcePort: 5353, destinationPort: 5353 };
  add(ms, { ...between(host, group, six), udp, payload: dns(0, `${host.name}.local`, host.ipv4) });
}

lease(20, phone);
for (const [i, host] of [desk, laptop, phone, printer, nas].entries()) {
  resolveArp(60 + i * 37, host, gateway);
  resolveNeighbor(75 + i * 41, host, gateway);
}
for (const [i, host] of [desk, laptop, phone].entries()) {
  for (let n = 0; n < 4; n++)
    lookUp(210 + i * 60 + n * 390, host, `www${n}.example.com`, (i + n) % 2 === 1, i * 10 + n);
  connection(300 + i * 310, host, web, {
    port: 50_000 + i,
    six: i === 1,
    bytes: 6000 + i * 4000,
    request: `GET /${host.name} HTTP/1.1\r\nHost: www.example.com\r\n\r\n`,
  });
}
resolveArp(900, laptop, nas);
connection(910, laptop, nas, { port: 51_000, bytes: 20_000, request: 'GET /backup HTTP/1.1\r\nHost: nas\r\n\r\n' });
for (let n = 0; n < 5; n++) {
  ping(400 + n * 330, desk, gateway, false, n + 1);
  ping(510 + n * 290, nas, laptop, true, n + 1);
}
for (const [i, host] of [printer, nas, printer].entries()) announce(250 + i * 700, host, i === 1);
// Fifty voice packets of 20 ms, both ways: an RTP header (RFC 3550) and 160 bytes of PCMU.
for (let n = 0; n < 50; n++) {
  const payload = Uint8Array.from({ length: 172 }, (_, i) => (i * 31 + n * 17) & 255);
  payload.set([0x80, 0, 0, n, 0, 0, (n * 160) >> 8, (n * 160) & 255, 1, 2, 3, 4]);
  const voice = { sourcePort: 16_384, destinationPort: 16_384 };
  add(980 + n * 20, { ...between(phone, web), udp: voice, payload });
  add(989 + n * 20, { ...between(web, phone), udp: voice, payload });
}

frames.sort((a, b) => a.nanoseconds - b.nanoseconds);
const writer = new CaptureWriter(
  resolve(process.argv[2] ?? new URL('../examples/edge.pcap', import.meta.url).pathname),
  {
    precision: 'microseconds',
  },
);
for (const { nanoseconds, frame } of frames) {
  writer.write(frame, {
    seconds: START_SECONDS + Math.floor(nanoseconds / 1e9),
    nanoseconds: nanoseconds % 1e9,
  });
}
writer.close();
