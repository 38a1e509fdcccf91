import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildFrame } from 'ringway/packet';
import { type BpfMap, loadXdp, XDP_ACTIONS } from 'ringway/xdp';
import { expect, test } from 'vitest';
import { linkProgram, loadObject } from '#build/bpf/object/load.js';
import { Random } from '#build/util/random.js';
import { spread } from '../bpf/support/differential.ts';
import { closeAll, KernelProgram, kernelMaps } from '../support/kernel-program.ts';

/** Where Debian's package xdp-tools has its objects. */
const FOLDER = '/usr/lib/x86_64-linux-gnu/bpf';
const PACKETS = 1000;
const filters = existsSync(FOLDER) ? readdirSync(FOLDER).filter((name) => name.startsWith('xdpfilt_')) : [];

/** Of 32 hosts, some of which are on the lists: the last byte of an address. */
const HOSTS = 32;
const isListed = (host: number): boolean => host % 3 === 0;
const mac = (host: number): string => `02:00:00:00:00:${host.toString(16).padStart(2, '0')}`;

/** A frame between two hosts, of any of the protocols that the filters look at, or of none. */
function randomFrame(random: Random): Uint8Array {
  const [a, b] = [random.below(HOSTS), random.below(HOSTS)];
  const ports = { sourcePort: random.below(HOSTS), destinationPort: random.below(HOSTS) };
  const ethernet = { source: mac(a), destination: mac(b) };
  const payload = new Uint8Array(random.below(40) + 6);
  const isTcp = random.below(2) === 0;
  const upper = isTcp ? { tcp: { ...ports, sequence: 1, flags: 2, window: 64 } } : { udp: ports };
  const kind = random.below(10);
  if (kind === 0) return buildFrame({ ethernet: { ...ethernet, type: 0x88b5 }, payload: new Uint8Array(50) });
  const frame =
    kind < 6
      ? buildFrame({ ethernet, ipv4: { source: `10.0.0.${a}`, destination: `10.0.0.${b}` }, ...upper, payload })
      : buildFrame({ ethernet, ipv6: { source: `2001:db8::${a}`, destination: `2001:db8::${b}` }, ...upper, payload });
  // Cut anywhere: programs must see where the packet ends.
  return random.below(8) === 0 ? frame.slice(0, 14 + random.below(frame.length - 14)) : frame;
}

/** Keys and flags of the lists: each map of each filter that is there gets every third host. */
function* entries(map: BpfMap): Generator<[Uint8Array, number]> {
  // XDP_FILTER: source 1, destination 2, TCP 4, UDP 8 (xdp-tools, xdp-filter/common_kern_user.h).
  for (let host = 0; host < HOSTS; host++) {
    if (!isListed(host)) continue;
    const flags = (host % 2 === 0 ? 1 : 3) | 12;
    if (map.name === 'filter_ports') yield [Uint8Array.of(0, host, 0, 0), flags];
    if (map.name === 'filter_ipv4') yield [Uint8Array.of(10, 0, 0, host), flags];
    if (map.name === 'filter_ipv6') {
      // The text of an address has the host's number in decimal digits, read as hexadecimal.
      const low = Number.parseInt(String(host), 16);
      yield [Uint8Array.of(0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low >> 8, low & 255), flags];
    }
    if (map.name === 'filter_ethernet') yield [Uint8Array.of(2, 0, 0, 0, 0, host), flags];
  }
}

test.runIf(filters.length > 0)('the objects of xdp-tools are there', () => {
  expect(filters).toHaveLength(10);
});

test.each(filters)('%s does with 1,000 packets what it does in the kernel', async (name) => {
  const path = join(FOLDER, name);
  const program = await loadXdp(path);
  const linked = linkProgram(loadObject(readFileSync(path), { file: name }));
  const maps = kernelMaps(linked.maps);
  const kernel = new KernelProgram(linked, maps);
  try {
    for (const linux of maps) {
      const { definition } = linux;
      const map = program.maps[definition.name] as BpfMap;
      for (const [key, flags] of entries(map)) {
        // Per-CPU values: flags in the first word or byte of each, by what the object says their size is.
        const value = new Uint8Array(Math.ceil(definition.valueBytes / 8) * 8);
        value[0] = flags;
        const own = new Uint8Array(map.valueBytes);
        own.set(value.subarray(0, Math.min(own.length, value.length)));
        map.setBytes(key, own);
        linux.setBytes(key, spread(linux, value.subarray(0, definition.valueBytes)));
      }
    }
    const random = new Random(Number(process.env.RINGWAY_SEED ?? 1));
    const counts = new Map<string, number>();
    for (let number = 0; number < PACKETS; number++) {
      const frame = randomFrame(random);
      const { action, packet } = program.run(frame);
      const there = kernel.run(frame);
      expect(action, `packet ${number}: ${Buffer.from(frame).toString('hex')}`).toBe(XDP_ACTIONS[there.r0]);
      expect(Buffer.compare(packet, there.packet)).toBe(0);
      counts.set(action, (counts.get(action) ?? 0) + 1);
    }
    // Both verdicts occur, or the comparison says little.
    expect([...counts.keys()]).toEqual(expect.arrayContaining(['DROP', 'PASS']));
  } finally {
    kernel.close();
    closeAll(maps);
  }
});
