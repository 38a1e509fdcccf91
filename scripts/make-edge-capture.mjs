// Makes examples/edge.pcap, the capture that `npm start` replays: two seconds of a small office, built with
// ringway/packet, the same bytes each time. `node scripts/make-edge-capture.mjs [FILE]`, after a build.
import { fileURLToPath } from 'node:url';
import { buildFrame, CaptureWriter, TCP_ACK, TCP_FIN, TCP_PSH, TCP_SYN } from 'ringway/packet';

const ROUTER = { mac: '02:00:5e:00:00:01', ip: '192.0.2.1', ip6: '2001:db8::1' };
const HOSTS = Array.from({ length: 8 }, (_, index) => ({
  mac: `02:00:5e:00:01:${(index + 16).toString(16)}`,
  ip: `192.0.2.${index + 16}`,
  ip6: `2001:db8::${(index + 16).toString(16)}`,
}));
/** The guests of the example, which answer. */
const GUESTS = [
  { mac: '02:00:5e:00:02:01', ip: '192.0.2.101', ip6: '2001:db8::101' },
  { mac: '02:00:5e:00:02:02', ip: '192.0.2.102', ip6: '2001:db8::102' },
];
const SERVER = { ip: '203.0.113.80', ip6: '2001:db8:80::80' };
/** 2026-01-01 00:00:00 UTC. */
const START_SECONDS = 1767225600;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';

const path = process.argv[2] ?? fileURLToPath(new URL('../examples/edge.pcap', import.meta.url));
const frames = [];

/** Puts a frame at `ms` milliseconds after the start. Frames shorter than Ethernet's minimum are padded. */
function at(ms, repr) {
  const built = buildFrame(repr);
  const frame = new Uint8Array(Math.max(60, built.length));
  frame.set(built);
  frames.push({ ms, frame });
}

const text = (string) => new TextEncoder().encode(string);
const ethernet = (source, destination) => ({
  source: source.mac ?? source,
  destination: destination.mac ?? destination,
});

function arp(ms, host) {
  const request = { senderMac: host.mac, senderIp: host.ip, targetMac: '00:00:00:00:00:00', targetIp: ROUTER.ip };
  at(ms, { ethernet: ethernet(host, BROADCAST), arp: { operation: 1, ...request } });
  const reply = { senderMac: ROUTER.mac, senderIp: ROUTER.ip, targetMac: host.mac, targetIp: host.ip };
  at(ms + 1, { ethernet: ethernet(ROUTER, host), arp: { operation: 2, ...reply } });
}

function ping(ms, host, sequence) {
  const payload = Uint8Array.from({ length: 48 }, (_, index) => index);
  const echo = (type) => ({ type, identifier: 0x1234, sequence });
  const there = { source: host.ip, destination: ROUTER.ip };
  const back = { source: ROUTER.ip, destination: host.ip };
  at(ms, { ethernet: ethernet(host, ROUTER), ipv4: there, icmp: echo(8), payload });
  at(ms + 0.4, { ethernet: ethernet(ROUTER, host), ipv4: back, icmp: echo(0), payload });
  const there6 = { source: host.ip6, destination: ROUTER.ip6 };
  at(ms + 1, { ethernet: ethernet(host, ROUTER), ipv6: there6, icmpv6: echo(128), payload });
  const back6 = { source: ROUTER.ip6, destination: host.ip6 };
  at(ms + 1.4, { ethernet: ethernet(ROUTER, host), ipv6: back6, icmpv6: echo(129), payload });
}

/** A DNS query for www.example and its answer (RFC 1035, 4.1). */
function dns(ms, host, id) {
  const question = [3, ...text('www'), 7, ...text('example'), 0, 0, 1, 0, 1];
  const header = (flags, answers) => [id >> 8, id & 255, flags >> 8, flags & 255, 0, 1, 0, answers, 0, 0, 0, 0];
  const answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 203, 0, 113, 80];
  const port = 40000 + id;
  at(ms, {
    ethernet: ethernet(host, ROUTER),
    ipv4: { source: host.ip, destination: ROUTER.ip },
    udp: { sourcePort: port, destinationPort: 53 },
    payload: Uint8Array.from([...header(0x0100, 0), ...question]),
  });
  at(ms + 3, {
    ethernet: ethernet(ROUTER, host),
    ipv4: { source: ROUTER.ip, destination: host.ip },
    udp: { sourcePort: 53, destinationPort: port },
    payload: Uint8Array.from([...header(0x8180, 1), ...question, ...answer]),
  });
}

