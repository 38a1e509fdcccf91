// What the tests share: where the objects are, and frames.
import { fileURLToPath } from 'node:url';
import { buildFrame } from 'ringway/packet';

/** An object of this folder; of XDP_OBJECTS, when somebody compiled them anew. */
export const object = (name) => `${process.env.XDP_OBJECTS ?? fileURLToPath(new URL('.', import.meta.url))}/${name}.o`;

const macs = { source: '02:00:00:00:00:01', destination: '02:00:00:00:00:02' };

/** A frame of UDP over IPv4. */
export function udp({
  source = '198.51.100.1',
  destination = '192.0.2.1',
  from = 1024,
  to = 53,
  mac = macs.destination,
}) {
  return buildFrame({
    ethernet: { ...macs, destination: mac },
    ipv4: { source, destination },
    udp: { sourcePort: from, destinationPort: to },
    payload: new Uint8Array(18),
  });
}

/** A frame of TCP over IPv4. */
export function tcp({ source = '198.51.100.1', destination = '192.0.2.1', from = 1024, to = 80 }) {
  return buildFrame({
    ethernet: macs,
    ipv4: { source, destination },
    tcp: { sourcePort: from, destinationPort: to, sequence: 1, flags: 2, window: 1024 },
    payload: new Uint8Array(6),
  });
}

/** A frame of UDP over IPv6. */
export function udp6({ source = '2001:db8::1', destination = '2001:db8::2' }) {
  return buildFrame({
    ethernet: macs,
    ipv6: { source, destination },
    udp: { sourcePort: 1024, destinationPort: 53 },
    payload: new Uint8Array(18),
  });
}

/** An IPv4 address as bytes. */
export const ip = (text) => Uint8Array.from(text.split('.'), Number);