/** A whole HTTP exchange: handshake, request, `segments` segments of answer, goodbye. */
function http(ms, host, port, segments, family) {
  const [client, server] = family === 6 ? [host.ip6, SERVER.ip6] : [host.ip, SERVER.ip];
  const request = text('GET / HTTP/1.1\r\nHost: www.example\r\n\r\n');
  const segment = new Uint8Array(1200).fill(0x2e);
  let mine = 1000;
  let theirs = 9000;
  const send = (time, outward, flags, payload = new Uint8Array(0)) => {
    const ip = outward ? { source: client, destination: server } : { source: server, destination: client };
    const tcp = {
      sourcePort: outward ? port : 80,
      destinationPort: outward ? 80 : port,
      sequence: outward ? mine : theirs,
      acknowledgment: (flags & TCP_ACK) === 0 ? 0 : outward ? theirs : mine,
      flags,
      window: 64240,
    };
    const link = outward ? ethernet(host, ROUTER) : ethernet(ROUTER, host);
    at(time, { ethernet: link, ...(family === 6 ? { ipv6: ip } : { ipv4: ip }), tcp, payload });
    const used = payload.length + ((flags & (TCP_SYN | TCP_FIN)) === 0 ? 0 : 1);
    if (outward) mine += used;
    else theirs += used;
  };
  send(ms, true, TCP_SYN);
  send(ms + 10, false, TCP_SYN | TCP_ACK);
  send(ms + 10.2, true, TCP_ACK);
  send(ms + 10.4, true, TCP_PSH | TCP_ACK, request);
  for (let index = 0; index < segments; index++) send(ms + 21 + index, false, TCP_ACK, segment);
  send(ms + 22 + segments, true, TCP_ACK);
  send(ms + 23 + segments, true, TCP_FIN | TCP_ACK);
  send(ms + 33 + segments, false, TCP_FIN | TCP_ACK);
  send(ms + 33.2 + segments, true, TCP_ACK);
}

/** mDNS and MLD-like multicast: what a switch floods. */
function announce(ms, host) {
  at(ms, {
    ethernet: ethernet(host, '01:00:5e:00:00:fb'),
    ipv4: { source: host.ip, destination: '224.0.0.251', ttl: 255 },
    udp: { sourcePort: 5353, destinationPort: 5353 },
    payload: new Uint8Array(40),
  });
  at(ms + 2, {
    ethernet: ethernet(host, '33:33:00:00:00:fb'),
    ipv6: { source: host.ip6, destination: 'ff02::fb', hopLimit: 255 },
    udp: { sourcePort: 5353, destinationPort: 5353 },
    payload: new Uint8Array(40),
  });
}

/** Asks a guest for its MAC, pings it, and sends it something to echo (RFC 862). The answers are the guest's. */
function visit(ms, host, guest, sequence) {
  const request = { senderMac: host.mac, senderIp: host.ip, targetMac: '00:00:00:00:00:00', targetIp: guest.ip };
  at(ms, { ethernet: ethernet(host, BROADCAST), arp: { operation: 1, ...request } });
  const payload = Uint8Array.from({ length: 48 }, (_, index) => index);
  const there = { ethernet: ethernet(host, guest) };
  const ipv4 = { source: host.ip, destination: guest.ip };
  const ipv6 = { source: host.ip6, destination: guest.ip6 };
  at(ms + 10, { ...there, ipv4, icmp: { type: 8, identifier: 0x4321, sequence }, payload });
  at(ms + 20, { ...there, ipv6, icmpv6: { type: 128, identifier: 0x4321, sequence }, payload });
  const udp = { sourcePort: 41000 + sequence, destinationPort: 7 };
  at(ms + 30, { ...there, ipv4, udp, payload: text('anybody home?') });
}

for (const [index, host] of HOSTS.entries()) {
  const begin = index * 120;
  arp(begin, host);
  ping(begin + 20, host, index);
  announce(begin + 40, host);
  dns(begin + 60, host, index + 1);
  http(begin + 100, host, 50000 + index, 3, index % 2 === 0 ? 4 : 6);
  ping(begin + 900, host, index + 100);
  for (const guest of GUESTS) visit(begin + 300, host, guest, index);
}

frames.sort((a, b) => a.ms - b.ms);
const writer = new CaptureWriter(path);
for (const { ms, frame } of frames) {
  const nanoseconds = Math.round((ms % 1000) * 1e6);
  writer.write(frame, { seconds: START_SECONDS + Math.floor(ms / 1000), nanoseconds });
}
writer.close();
